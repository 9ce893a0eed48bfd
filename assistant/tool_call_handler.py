"""Calls tools for a model: validated, in time, in parallel and answered in order, each logged before it is made."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from assistant.errors import AssistantError, ToolError, ToolFailed, ToolNotConfirmed, ToolTimedOut
from assistant.escaping import escape_lines, escape_values
from assistant.storage import tool_log
from assistant.tools import Tool, ToolContext, ToolRegistry
from memory_engine import MemoryEngine, MemoryEngineError
from memory_engine.models import random_id, to_micros
from memory_engine.redaction import redact

#: Threads on which tools work; one that outlives its time keeps its thread until it ends.
_THREADS = 16
#: Asked before a tool changes something, or writes into later prompts what others may have said: the tool's name and
#: the arguments; whether a person agrees.
Confirm = Callable[[str, Mapping[str, Any]], bool]

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call as a model asks for it."""

    call_id: str
    name: str
    #: JSON, as the model wrote it.
    arguments: str

    @classmethod
    def of_chat(cls, raw: Mapping[str, Any]) -> "ToolCall":
        """A call in the shape of Chat Completions; what is missing is empty."""
        function = raw.get("function") or {}
        return cls(
            call_id=str(raw.get("id") or ""),
            name=str(function.get("name") or ""),
            arguments=str(function.get("arguments") or ""),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """What a call gave, as the model is shown it."""

    call_id: str
    name: str
    #: JSON, or an error that says how to mend it.
    content: str
    #: The error's code, or None when it succeeded.
    error: str | None
    #: What the function returned; None where it failed.
    value: Any = None

    @property
    def as_chat(self) -> dict[str, Any]:
        """In the shape of Chat Completions."""
        return {"role": "tool", "tool_call_id": self.call_id, "content": self.content}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Who asks for calls, and for which tools."""

    context: ToolContext
    #: The message that asks.
    message_id: str
    allowed: Sequence[str]
    #: Names of the tools whose calls a person has agreed to beforehand.
    confirmed: Sequence[str]
    #: How often each tool was called in this turn before.
    earlier: Mapping[str, int]
    #: Seconds that are left for all of it; None for as long as each tool may take.
    seconds: float | None = None


class ToolCallHandler:
    """Makes the calls of one assistant."""

    def __init__(self, engine: MemoryEngine, registry: ToolRegistry, confirm: Confirm | None = None) -> None:
        """Take who is asked before something is changed; without anybody, nothing is changed."""
        self._engine = engine
        self._registry = registry
        self._confirm = confirm
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="tool")

    async def run(self, calls: Sequence[ToolCall], asked: Asked) -> list[ToolResult]:
        """Make the calls at the same time; the results stand in the order of the calls.

        Raises:
            StoreError: the log cannot be written; what was not noted was not called.
        """
        attempts = dict(asked.earlier)
        made = []
        for call in calls:
            attempts[call.name] = attempts.get(call.name, 0) + 1
            made.append(self._one(call, asked, attempts[call.name]))
        return list(await asyncio.gather(*made))

    def close(self) -> None:
        """Let the threads go; what a tool still does is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _one(self, call: ToolCall, asked: Asked, attempt: int) -> ToolResult:
        log_id, namespace = random_id("call"), asked.context.scope.namespace
        row = {
            "log_id": log_id, "conversation_id": asked.context.conversation_id, "message_id": asked.message_id,
            "call_id": call.call_id, "tool": call.name[:256], "agent": asked.context.agent,
            "arguments": redact(call.arguments), "attempt": attempt, "started_at": self._now(),
        }  # fmt: skip
        if not await asyncio.to_thread(tool_log.start_call, self._engine, asked.context.scope, row):
            logged = await asyncio.to_thread(
                tool_log.logged_call, self._engine, namespace, asked.message_id, call.call_id
            )
            return _of_log(call, logged or {})
        try:
            tool = self._registry.get(call.name, asked.allowed)
            value = await self._called(tool, tool.parse(call.arguments), asked)
            result = ToolResult(
                call_id=call.call_id, name=call.name, content=_shown(value, tool), error=None, value=value
            )
        except ToolError as exc:
            result = _failed(call, exc)
        outcome = {
            "status": "ok" if result.error is None else "failed", "error": result.error,
            "output": redact(result.content), "ended_at": self._now(),
        }  # fmt: skip
        await asyncio.to_thread(tool_log.end_call, self._engine, namespace, log_id, outcome)
        return result

    async def _called(self, tool: Tool, arguments: dict[str, Any], asked: Asked) -> Any:
        reason = _reason_to_ask(tool, arguments, asked.context)
        if reason is not None and not self._is_agreed(tool.name, arguments, asked):
            raise ToolNotConfirmed(reason)
        seconds = tool.timeout if asked.seconds is None else max(0.0, min(tool.timeout, asked.seconds))
        work = asyncio.get_running_loop().run_in_executor(self._pool, tool.call, arguments, asked.context)
        try:
            return await asyncio.wait_for(asyncio.shield(work), seconds)
        except TimeoutError as exc:
            if work.done():  # the tool itself ran into some limit of time
                raise ToolTimedOut(f"{tool.name} gave up waiting.") from exc
            work.add_done_callback(_ended_late)
            raise ToolTimedOut(f"{tool.name} took longer than {seconds:.3g} seconds.") from exc
        except (AssistantError, MemoryEngineError) as exc:
            raise exc if isinstance(exc, ToolError) else ToolFailed(exc.message) from exc
        except Exception as exc:
            _log.warning("tool_failed", tool=tool.name, error=redact(repr(exc)))
            raise ToolFailed(f"{tool.name} failed: {type(exc).__name__}: {exc}"[:500]) from exc

    def _is_agreed(self, name: str, arguments: Mapping[str, Any], asked: Asked) -> bool:
        return name in asked.confirmed or (self._confirm is not None and self._confirm(name, arguments))

    def _now(self) -> int:
        return to_micros(self._engine.clock.now())


def _reason_to_ask(tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> str | None:
    """Why a call needs a person's confirmation, as the model is told without it; None where it needs none."""
    if tool.changes(arguments):
        return f"{tool.name} needs confirmation, and none was given."
    if tool.writes_prompts and context.holds_foreign_text:
        return (
            f"{tool.name} needs confirmation, and none was given: this turn holds text of a tool, of another"
            " conversation or of another person."
        )
    return None


def _ended_late(work: "asyncio.Future[Any]") -> None:
    if not work.cancelled() and work.exception() is not None:
        _log.warning("tool_failed_late", error=redact(repr(work.exception())))


def _failed(call: ToolCall, exc: ToolError) -> ToolResult:
    content = json.dumps({"error": escape_lines(exc.message), "code": exc.code}, ensure_ascii=False)
    return ToolResult(call_id=call.call_id, name=call.name, content=content, error=exc.code)


def _of_log(call: ToolCall, row: Mapping[str, Any]) -> ToolResult:
    """The outcome of a call that was made before; one without outcome is failed, and is not made again."""
    if row.get("status") in ("ok", "failed"):
        return ToolResult(call_id=call.call_id, name=call.name, content=str(row["output"]), error=row["error"])
    return _failed(call, ToolFailed("The call was begun before and its outcome is not known; it is not made again."))


def _shown(value: Any, tool: Tool) -> str:
    """What a tool returned as its model reads it: text of others, so it is escaped as in the recalled block."""
    try:
        # Strings are escaped before they are JSON, in which a marker could hide behind JSON's own escapes.
        shown = escape_values(value)
        text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    except RecursionError as exc:
        raise ToolFailed(f"What {tool.name} returned is nested too deeply.") from exc
    # What cannot be kept is shown as what it is, rather than lost.
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= tool.max_output:
        return text
    return f"{text[: tool.max_output]}\n[cut: {len(text) - tool.max_output:,} characters more]"
