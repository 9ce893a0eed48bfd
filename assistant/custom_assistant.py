"""CustomAssistant: joins the parts that answer, and keeps what a turn says, replies and costs."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import structlog

from assistant.agents import DEFAULT_AGENT, Agent, Agents
from assistant.builtin_tools import add_builtin_tools
from assistant.chat_proxy import ChatProxy, ProxyParts
from assistant.context_manager import ContextManager, Prompt
from assistant.conversation_manager import ConversationManager
from assistant.copies import Copies
from assistant.costs import Caps
from assistant.error_handler import ErrorHandler
from assistant.errors import AgentFileWrong, BudgetTooSmall, ModelBrokeOff, ModelError, PriceUnknown, SpendCapReached
from assistant.lanes import Lanes
from assistant.ledger import Ledger
from assistant.model_names import ModelNames
from assistant.offline_responder import OFFLINE_MODEL, offline_reply, quoted_hits
from assistant.prompt_request import PromptRequest
from assistant.response_generator import Generated, ResponseGenerator
from assistant.server_models import ServerModels
from assistant.settings import Settings, load_settings
from assistant.storage.prunes import STRATA, last_in_prompts
from assistant.switch_off import SwitchOff, configured_models, switch_offs
from assistant.token_counter import open_counter
from assistant.tool_call_handler import Asked, Confirm, ToolCall, ToolCallHandler, ToolResult
from assistant.tools import ToolContext, ToolRegistry
from assistant.turn_loop import TurnLoop, TurnParts, TurnState, budget_of, usage_of
from assistant.turns import Delta, Emit, Reply, Turn, nobody
from memory_engine import DEFAULT_SCOPE, MemoryEngine, MemoryEngineError, NewMessage, Scope
from memory_engine.checks import MAX_TEXT_BYTES, check_name
from memory_engine.ports import TokenCounter

T = TypeVar("T")

_log = structlog.get_logger("memory_engine.turns")


class CustomAssistant:
    """Answers with memory: keeps the message, assembles the prompt, asks the model, calls tools, keeps the reply."""

    def __init__(
        self,
        engine: MemoryEngine,
        *,
        agent: str = DEFAULT_AGENT,
        tools: ToolRegistry | None = None,
        confirm: Confirm | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Join an assistant over a memory.

        Args:
            engine: the memory; its owner closes it.
            agent: who answers where nobody is named.
            tools: tools of one's own, which every agent may use that names them in its file.
            confirm: asked before a tool changes something; without it nothing is changed.
            settings: the environment's unless given.

        Raises:
            AgentNotFound: there is no such agent.
            AgentFileWrong: an agent's file cannot be read.
        """
        self.memory_engine = engine
        self.settings = settings or load_settings()
        self.agents = Agents(self.settings.agents_dir)
        self.agent = self.agents.get(agent).name
        self.agents.all()  # a wrong file is told at the start
        self.tool_registry = tools if tools is not None else ToolRegistry()
        #: Threads for turns, tools and the service's requests.
        self.lanes = Lanes.within(self.settings.pool_size)
        add_builtin_tools(self.tool_registry, engine, self.agents, self.settings, self.lanes.compute)
        _register_copies(engine)
        self.counter: TokenCounter = open_counter(self.settings)
        self.context_manager = ContextManager(engine, self.counter, engine.clock, self.agents)
        self.conversation_manager = ConversationManager(engine)
        self.ledger = Ledger(engine, self.settings, self.counter)
        self._errors = ErrorHandler(turn_timeout=self.settings.turn_timeout)
        self._server_models = ServerModels(self.settings)
        names = ModelNames(self.settings, engine.clock, self._server_models)
        self.response_generator = ResponseGenerator(self.settings, self._errors, names)
        caps = Caps(engine, self.settings)
        self.tool_call_handler = ToolCallHandler(engine, self.tool_registry, confirm)
        self.chat_proxy = ChatProxy(
            ProxyParts(
                engine=engine, settings=self.settings, context_manager=self.context_manager, ledger=self.ledger,
                caps=caps, names=names,
            )
        )  # fmt: skip
        self._loop = _LoopInThread()
        self._turns = TurnLoop(
            TurnParts(
                engine=engine, settings=self.settings, agents=self.agents, context_manager=self.context_manager,
                conversation_manager=self.conversation_manager, response_generator=self.response_generator,
                tool_registry=self.tool_registry, tool_call_handler=self.tool_call_handler,
                caps=caps, lanes=self.lanes,
            )
        )  # fmt: skip

    @property
    def conversation_history(self) -> "ConversationManager":
        """The histories of conversations, by their ids."""
        return self.conversation_manager

    def process_message(
        self, message: str, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE, agent: str | None = None
    ) -> Reply:
        """Answer a message; for callers without an event loop of their own.

        Raises:
            InvalidInput: the message is empty or cannot be kept.
            ModelError: no model answered; the message is kept.
        """
        turn = Turn(conversation_id=conversation_id, message=message, agent=agent)
        return self.run(self.answer(turn, scope))

    def prompt_of(self, turn: Turn, scope: Scope = DEFAULT_SCOPE, *, as_of: datetime | None = None) -> Prompt:
        """Assemble the prompt that a turn would send first, without keeping the message or asking the model.

        Raises:
            AgentNotFound: there is no such agent.
            BudgetTooSmall: the agent's prompt, its tools and the message do not fit the budget.
            ConversationNotFound: the conversation is another user's.
            InvalidInput: a text or an id cannot be taken.
        """
        check_name(turn.conversation_id, "conversation_id")
        agent = self._agent(turn, scope)
        request = PromptRequest(
            conversation_id=turn.conversation_id, message=turn.message, agent=agent.name,
            token_budget=budget_of(turn, agent), as_of=as_of,
            model=turn.model or agent.settings.model or self.settings.default_model,
        )  # fmt: skip
        # The offline responder is offered no tools.
        offered = self.tool_registry.offered(agent.settings.tools) if self.settings.has_model else []
        return self.context_manager.assemble(request, scope, [tool.as_chat for tool in offered])

    def call_tools(
        self, tool_calls: Sequence[Mapping[str, Any]], *, conversation_id: str = "tools", scope: Scope = DEFAULT_SCOPE
    ) -> list[ToolResult]:
        """Make calls in the shape of Chat Completions, of any registered tool; the results stand in their order.

        A call that was made before, by its id, is not made again: it gives what it gave.
        """
        calls = [ToolCall.of_chat(raw) for raw in tool_calls]
        context = ToolContext(scope=scope, conversation_id=conversation_id, agent=self.agent)
        # No message asked for them. A user's calls are told from another's by what stands in its place.
        whose = json.dumps([scope.user, conversation_id])
        asked = Asked(
            context=context, message_id=f"direct/{hashlib.sha256(whose.encode()).hexdigest()}",
            allowed=self.tool_registry.names, confirmed=(), earlier={},
        )  # fmt: skip
        return self.run(self.tool_call_handler.run(calls, asked))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work of this assistant's own event loop; for callers without one."""
        return self._loop.run(work)

    async def answer(self, turn: Turn, scope: Scope = DEFAULT_SCOPE, emit: Emit | None = None) -> Reply:
        """Answer a message. Holds no thread and no transaction while the model is asked.

        Args:
            turn: what is said.
            scope: whose memory it is.
            emit: told the reply's text piece by piece, and the calls of tools; without it nothing is streamed.

        Raises:
            InvalidInput: the message is empty or cannot be kept.
            AgentNotFound: there is no such agent; nothing was kept.
            BudgetTooSmall: the agent's prompt and the message do not fit the budget; the message is kept.
            SpendCapReached: a call would cost more than is allowed; the message is kept.
            PriceUnknown: a cap is set, and the model has no price; the message is kept.
            ModelError: no model answered; the message is kept, and what came of a reply that broke off.
        """
        state = await self.lanes.write.run(lambda: self._heard(turn, scope), scope.namespace)
        try:
            if self.settings.has_model:
                generated = await self._turns.run(state, emit or nobody, streams=emit is not None)
            else:
                generated = await self._offline(state, emit or nobody)
        except (ModelError, BudgetTooSmall, SpendCapReached, PriceUnknown) as exc:
            if isinstance(exc, ModelBrokeOff):
                broken = Generated(text=exc.text, model="", tool_calls=(), usage=None)
                await self._write(
                    state, lambda: self._unless_failing(lambda: self._kept(state, broken, incomplete=True))
                )
            exc.args = (f"{exc.message} Your message is kept as {state.said.message_id}.",)
            raise
        finally:
            await self._write(state, lambda: self._unless_failing(lambda: self.ledger.note(state)))
        return await self._write(state, lambda: self._replied(state, generated))

    def switch_offs(self) -> Sequence[SwitchOff]:
        """Return the configured models that are switched off or will be within 30 days, without waiting.

        The server's own dates count once it has listed its models.
        """
        settings = self.settings
        if not settings.has_model:
            return ()
        agents: Iterable[Agent] = ()
        with suppress(AgentFileWrong):  # a file that was damaged meanwhile is the turn's to report
            agents = self.agents.all().values()
        configured = configured_models(settings, agents)
        today = self.memory_engine.clock.now().date()
        listing = self._server_models.known()
        return switch_offs(configured, settings.model_aliases, settings.models, listing, today)

    def close(self) -> None:
        """Let the threads go; the engine is its owner's to close."""
        self._loop.close()
        self.tool_call_handler.close()
        self.lanes.close()

    def _heard(self, turn: Turn, scope: Scope) -> TurnState:
        check_name(turn.conversation_id, "conversation_id")
        agent = self._agent(turn, scope)
        self.conversation_manager.end_open_calls(turn.conversation_id, scope)
        if turn.message is None:
            said = self.conversation_manager.newest_user_message(turn.conversation_id, scope)
        else:
            said = self.conversation_manager.add_user_message(turn.conversation_id, turn.message, agent.name, scope)
        return TurnState(
            turn=turn, scope=scope, agent=agent, said=said, budget=self._errors.begin(),
            token_budget=budget_of(turn, agent),
        )  # fmt: skip

    def _agent(self, turn: Turn, scope: Scope) -> Agent:
        if turn.agent is not None:
            return self.agents.get(self.settings.assistant_ids.get(turn.agent, turn.agent))
        if turn.message is not None and (asked_for := self.agents.asked_for(turn.message)) is not None:
            return self.agents.get(asked_for)
        spoke_last = self.conversation_manager.current_agent(turn.conversation_id, scope)
        return self.agents.get(spoke_last if spoke_last and self.agents.exists(spoke_last) else self.agent)

    async def _offline(self, state: TurnState, emit: Emit) -> Generated:
        gathered = await self._turns.gathered(state)
        packing = self.lanes.compute.run(lambda: self.context_manager.pack(gathered), state.scope.namespace)
        prompt: Prompt = await packing
        state.prompt = prompt
        text = offline_reply(prompt.recalled)
        await emit(Delta(text=text))
        return Generated(text=text, model=OFFLINE_MODEL, tool_calls=(), usage=None)

    def _replied(self, state: TurnState, generated: Generated) -> Reply:
        assert state.prompt is not None  # something was generated from it
        message_id = self._unless_failing(lambda: self._kept(state, generated))
        engine, turn, recalled = self.memory_engine, state.turn, state.prompt.recalled
        self._unless_failing(
            lambda: engine.links.note_later(state.scope, turn.conversation_id, state.said.message_id, recalled)
        )
        return Reply(
            conversation_id=turn.conversation_id,
            message_id=message_id,
            text=generated.text,
            agent=state.agent.name,
            model=generated.model,
            tool_calls=tuple(state.calls),
            usage=usage_of(state.budget),
            manifest_id=state.prompt.manifest_id,
            notice=None if message_id is not None else "answer_not_stored",
        )

    def _unless_failing(self, work: Callable[[], T]) -> T | None:
        """What the work gives; None where the store fails: an answer that is there must reach its client."""
        try:
            return work()
        except MemoryEngineError as exc:
            _log.warning("a turn could not be stored", code=exc.code)
            return None

    def _kept(self, state: TurnState, generated: Generated, *, incomplete: bool = False) -> str:
        about = {
            "model": generated.model,
            "manifest_id": "" if state.prompt is None else state.prompt.manifest_id,
            "agent_version": state.agent.version,
        }
        reply = NewMessage(
            role="assistant",
            text=_cut(generated.text) or "(no words)",
            metadata={**generated.metadata, **about, **({"incomplete": True} if incomplete else {})},
            # Quotes of what was recalled are not remembered as new, and go with it.
            recallable=generated.model != OFFLINE_MODEL,
            quotes=_quoted(state) if generated.model == OFFLINE_MODEL else (),
        )
        return self.conversation_manager.add(state.turn.conversation_id, [reply], state.agent.name, state.scope)[0]

    async def _write(self, state: TurnState, work: Callable[[], T]) -> T:
        return await self.lanes.write.run(work, state.scope.namespace)


def _register_copies(engine: MemoryEngine) -> None:
    """Tell the memory which copies of messages the assistant keeps, so that erasure and retention reach them."""
    engine.forgetting.keeps_copies("assistant", Copies(engine.clock))
    engine.pruner.strata.update(STRATA)
    engine.pruner.recalls = last_in_prompts


def _cut(text: str) -> str:
    """As much of a text as a message may have."""
    raw = text.encode()
    return text if len(raw) <= MAX_TEXT_BYTES else raw[:MAX_TEXT_BYTES].decode("utf-8", "ignore")


def _quoted(state: TurnState) -> tuple[str, ...]:
    recalled = () if state.prompt is None else state.prompt.recalled
    return tuple(hit.message_id for hit in quoted_hits(recalled))


class _LoopInThread:
    """An event loop in a thread of its own, begun when it is first used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there, and wait."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="assistant", daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the loop."""
        with self._lock:
            if self._loop is not None and self._thread is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()
                self._loop = None
