"""What the use of tools shows: which follows which, which arguments recur, which calls fail and what then works."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memory_engine.models import Message

#: Characters of an argument's value that is still worth remembering.
_LONGEST = 120
_FAILED = ('"error"', "'error'", "error:", "traceback", "exception:")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Something that messages show of the use of tools."""

    kind: str
    slot: str
    detail: dict[str, Any]
    #: The message that shows it.
    seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    name: str
    arguments: dict[str, Any]
    failed: bool
    seq: int


def shown_in(said: Sequence[Message]) -> list[Shown]:
    """What the messages of one conversation, in their order, show of the use of tools."""
    calls = list(_calls(said))
    found = []
    for before, call in zip([None, *calls], calls, strict=False):
        for name, value in call.arguments.items():
            if not call.failed and isinstance(value, str | int | float | bool) and len(str(value)) <= _LONGEST:
                detail = {"tool": call.name, "argument": name, "value": value}
                found.append(_shown("tool_argument", f"{call.name}.{name}={value}", detail, call.seq))
        if before is None:
            continue
        if before.name != call.name:
            follows = {"first": before.name, "then": call.name}
            found.append(_shown("tool_sequence", f"{before.name}>{call.name}", follows, call.seq))
        elif before.failed and not call.failed:
            changed = sorted(set(before.arguments.items() ^ call.arguments.items()), key=str)
            names = sorted({name for name, _ in changed})
            mended = {"tool": call.name, "changed": names, "failed": before.arguments, "worked": call.arguments}
            found.append(_shown("tool_failure", f"{call.name}!{','.join(names)}", mended, call.seq))
    return found


def _shown(kind: str, slot: str, detail: dict[str, Any], seq: int) -> Shown:
    return Shown(kind=kind, slot=slot[:256], detail=detail, seq=seq)


def _calls(said: Sequence[Message]) -> Iterator[_Call]:
    answers = {message.tool_call_id: message.text for message in said if message.role == "tool"}
    for message in said:
        for call in message.tool_calls or ():
            function = call.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                continue
            answer = answers.get(call["id"], "").lower()
            yield _Call(
                name=function["name"],
                arguments=_arguments(function.get("arguments")),
                failed=any(mark in answer for mark in _FAILED),
                seq=message.seq,
            )


def _arguments(raw: object) -> dict[str, Any]:
    """The arguments that are plain values, by name."""
    try:
        found = json.loads(raw) if isinstance(raw, str) else raw
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, str | int | float | bool)}
