"""The names of the service that this one replaces, with the same parameters and the same meaning.

An application that was written with them goes on by changing its import. They open the memory from the settings when
the first of them is called: the one place that may.
"""

import atexit
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from assistant.bootstrap import open_engine
from assistant.custom_assistant import CustomAssistant
from assistant.errors import AssistantError
from assistant.settings import Settings, load_settings
from assistant.turns import Delta, Event, Turn
from memory_engine import MemoryEngineError
from memory_engine.errors import InvalidInput

DEFAULT_MODEL = Settings.model_fields["default_model"].default
FALLBACK_MODEL = Settings.model_fields["fallback_model"].default

_lock = threading.Lock()
_assistant: CustomAssistant | None = None


def get_or_create_thread(conversation_id: str) -> str:
    """The thread of a conversation, opened on first use; the same id every time.

    Raises:
        InvalidInput: the id cannot be taken.
        StoreError: the store does not answer.
    """
    return _opened().memory_engine.history.open_thread(conversation_id)


def add_user_message(thread_id: str, content: str) -> str:
    """Keep what the person says, and return the message's id.

    Raises:
        ConversationNotFound: there is no such thread.
        InvalidInput: the content is empty or cannot be kept.
    """
    engine = _opened().memory_engine
    conversation = engine.history.conversation_of(thread_id)
    return engine.remember(conversation, [{"role": "user", "content": content}]).message_ids[0]


def run_with_assistant(
    thread_id: str,
    assistant_id: str,
    *,
    instructions: str | None = None,
    tools: Sequence[dict[str, Any]] | None = None,
    model: str | None = None,
    stream: bool = False,
) -> str | Iterator[str]:
    """Answer the newest message of a thread as an agent, or as the agent that stands for an old `asst_…` id.

    Args:
        thread_id: of `get_or_create_thread`.
        assistant_id: an agent's name, or an old id that the settings map to one.
        instructions: what the agent is told besides its prompt.
        tools: names of the agent's tools, each as {"type": "function", "function": {"name": …}}, that it may use this
            time; all of its own unless given.
        model: in place of the agent's.
        stream: whether the reply comes piece by piece.

    Returns:
        The reply's text, or an iterator of its pieces.

    Raises:
        AgentNotFound: there is no such agent.
        ConversationNotFound: there is no such thread.
        InvalidInput: nothing was said in it yet.
        ModelError: no model answered.
    """
    assistant = _opened()
    conversation = assistant.memory_engine.history.conversation_of(thread_id)
    turn = Turn(
        conversation_id=conversation, message=None, agent=assistant_id, model=model, instructions=instructions,
        tools=None if tools is None else _names(tools),
    )  # fmt: skip
    return _pieces(assistant, turn) if stream else assistant.run(assistant.answer(turn)).text


def close() -> None:
    """Close what the first call opened; the next call opens it again."""
    global _assistant
    with _lock:
        if _assistant is not None:
            _assistant.close()
            _assistant.memory_engine.close()
            _assistant = None


def _opened() -> CustomAssistant:
    global _assistant
    with _lock:
        if _assistant is None:
            settings = load_settings()
            _assistant = CustomAssistant(open_engine(settings), settings=settings)
            atexit.register(close)
        return _assistant


def _names(tools: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    try:
        return tuple(str(tool["function"]["name"]) for tool in tools)
    except (KeyError, TypeError) as exc:
        raise InvalidInput("A tool is {'type': 'function', 'function': {'name': …}}.", param="tools") from exc


def _pieces(assistant: CustomAssistant, turn: Turn) -> Iterator[str]:
    """The pieces of a reply as they come; the turn goes on in the assistant's own loop."""
    pieces: queue.Queue[str | Exception | None] = queue.Queue()

    async def emit(event: Event) -> None:
        if isinstance(event, Delta):
            pieces.put(event.text)

    async def run() -> None:
        try:
            await assistant.answer(turn, emit=emit)
        except (AssistantError, MemoryEngineError) as exc:
            pieces.put(exc)
        finally:
            pieces.put(None)

    threading.Thread(target=lambda: assistant.run(run()), name="stream", daemon=True).start()
    while (piece := pieces.get()) is not None:
        if isinstance(piece, Exception):
            raise piece
        yield piece
