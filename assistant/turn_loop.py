"""One turn, round by round: a prompt within its budget, a model's answer, the tools that it calls, until it replies."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from assistant.agents import Agent, Agents
from assistant.builtin_tools import quoted_in
from assistant.context_manager import ContextManager, Gathered, Happened, Prompt
from assistant.conversation_manager import ConversationManager
from assistant.costs import Caps, Usage, cost_of
from assistant.error_handler import TurnBudget
from assistant.errors import ModelBrokeOff, ModelContextTooLong
from assistant.lanes import Lanes
from assistant.prompt_request import DEFAULT_BUDGET, PromptRequest
from assistant.provenance import NOTHING, Provenance, provenance_of
from assistant.response_generator import Generated, ModelRequest, ResponseGenerator
from assistant.settings import Settings
from assistant.token_counter import serialise
from assistant.tool_call_handler import Asked, ToolCall, ToolCallHandler, ToolResult
from assistant.tools import ToolContext, ToolRegistry
from assistant.turns import Delta, Emit, ToolCalled, Turn
from memory_engine import MemoryEngine, Message, NewMessage, Scope
from memory_engine.models import NoteSources

T = TypeVar("T")

#: Rounds in which a model may call tools; then it has to answer with what it has.
MOST_ROUNDS = 8
#: Agents that one turn may be handed to.
MOST_SWITCHES = 3
#: Times that a prompt is made shorter because a model takes less.
_SHORTENED = 2
#: The part of a model's length that its prompt may take: the rest is for the answer.
_PROMPT_SHARE = 0.75
_SWITCH = "switch_agent"


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnParts:
    """What a turn works with."""

    engine: MemoryEngine
    settings: Settings
    agents: Agents
    context_manager: ContextManager
    conversation_manager: ConversationManager
    response_generator: ResponseGenerator
    tool_registry: ToolRegistry
    tool_call_handler: ToolCallHandler
    caps: Caps
    lanes: Lanes


@dataclass(kw_only=True, slots=True)
class TurnState:
    """Where a turn stands."""

    turn: Turn
    scope: Scope
    agent: Agent
    #: What the person said, as it is kept.
    said: Message
    budget: TurnBudget
    #: Tokens that its prompts may take.
    token_budget: int
    happened: Happened = field(default_factory=Happened)
    calls: list[dict[str, Any]] = field(default_factory=list)
    called: Counter[str] = field(default_factory=Counter)
    switches: int = 0
    prompt: Prompt | None = None
    #: What that prompt was packed from.
    packed_from: Gathered | None = None
    #: What its prompts rest on so far.
    provenance: Provenance = NOTHING
    #: What stands in the conversation before the turn, as far as its prompts look at it.
    history: Sequence[Message] = ()
    #: The agent of each attempt in the budget, for the account.
    agents: list[str] = field(default_factory=list)


class TurnLoop:
    """Runs turns of one assistant."""

    def __init__(self, parts: TurnParts) -> None:
        self._parts = parts

    async def run(self, state: TurnState, emit: Emit, *, streams: bool) -> Generated:
        """Go on until the model replies without calling a tool, and return that reply.

        Raises:
            ModelError: no model answered.
            SpendCapReached: one more call would cost more than is allowed.
            PriceUnknown: a cap is set, and the model has no price.
            BudgetTooSmall: what must be in the prompt does not fit.
        """
        gathered = await self.gathered(state)
        for number in range(MOST_ROUNDS + 1):
            generated = await self._answer(state, gathered, emit if streams else None, last=number == MOST_ROUNDS)
            if not generated.tool_calls or number == MOST_ROUNDS:
                return replace(generated, tool_calls=())
            results = await self._call_tools(state, generated, emit)
            if self._switch(state, results):
                gathered = await self.gathered(state)
        raise AssertionError("the last round returns")

    async def gathered(self, state: TurnState) -> Gathered:
        """Retrieve all that the turn's prompts could hold.

        Raises:
            AgentNotFound: its file is gone meanwhile.
            ConversationNotFound: the conversation is another user's.
        """
        request = PromptRequest(
            conversation_id=state.turn.conversation_id,
            message=state.said.text,
            agent=state.agent.name,
            token_budget=state.token_budget,
            model=self._model(state),
            message_id=state.said.message_id,
            before_seq=state.said.seq,
            instructions=state.turn.instructions,
        )
        gathered = await self._compute(state, lambda: self._parts.context_manager.gather(request, state.scope))
        state.history = [message for unit in gathered.parts.history for message in unit.messages]
        return gathered

    async def _answer(self, state: TurnState, gathered: Gathered, emit: Emit | None, *, last: bool) -> Generated:
        """Ask the model, with a shorter prompt where it takes less."""
        parts = self._parts
        tools = [tool.as_chat for tool in parts.tool_registry.offered([] if last else self._allowed(state))]
        whole, model, shortened = state.token_budget, self._model(state), 0
        while True:
            try:
                prompt = state.prompt = await self._compute(state, lambda: self._packed(state, gathered, tools))
                request = ModelRequest(
                    messages=prompt.messages,
                    model=model,
                    tools=tools,
                    temperature=state.agent.settings.temperature,
                    response_format=state.turn.response_format,
                )
                return await self._generated(state, request, emit)
            except ModelContextTooLong as exc:
                state.token_budget = _shorter(exc, prompt.tokens)
                shortened += 1
                if shortened > _SHORTENED or not await self._compute(state, lambda: self._fits(state, gathered, tools)):
                    if model == parts.settings.fallback_model:
                        raise
                    model, state.token_budget, shortened = parts.settings.fallback_model, whole, 0

    async def _generated(self, state: TurnState, request: ModelRequest, emit: Emit | None) -> Generated:
        on_text = None
        if emit is not None:
            told = emit

            async def on_text(text: str) -> None:
                await told(Delta(text=text))

        try:
            generated = await self._parts.response_generator.generate(
                request, state.budget, on_text, lambda model: self._check_caps(state, model)
            )
        except ModelBrokeOff as exc:
            await self._estimate(state, exc.text)
            raise
        finally:
            state.agents += [state.agent.name] * (len(state.budget.attempts) - len(state.agents))
        called = serialise(generated.tool_calls) if generated.tool_calls else ""
        await self._estimate(state, generated.text + called)
        return generated

    async def _check_caps(self, state: TurnState, model: str) -> None:
        caps = self._parts.caps
        if caps.are_set:
            assert state.prompt is not None  # it is what the model is asked with
            spent, tokens = self._spent(state), state.prompt.tokens
            await self._compute(state, lambda: caps.check(state.scope, model, tokens, spent))

    def _spent(self, state: TurnState) -> int:
        """Millionths of a dollar of the turn's calls so far."""
        used = [(each.model, each.usage) for each in state.budget.attempts if each.usage is not None]
        return sum(cost_of(self._parts.settings, model, usage) or 0 for model, usage in used)

    async def _estimate(self, state: TurnState, answer: str) -> None:
        """Count the tokens of the last call, where its server did not report them."""
        last = state.budget.attempts[-1]
        if last.usage is None and state.prompt is not None:
            counter = self._parts.context_manager.counter
            completion = await self._compute(state, lambda: counter.count(answer))
            usage = Usage(prompt_tokens=state.prompt.tokens, completion_tokens=completion, is_estimated=True)
            state.budget.attempts[-1] = replace(last, usage=usage)

    def _fits(self, state: TurnState, gathered: Gathered, tools: Sequence[dict[str, Any]]) -> bool:
        """Whether what must be in a prompt fits the budget, now that it is smaller."""
        request = replace(gathered.request, token_budget=state.token_budget)
        return self._parts.context_manager.fits(replace(gathered, request=request), state.happened, tools)

    async def _compute(self, state: TurnState, work: Callable[[], T]) -> T:
        return await self._parts.lanes.compute.run(work, state.scope.namespace)

    def _model(self, state: TurnState) -> str:
        return state.turn.model or state.agent.settings.model or self._parts.settings.default_model

    def _packed(self, state: TurnState, gathered: Gathered, tools: Sequence[dict[str, Any]]) -> Prompt:
        """The prompt of the next call."""
        request = replace(gathered.request, token_budget=state.token_budget)
        # A prompt of the same parts has its block already, and the model's server has read it.
        before = state.prompt.choice if state.prompt is not None and state.packed_from is gathered else None
        state.packed_from = gathered
        prompt = self._parts.context_manager.pack(
            replace(gathered, request=request), state.happened, tools, before=before
        )
        state.provenance |= provenance_of(
            prompt.manifest["items"], gathered.parts, prompt.choice, state.said, happened=state.happened.messages
        )
        return prompt

    async def _call_tools(self, state: TurnState, generated: Generated, emit: Emit) -> list[ToolResult]:
        """Keep the calls, make them, keep their answers; what is kept stands in the history as it happened."""
        parts, conversation_id = self._parts, state.turn.conversation_id
        asking = NewMessage(role="assistant", text=generated.text, tool_calls=generated.tool_calls, recallable=False)
        keep, write, whose = parts.conversation_manager.add, parts.lanes.write.run, state.scope.namespace
        asked_in = await write(lambda: keep(conversation_id, [asking], state.agent.name, state.scope), whose)
        asked = Asked(
            context=self._context(state, asked_in[0]),
            message_id=asked_in[0],
            allowed=self._allowed(state),
            confirmed=state.turn.confirmed_tools,
            earlier=dict(state.called),
            seconds=state.budget.left,
        )
        calls = [ToolCall.of_chat(raw) for raw in generated.tool_calls]
        results = await parts.tool_call_handler.run(calls, asked)
        state.called.update(call.name for call in calls)
        # What a tool says is not remembered as said: it may be a record of it, or anything.
        answers = [
            NewMessage(
                role="tool", text=result.content, tool_call_id=result.call_id, recallable=False,
                quotes=quoted_in(result, asked.context),
            )
            for result in results
        ]  # fmt: skip
        kept = await write(lambda: keep(conversation_id, answers, state.agent.name, state.scope), whose)
        state.calls += generated.tool_calls
        state.happened = Happened(
            messages=(*state.happened.messages, _asking(generated), *(result.as_chat for result in results)),
            message_ids=(*state.happened.message_ids, *asked_in, *kept),
        )
        for call, result in zip(calls, results, strict=True):
            told = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            await emit(ToolCalled(**told, output=result.content, error=result.error))
        return results

    def _context(self, state: TurnState, asked_in: str) -> ToolContext:
        return ToolContext(
            scope=state.scope,
            conversation_id=state.turn.conversation_id,
            agent=state.agent.name,
            before_seq=state.said.seq,
            sources=NoteSources(
                message_ids=sorted({*state.provenance.message_ids, asked_in}),
                note_ids=sorted(state.provenance.note_ids),
                written_in=asked_in,
            ),
            holds_foreign_text=state.provenance.is_foreign,
        )

    def _allowed(self, state: TurnState) -> Sequence[str]:
        tools = state.agent.settings.tools if state.turn.tools is None else state.turn.tools
        return tools if state.switches < MOST_SWITCHES else [name for name in tools if name != _SWITCH]

    def _switch(self, state: TurnState, results: Sequence[ToolResult]) -> bool:
        """Let the agent go on to whom the conversation was handed, if it was."""
        handed = [result.value["agent"] for result in results if result.name == _SWITCH and result.error is None]
        if not handed or handed[-1] == state.agent.name:
            return False
        state.agent = self._parts.agents.get(handed[-1])
        state.switches += 1
        return True


def budget_of(turn: Turn, agent: Agent) -> int:
    """Tokens that the prompts of a turn may take."""
    return turn.token_budget or agent.settings.memory.token_budget or DEFAULT_BUDGET


def _shorter(exc: ModelContextTooLong, tokens: int) -> int:
    """The next budget: what the model says that it takes, less room for its answer, or else half."""
    limit = tokens // 2 if exc.limit is None else int(exc.limit * _PROMPT_SHARE)
    return max(1, min(limit, tokens - 1))


def _asking(generated: Generated) -> dict[str, Any]:
    calls = [dict(call) for call in generated.tool_calls]
    return {"role": "assistant", "content": generated.text or None, "tool_calls": calls}


def usage_of(budget: TurnBudget) -> dict[str, int] | None:
    """Tokens of all calls of a turn together, in OpenAI's shape; None where no server said."""
    used: list[Usage] = [attempt.usage for attempt in budget.attempts if attempt.usage is not None]
    used = [usage for usage in used if not usage.is_estimated]
    if not used:
        return None
    prompt, completion = sum(each.prompt_tokens for each in used), sum(each.completion_tokens for each in used)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
