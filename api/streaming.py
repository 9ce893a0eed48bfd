"""Server-Sent Events of a turn: it goes on to its end, whoever listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict
from typing import Any

from fastapi.responses import StreamingResponse

from api.errors import error_of
from assistant import AssistantError, CustomAssistant, Delta, Event, Reply, ToolCalled, Turn
from memory_engine import MemoryEngineError, Scope

#: Turns that go on, so that none is dropped when its listener leaves.
_RUNNING: set[asyncio.Task[Any]] = set()


def sse(event: str, data: Any) -> str:
    """One event as it is sent."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def stream_turn(assistant: CustomAssistant, turn: Turn, scope: Scope, ended: Callable[[], None]) -> StreamingResponse:
    """The events `delta`, `tool_call`, and `done` with the whole reply, or `error`; `ended` is called after them."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def emit(event: Event) -> None:
        queue.put_nowait(sse("delta", {"text": event.text}) if isinstance(event, Delta) else _called(event))

    async def run() -> None:
        try:
            reply = await assistant.answer(turn, scope, emit)
            queue.put_nowait(sse("done", _done(reply)))
        except (AssistantError, MemoryEngineError) as exc:
            queue.put_nowait(sse("error", error_of(exc)[1]))
        finally:
            queue.put_nowait(None)
            ended()

    go_on(run())
    return StreamingResponse(_until_none(queue), media_type="text/event-stream", headers={"cache-control": "no-store"})


def go_on(work: Coroutine[Any, Any, None]) -> None:
    """Let it run to its end, even when nobody waits for it."""
    task = asyncio.ensure_future(work)
    _RUNNING.add(task)
    task.add_done_callback(_RUNNING.discard)


async def _until_none(queue: "asyncio.Queue[str | None]") -> AsyncIterator[str]:
    while (event := await queue.get()) is not None:
        yield event


def _called(event: ToolCalled) -> str:
    return sse("tool_call", asdict(event))


def _done(reply: Reply) -> dict[str, Any]:
    return asdict(reply)
