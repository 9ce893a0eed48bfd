"""What goes into the prompt: gathers history and recalled evidence, packs them, keeps the account."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from assistant.agents import Agents
from assistant.background import background_of
from assistant.errors import BudgetTooSmall
from assistant.packing import Block, Choice, Packed, Parts, pack
from assistant.prompt_request import PromptRequest
from assistant.storage.contexts import load_context, save_context
from assistant.token_counter import serialise
from assistant.units import units_of
from memory_engine import MemoryEngine, RecallHit, RecallQuery, Recollection, Scope
from memory_engine.checks import check_name, check_text
from memory_engine.models import NOTHING, random_id, to_micros
from memory_engine.ports import Clock, TokenCounter

#: Newest messages of the conversation that are considered for the prompt.
_HISTORY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """An assembled prompt."""

    messages: list[dict[str, Any]]
    tokens: int
    manifest_id: str
    manifest: dict[str, Any]
    #: Where the block of recalled text stands; None where nothing recalled is in it.
    block: Block | None
    #: What of the gathered parts is in it.
    choice: Choice
    #: The evidence that is in it, best first.
    recalled: tuple[RecallHit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Happened:
    """What happened in a turn after the person's message."""

    #: In the shape of Chat Completions.
    messages: tuple[dict[str, Any], ...] = ()
    message_ids: tuple[str, ...] = ()


NOTHING_YET = Happened()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """What a prompt could hold, before it is packed."""

    request: PromptRequest
    scope: Scope
    parts: Parts
    #: What the asker should know of the recall, or None.
    notice: str | None


class ContextManager:
    """Assembles prompts within a budget, each with a manifest that is kept."""

    def __init__(self, engine: MemoryEngine, counter: TokenCounter, clock: Clock, agents: Agents) -> None:
        self._engine = engine
        self.counter = counter
        self._clock = clock
        self._agents = agents

    def assemble(self, request: PromptRequest, scope: Scope, tools: Sequence[dict[str, Any]] = ()) -> Prompt:
        """Retrieve, pack, and keep the manifest. The budget counts the tools that the request offers.

        Raises:
            BudgetTooSmall: the system prompt and the newest message do not fit.
            AgentNotFound: there is no such agent.
            ConversationNotFound: the conversation is another user's.
            InvalidInput: a text or an id cannot be taken.
        """
        return self.pack(self.gather(request, scope), tools=tools)

    def gather(self, request: PromptRequest, scope: Scope) -> Gathered:
        """Retrieve all that a prompt could hold.

        Raises:
            AgentNotFound: there is no such agent.
            ConversationNotFound: the conversation is another user's.
            InvalidInput: a text or an id cannot be taken.
        """
        check_name(request.conversation_id, "conversation_id")
        if request.message is not None:
            check_text(request.message, "message")
        agent = None if request.agent is None else self._agents.get(request.agent)
        history = request.history
        if history is None:
            history = self._engine.history.newest(
                request.conversation_id, _HISTORY, scope=scope, until=request.as_of, before_seq=request.before_seq
            )
        units, unusable = units_of(history)
        asked = request.message
        if asked is None:
            asked = next((m.text for m in reversed(history) if m.role == "user" and not m.quarantined), "")
        recalls = agent is None or agent.settings.memory.recall
        found = self._recalled(asked, request, scope) if recalls else NOTHING
        parts = Parts(
            system=None if agent is None else _system(agent.prompt, request.instructions),
            history=units,
            hits=found.hits,
            message=request.message,
            message_id=request.message_id,
            background=background_of(self._engine, request, scope),
            unusable=unusable,
        )
        return Gathered(request=request, scope=scope, parts=parts, notice=found.notice)

    def pack(
        self,
        gathered: Gathered,
        happened: Happened = NOTHING_YET,
        tools: Sequence[dict[str, Any]] = (),
        *,
        before: Choice | None = None,
    ) -> Prompt:
        """Pack what was gathered, with what happened in the turn since, and keep the manifest.

        Args:
            gathered: the parts.
            happened: calls of tools in this turn, and their answers.
            tools: what the request offers besides its messages; the budget counts it.
            before: what an earlier prompt of the turn holds of the same parts; its block stays as it is.

        Raises:
            BudgetTooSmall: the system prompt, the newest message and what happened since do not fit.
        """
        request = gathered.request
        offered, packed = self._packed(gathered, happened, tools, before)
        manifest = {
            "items": packed.items,
            "left_out": packed.left_out,
            "block": None if packed.block is None else asdict(packed.block),
            "token_budget": request.token_budget,
            "tokens": packed.tokens + offered,
            "tools": [tool["function"]["name"] for tool in tools],
            "counter": self.counter.name,
            "agent": request.agent,
            "model": request.model,
            "conversation_id": request.conversation_id,
            "notice": gathered.notice,
        }
        return self._kept(gathered, packed, manifest)

    def fits(self, gathered: Gathered, happened: Happened, tools: Sequence[dict[str, Any]]) -> bool:
        """Whether what must be in a prompt fits its budget."""
        bare = replace(gathered.parts, history=(), hits=(), background=())
        try:
            self._packed(replace(gathered, parts=bare), happened, tools)
        except BudgetTooSmall:
            return False
        return True

    def _packed(
        self, gathered: Gathered, happened: Happened, tools: Sequence[dict[str, Any]], before: Choice | None = None
    ) -> tuple[int, Packed]:
        """Tokens of the tools that are offered, and the messages in the room that these leave."""
        parts = replace(gathered.parts, after=happened.messages, after_ids=happened.message_ids)
        offered = self.counter.count(serialise(tools)) if tools else 0
        return offered, pack(parts, gathered.request.token_budget - offered, self.counter, before)

    def load(self, scope: Scope, manifest_id: str) -> tuple[str, dict[str, Any]]:
        """The messages as they were sent, byte for byte, and their manifest.

        Raises:
            ContextNotFound: there is none of that id in this scope.
        """
        row = load_context(self._engine, scope, manifest_id)
        return row["messages"], row["manifest"]

    def _recalled(self, asked: str, request: PromptRequest, scope: Scope) -> Recollection:
        if not asked.strip():
            return NOTHING
        wanted = min(400, max(20, request.token_budget // 20))
        query = RecallQuery(text=asked, k=wanted, as_of=request.as_of)
        found = self._engine.search(query, scope=scope)
        if request.before_seq is None:
            return found
        return replace(found, hits=tuple(hit for hit in found.hits if hit.seq < request.before_seq))

    def _kept(self, gathered: Gathered, packed: Packed, manifest: dict[str, Any]) -> Prompt:
        row = {
            "context_id": random_id("ctx"),
            "conversation_id": gathered.request.conversation_id,
            "created_at": to_micros(self._clock.now()),
            "tokens": manifest["tokens"],
            "manifest": manifest,
            "messages": serialise(packed.messages),
        }
        save_context(self._engine, gathered.scope, row)
        used = {name for item in manifest["items"] if item["kind"] == "recalled" for name in item["message_ids"]}
        return Prompt(
            messages=packed.messages,
            tokens=manifest["tokens"],
            manifest_id=row["context_id"],
            manifest=manifest,
            block=packed.block,
            choice=packed.choice,
            recalled=tuple(hit for hit in gathered.parts.hits if hit.message_id in used),
        )


def _system(prompt: str, instructions: str | None) -> str:
    return prompt if instructions is None else f"{prompt}\n\n{instructions}"
