"""The account of turns: what each call of a model took and cost, against sending the whole history every time."""

from dataclasses import dataclass
from typing import Any

from assistant.costs import Usage, cost_of
from assistant.settings import Settings
from assistant.storage import model_log
from assistant.token_counter import count_request
from assistant.turn_loop import TurnState
from memory_engine import MemoryEngine, Scope
from memory_engine.models import random_id, to_micros
from memory_engine.ports import TokenCounter

#: What stands for the agent of a call that was passed on.
PROXY = "proxy"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxiedCall:
    """A call of a model that was passed on for a client."""

    conversation_id: str
    #: The message that it answers; empty where nothing was stored.
    message_id: str
    model: str
    seconds: float
    #: None where the server did not say it.
    usage: Usage | None
    #: The request, and the answer as JSON, which are counted where the server did not.
    prompt: bytes
    answer: str


class Ledger:
    """Keeps the account of one assistant."""

    def __init__(self, engine: MemoryEngine, settings: Settings, counter: TokenCounter) -> None:
        self._engine = engine
        self._settings = settings
        self._counter = counter
        #: Versions of agents that are kept already.
        self._noted: set[tuple[str, str]] = set()

    def note(self, state: TurnState) -> None:
        """Keep what the calls of a turn took; nothing where no model was asked."""
        if not state.budget.attempts:
            return
        now = to_micros(self._engine.clock.now())
        history = self._history(state)
        rows = [self._row(state, number, now, history) for number in range(len(state.budget.attempts))]
        model_log.save_calls(self._engine, state.scope, rows)
        used = (state.agent.name, state.agent.version)
        if used not in self._noted:
            model_log.note_version(self._engine, *used, state.agent.prompt, now)
            self._noted.add(used)

    def note_proxied(self, scope: Scope, call: ProxiedCall) -> None:
        """Keep what a call took that was passed on."""
        used = call.usage
        if used is None:
            prompt = count_request(self._counter, call.prompt)
            answer = self._counter.count(call.answer)
            used = Usage(prompt_tokens=prompt, completion_tokens=answer, is_estimated=True)
        row = {
            "log_id": random_id("model"),
            "conversation_id": call.conversation_id,
            "message_id": call.message_id,
            "agent": PROXY,
            "model": call.model[:256],
            "error": None,
            "started_at": to_micros(self._engine.clock.now()),
            "latency": round(call.seconds * 1_000_000),
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "cost": cost_of(self._settings, call.model, used),
            "history_tokens": used.prompt_tokens,  # the client sends its history itself
            "estimated": used.is_estimated,
        }
        model_log.save_calls(self._engine, scope, [row])

    def costs(self, scope: Scope, start: int | None, end: int | None, by: str) -> list[dict[str, Any]]:
        """Calls, tokens and cost by `agent`, `model`, `conversation` or `day`; times in microseconds."""
        return model_log.costs(self._engine, scope, start, end, by)

    def _row(self, state: TurnState, number: int, now: int, history: int) -> dict[str, Any]:
        attempt = state.budget.attempts[number]
        used = attempt.usage or Usage(prompt_tokens=0, completion_tokens=0)
        return {
            "log_id": random_id("model"),
            "conversation_id": state.turn.conversation_id,
            "message_id": state.said.message_id,
            "agent": state.agents[number] if number < len(state.agents) else state.agent.name,
            "model": attempt.model,
            "error": attempt.error,
            "started_at": now,
            "latency": round(attempt.latency * 1_000_000),
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "cost": None if attempt.usage is None else cost_of(self._settings, attempt.model, used),
            "history_tokens": 0 if attempt.usage is None else history,
            "estimated": used.is_estimated,
        }

    def _history(self, state: TurnState) -> int:
        """Tokens of the whole conversation up to this turn: those of the turn before, and what came since."""
        before = model_log.last_history_tokens(self._engine, state.scope, state.turn.conversation_id)
        rows = state.history
        if before is not None:
            asked = [n for n, row in enumerate(rows) if row.role == "user"]
            rows = rows[asked[-1] + 1 :] if asked else rows
        return (before or 0) + sum(self._counter.count(row.text) for row in rows) + self._counter.count(state.said.text)
