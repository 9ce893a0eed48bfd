"""Who asks: a key of a namespace, or somebody on the service's own machine."""

from dataclasses import dataclass

from api.access import Need
from api.errors import RequestRefused
from api.keys import RIGHTS, ApiKey
from api.limits import GENEROUS, Limits, Share
from assistant import Settings

_ALL: Need = frozenset({*RIGHTS, "machine"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks, and what they may."""

    #: By what their requests are counted.
    name: str
    #: Whose memory they may see; None for any that they name.
    namespace: str | None
    rights: Need
    limits: Limits
    #: The key that they have. None on the machine.
    key: ApiKey | None = None
    #: What their requests count against as well: the keys that made theirs, and the namespace.
    shares: tuple[Share, ...] = ()

    @property
    def is_machine(self) -> bool:
        """Whether they are on the service's own machine, and so may see the whole store."""
        return self.namespace is None

    def require(self, need: Need) -> None:
        """Let them pass if they have what is needed.

        Raises:
            RequestRefused: they have not; 403.
        """
        lacking = sorted(need - self.rights)
        if not lacking:
            return
        if lacking == ["machine"]:
            text = "This is for commands on the service's own machine: no key opens it."
        else:
            text = f"This key lacks the scope {' and the scope '.join(lacking)}."
        raise RequestRefused(403, text, code="scope_missing")


#: Whoever asks over loopback where no keys are required, and the command line with the run's token.
MACHINE_CALLER = Caller(name="machine", namespace=None, rights=_ALL, limits=GENEROUS)


def caller_of(key: ApiKey, settings: Settings) -> Caller:
    """The caller that a key stands for."""
    limits = Limits.of_keys(settings, key.requests_per_minute)
    makers = [Share(maker.key_id, Limits.of_keys(settings, maker.requests_per_minute).requests) for maker in key.makers]
    together = Share(f"namespace {key.namespace}", Limits.of_namespace(settings))
    rights = frozenset(RIGHTS) if "admin" in key.rights else frozenset(key.rights)
    return Caller(
        name=key.key_id, namespace=key.namespace, rights=rights, limits=limits, key=key, shares=(*makers, together)
    )
