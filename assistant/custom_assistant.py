"""CustomAssistant: one turn of a conversation, from what a person says to what is answered and kept."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from assistant.agents import DEFAULT_AGENT, get_agent
from assistant.context_manager import ContextManager, Prompt
from assistant.conversation_manager import ConversationManager
from assistant.error_handler import ErrorHandler
from assistant.errors import BudgetTooSmall, ModelError
from assistant.offline_responder import OFFLINE_MODEL, offline_reply
from assistant.prompt_request import DEFAULT_BUDGET, PromptRequest
from assistant.response_generator import Generated, ResponseGenerator
from assistant.settings import Settings, load_settings
from assistant.token_counter import open_counter
from memory_engine import DEFAULT_SCOPE, MemoryEngine, Message, NewMessage, Scope
from memory_engine.checks import check_name
from memory_engine.ports import TokenCounter

T = TypeVar("T")

#: Threads on which turns do their SQL and recall.
_THREADS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What a person says, and how it is to be answered."""

    conversation_id: str
    message: str
    #: The agent that answers; None: the one that spoke last, or the greeter.
    agent: str | None = None
    model: str | None = None
    token_budget: int = DEFAULT_BUDGET


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the assistant answered."""

    conversation_id: str
    message_id: str
    text: str
    agent: str
    model: str
    tool_calls: tuple[dict[str, Any], ...]
    usage: dict[str, int] | None
    manifest_id: str


class CustomAssistant:
    """Answers with memory: keeps the message, assembles the prompt, asks the model, keeps the reply."""

    def __init__(self, engine: MemoryEngine, *, agent: str = DEFAULT_AGENT, settings: Settings | None = None) -> None:
        """Take the memory, the agent that answers where none is named, and the settings (the environment's)."""
        self.memory_engine = engine
        self.agent = get_agent(agent).name
        self.settings = settings or load_settings()
        self.counter: TokenCounter = open_counter(self.settings)
        self.context_manager = ContextManager(engine, self.counter, engine.clock)
        self.conversation_manager = ConversationManager(engine)
        errors = ErrorHandler(turn_timeout=self.settings.turn_timeout)
        self.response_generator = ResponseGenerator(self.settings, errors)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="turn")

    def process_message(
        self, message: str, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE, agent: str | None = None
    ) -> Reply:
        """Answer a message; for callers without an event loop of their own.

        Raises:
            InvalidInput: the message is empty or cannot be kept.
            ModelError: no model answered; the message is kept.
        """
        return asyncio.run(self.answer(Turn(conversation_id=conversation_id, message=message, agent=agent), scope))

    async def answer(self, turn: Turn, scope: Scope = DEFAULT_SCOPE) -> Reply:
        """Answer a message. Holds no thread and no transaction while the model is asked.

        Raises:
            InvalidInput: the message is empty or cannot be kept.
            BudgetTooSmall: the agent's prompt and the message do not fit the budget; the message is kept.
            ModelError: no model answered; the message is kept.
        """
        agent, said = await self._in_pool(lambda: self._heard(turn, scope))
        try:
            prompt = await self._in_pool(lambda: self._prompt(turn, agent, said, scope))
            if self.settings.has_model:
                generated = await self.response_generator.generate(prompt.messages, turn.model)
            else:
                generated = _offline(prompt)
        except (ModelError, BudgetTooSmall) as exc:
            exc.args = (f"{exc.message} Your message is kept as {said.message_id}.",)
            raise
        return await self._in_pool(lambda: self._answered(turn, agent, prompt, generated, scope))

    def close(self) -> None:
        """Let the threads go; the engine is its owner's to close."""
        self._pool.shutdown()

    def _heard(self, turn: Turn, scope: Scope) -> tuple[str, Message]:
        check_name(turn.conversation_id, "conversation_id")
        spoke_last = self.conversation_manager.current_agent(turn.conversation_id, scope)
        agent = get_agent(turn.agent or spoke_last or self.agent).name
        said = self.conversation_manager.add_user_message(turn.conversation_id, turn.message, agent, scope)
        return agent, said

    def _prompt(self, turn: Turn, agent: str, said: Message, scope: Scope) -> Prompt:
        request = PromptRequest(
            conversation_id=turn.conversation_id,
            message=turn.message,
            agent=agent,
            token_budget=turn.token_budget,
            model=turn.model,
            message_id=said.message_id,
            before_seq=said.seq,
        )
        prompt = self.context_manager.assemble(request, scope)
        self.memory_engine.links.note_recalled(scope, turn.conversation_id, said.message_id, prompt.recalled)
        return prompt

    def _answered(self, turn: Turn, agent: str, prompt: Prompt, generated: Generated, scope: Scope) -> Reply:
        reply = NewMessage(
            role="assistant",
            text=generated.text,
            tool_calls=generated.tool_calls or None,
            metadata={"model": generated.model, "manifest_id": prompt.manifest_id},
            # Quotes of what was recalled are not remembered as new.
            recallable=generated.model != OFFLINE_MODEL,
        )
        message_id = self.conversation_manager.add_reply(turn.conversation_id, reply, agent, scope)
        return Reply(
            conversation_id=turn.conversation_id,
            message_id=message_id,
            text=generated.text,
            agent=agent,
            model=generated.model,
            tool_calls=generated.tool_calls,
            usage=generated.usage,
            manifest_id=prompt.manifest_id,
        )

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _offline(prompt: Prompt) -> Generated:
    text = offline_reply(prompt.recalled)
    return Generated(text=text, model=OFFLINE_MODEL, tool_calls=(), usage=None, attempts=())
