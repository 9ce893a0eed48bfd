"""What calls of models cost, and the caps that stop before a call."""

from dataclasses import dataclass
from datetime import UTC, datetime

from assistant.errors import SpendCapReached
from assistant.settings import Settings
from assistant.storage import model_log
from memory_engine import MemoryEngine, Scope
from memory_engine.models import to_micros

#: Tokens that a price is for.
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one call."""

    prompt_tokens: int
    completion_tokens: int


def cost_of(settings: Settings, model: str, usage: Usage) -> int | None:
    """Millionths of a dollar, or None where the settings name no price for the model."""
    if model not in settings.prices:
        return None
    given, taken = settings.prices[model]
    # Dollars a million tokens are millionths of a dollar a token.
    return round(given * usage.prompt_tokens + taken * usage.completion_tokens)


class Caps:
    """The caps of one assistant."""

    def __init__(self, engine: MemoryEngine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    def check(self, scope: Scope, model: str, prompt_tokens: int, this_turn: int) -> None:
        """See whether one more call may be made; `this_turn` in millionths of a dollar.

        Raises:
            SpendCapReached: what was spent and this prompt together go over a cap.
        """
        caps = self._settings
        if caps.cap_turn is None and caps.cap_day is None and caps.cap_user_day is None:
            return
        next_call = cost_of(caps, model, Usage(prompt_tokens=prompt_tokens, completion_tokens=0)) or 0
        today = datetime.combine(self._engine.clock.now().date(), datetime.min.time(), UTC)
        of_all, of_user = model_log.spent(self._engine, scope, to_micros(today))
        for cap, before, whose in (
            (caps.cap_turn, this_turn, "of a turn"),
            (caps.cap_day, of_all + this_turn, "of a day"),
            (caps.cap_user_day, of_user + this_turn, "of a user's day"),
        ):
            if cap is not None and before + next_call > cap * _MILLION:
                raise SpendCapReached(f"The spend cap {whose}, {cap:g} dollars, leaves no room for this call.")
