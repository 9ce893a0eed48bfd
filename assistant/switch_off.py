"""Which configured models are switched off, or soon will be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from assistant.agents import Agent
from assistant.known_models import KnownModel
from assistant.model_names import name_to_call
from assistant.server_models import Listing
from assistant.settings import Settings

#: How long before its last day a model is reported.
_NOTICE = timedelta(days=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchOff:
    """A configured model that is switched off, or soon will be."""

    model: str
    #: What names the model, such as `DEFAULT_MODEL` or `agent pm`.
    named_by: str
    #: The first day without the model.
    day: date
    is_past: bool
    replacement: str | None

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        when = "was switched off" if self.is_past else "is switched off"
        instead = f"; {self.replacement} replaces it" if self.replacement else ""
        return f"The model {self.model} ({self.named_by}) {when} on {self.day.isoformat()}{instead}."


def configured_models(settings: Settings, agents: Iterable[Agent]) -> dict[str, str]:
    """Return the models that settings and agents name, each with what names it."""
    named = [(settings.default_model, "DEFAULT_MODEL"), (settings.fallback_model, "FALLBACK_MODEL")]
    named.append((settings.summary_model or "", "MEMORY_ENGINE_SUMMARY_MODEL"))
    named += [(agent.settings.model or "", f"agent {agent.name}") for agent in agents]
    found: dict[str, list[str]] = {}
    for model, by in named:
        if model:
            found.setdefault(model, []).append(by)
    return {model: ", ".join(by) for model, by in found.items()}


def switch_offs(
    configured: Mapping[str, str],
    aliases: Mapping[str, str],
    known: Mapping[str, KnownModel],
    listing: Listing | None,
    today: date,
) -> Sequence[SwitchOff]:
    """Return the configured models whose switch-off date is past or within 30 days.

    The server's date comes before the file's. A model that the server still lists is not switched off, whatever the
    file says.

    Args:
        configured: models, each with what names it.
        aliases: the user's aliases. The model that is called in place of a configured one counts.
        known: what the files say.
        listing: what the server lists; None if it gives no list.
        today: the day of the report.
    """
    found = []
    for name, by in configured.items():
        model = name_to_call(name, alias=aliases.get(name), replacement=None, listing=listing)
        of_file = known.get(model, KnownModel())
        listed = (listing or {}).get(model)
        day = listed or of_file.shutdown
        is_listed_still = listed is None and model in (listing or {}) and day is not None and day <= today
        if day is None or day > today + _NOTICE or is_listed_still:
            continue
        found.append(
            SwitchOff(model=model, named_by=by, day=day, is_past=day <= today, replacement=of_file.replacement)
        )
    return found
