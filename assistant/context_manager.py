"""What goes into the prompt: gathers history and recalled evidence, packs them, keeps the account."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.agents import get_agent
from assistant.background import background_of
from assistant.packing import Parts, pack, units_of
from assistant.prompt_request import PromptRequest
from assistant.storage.contexts import erase_contexts, load_context, save_context
from assistant.token_counter import serialise
from memory_engine import MemoryEngine, RecallHit, RecallQuery, Recollection, Scope
from memory_engine.checks import check_name, check_text
from memory_engine.models import NOTHING, ScopeKey, random_id, to_micros
from memory_engine.ports import Clock, TokenCounter
from memory_engine.storage.database import Transaction

#: Newest messages of the conversation that are considered for the prompt.
_HISTORY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """An assembled prompt."""

    messages: list[dict[str, Any]]
    tokens: int
    manifest_id: str
    manifest: dict[str, Any]
    #: The evidence that is in it, best first.
    recalled: tuple[RecallHit, ...]


class ContextManager:
    """Assembles prompts within a budget, each with a manifest that is kept."""

    def __init__(self, engine: MemoryEngine, counter: TokenCounter, clock: Clock) -> None:
        self._engine = engine
        engine.eraser.also.append(self._erase)
        self.counter = counter
        self._clock = clock

    def assemble(self, request: PromptRequest, scope: Scope) -> Prompt:
        """Retrieve, pack, and keep the manifest.

        Raises:
            BudgetTooSmall: the system prompt and the newest message do not fit.
            AgentNotFound: there is no such agent.
            ConversationNotFound: the conversation is another user's.
            InvalidInput: a text or an id cannot be taken.
        """
        check_name(request.conversation_id, "conversation_id")
        if request.message is not None:
            check_text(request.message, "message")
        system = None if request.agent is None else get_agent(request.agent).prompt
        history = self._engine.history.newest(
            request.conversation_id, _HISTORY, scope=scope, until=request.as_of, before_seq=request.before_seq
        )
        units, unusable = units_of(history)
        asked = request.message
        if asked is None:
            asked = next((m.text for m in reversed(history) if m.role == "user"), "")
        found = self._recalled(asked, request, scope)
        background = background_of(self._engine, request, scope)
        hits = found.hits
        parts = Parts(
            system=system,
            history=units,
            hits=hits,
            message=request.message,
            message_id=request.message_id,
            background=background,
            unusable=unusable,
        )
        packed = pack(parts, request.token_budget, self.counter)
        manifest = {
            "items": packed.items,
            "left_out": packed.left_out,
            "token_budget": request.token_budget,
            "tokens": packed.tokens,
            "counter": self.counter.name,
            "agent": request.agent,
            "model": request.model,
            "conversation_id": request.conversation_id,
            "notice": found.notice,
        }
        return self._kept(request, scope, packed.messages, manifest, hits)

    def load(self, namespace: str, manifest_id: str) -> tuple[str, dict[str, Any]]:
        """The messages as they were sent, byte for byte, and their manifest.

        Raises:
            ContextNotFound: there is none of that id in the namespace.
        """
        row = load_context(self._engine, namespace, manifest_id)
        return row["messages"], row["manifest"]

    def _erase(self, db: Transaction, key: ScopeKey, message_ids: Sequence[str]) -> int:
        return erase_contexts(db, key, message_ids, to_micros(self._clock.now()))

    def _recalled(self, asked: str, request: PromptRequest, scope: Scope) -> Recollection:
        if not asked.strip():
            return NOTHING
        wanted = min(400, max(20, request.token_budget // 10))
        query = RecallQuery(text=asked, k=wanted, as_of=request.as_of)
        found = self._engine.search(query, scope=scope)
        if request.before_seq is None:
            return found
        return replace(found, hits=tuple(hit for hit in found.hits if hit.seq < request.before_seq))

    def _kept(
        self, request: PromptRequest, scope: Scope, messages: list[dict[str, Any]], manifest: dict[str, Any],
        hits: tuple[RecallHit, ...],
    ) -> Prompt:  # fmt: skip
        row = {
            "context_id": random_id("ctx"),
            "conversation_id": request.conversation_id,
            "created_at": to_micros(self._clock.now()),
            "tokens": manifest["tokens"],
            "manifest": manifest,
            "messages": serialise(messages),
        }
        save_context(self._engine, scope, row)
        used = {name for item in manifest["items"] if item["kind"] == "recalled" for name in item["message_ids"]}
        return Prompt(
            messages=messages,
            tokens=manifest["tokens"],
            manifest_id=row["context_id"],
            manifest=manifest,
            recalled=tuple(hit for hit in hits if hit.message_id in used),
        )
