"""Which name a model is called by: its own, or another's where the server does not list it."""

from assistant.server_models import Listing, ServerModels
from assistant.settings import Settings
from memory_engine.ports import Clock


class ModelNames:
    """The names of the models of one server."""

    def __init__(self, settings: Settings, clock: Clock, server: ServerModels) -> None:
        self._settings = settings
        self._clock = clock
        self._server = server

    async def called(self, name: str) -> str:
        """Return the name to call for a model. Only a name that has an alias has the server asked for its list."""
        alias, replacement = self._settings.model_aliases.get(name), self.replacement(name)
        if alias is None and replacement is None:
            return name
        return name_to_call(name, alias=alias, replacement=replacement, listing=await self._server.current())

    def replacement(self, name: str) -> str | None:
        """Return what is called in place of a model that was switched off, or None."""
        known = self._settings.models.get(name)
        if known is None or known.shutdown is None or known.shutdown > self._clock.now().date():
            return None
        return known.replacement


def name_to_call(name: str, *, alias: str | None, replacement: str | None, listing: Listing | None) -> str:
    """Return the name that stands for a model.

    Args:
        name: the model.
        alias: the user's name for it, if there is one.
        replacement: the built-in one, if the model was switched off.
        listing: what the server lists. Without a list only the user's alias counts: the replacement waits until the
            server refuses the model as not found.
    """
    if listing is None:
        return alias or name
    return name if name in listing else alias or replacement or name
