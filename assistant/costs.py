"""What calls of models cost, and the caps that stop before a call."""

from dataclasses import dataclass
from datetime import UTC, datetime

from assistant.errors import PriceUnknown, SpendCapReached
from assistant.settings import FREE, REFUSE, Settings
from assistant.storage import model_log
from memory_engine import MemoryEngine, Scope
from memory_engine.models import to_micros

#: Millionths in a dollar.
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one call."""

    prompt_tokens: int
    completion_tokens: int
    #: Those of the prompt that the server had in its cache.
    cached_tokens: int = 0
    #: Whether the tokens were counted here, because the server did not report them.
    is_estimated: bool = False


def cost_of(settings: Settings, model: str, usage: Usage) -> int | None:
    """Return millionths of a dollar, or None if the model has no price.

    With a cap, the price of the model that MEMORY_ENGINE_UNPRICED names stands in for a price that is not known.
    """
    price = settings.price_of(model)
    if price is None and settings.has_cap and settings.unpriced not in (REFUSE, FREE):
        price = settings.price_of(settings.unpriced)
    if price is None:
        return None
    return price.micros(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)


class Caps:
    """The caps of one assistant."""

    def __init__(self, engine: MemoryEngine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    @property
    def are_set(self) -> bool:
        """Whether there is anything to check."""
        return self._settings.has_cap

    def check(self, scope: Scope, model: str, prompt_tokens: int, this_turn: int) -> None:
        """Check that one more call is within the caps. Calls that are under way count when they end.

        Args:
            scope: whose call.
            model: the name that the server is asked for.
            prompt_tokens: tokens of the prompt; what a call costs at least.
            this_turn: millionths of a dollar that the turn has cost so far.

        Raises:
            SpendCapReached: what was spent and this prompt together go over a cap.
            PriceUnknown: the model has no price, and MEMORY_ENGINE_UNPRICED is `refuse`.
        """
        caps = self._settings
        if not caps.has_cap:
            return
        next_call = cost_of(caps, model, Usage(prompt_tokens=prompt_tokens, completion_tokens=0))
        if next_call is None:
            if caps.unpriced == FREE:
                return
            raise PriceUnknown(
                f"A spend cap is set, and the model {model[:256]!r} has no price. "
                "Name a price in MEMORY_ENGINE_PRICES, or set MEMORY_ENGINE_UNPRICED.",
                param="model",
            )
        today = datetime.combine(self._engine.clock.now().date(), datetime.min.time(), UTC)
        of_all, of_user = model_log.spent(self._engine, scope, to_micros(today))
        for cap, before, whose in (
            (caps.cap_turn, this_turn, "of a turn"),
            (caps.cap_day, of_all + this_turn, "of a day"),
            (caps.cap_user_day, of_user + this_turn, "of a user's day"),
        ):
            if cap is not None and before + next_call > cap * _MILLION:
                raise SpendCapReached(f"The spend cap {whose}, {cap:g} dollars, leaves no room for this call.")
