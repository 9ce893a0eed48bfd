"""Reads messages as applications and model servers send them: what can be stored of each is, and the rest is named.

This reader is for doors that must not refuse, because an answer hangs on them. `parsing` reads by it too, and refuses
what this reader would leave out.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from memory_engine.checks import MAX_NAME_LENGTH, MAX_TEXT_BYTES, check_name
from memory_engine.errors import InvalidInput
from memory_engine.models import NewMessage, Role, random_id

#: Why something was not stored, or not as it was sent.
Notice = Literal["text_too_large", "media_not_stored", "too_deep", "unknown_role", "not_an_object"]
#: What a message's role is stored as.
ROLES: Mapping[str, Role] = {
    "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool", "system": "system",
    "developer": "system",
}  # fmt: skip
#: Where servers put the reasoning of a reply.
REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
#: Kinds of content parts that hold text, and the field that it stands in.
TEXT_FIELDS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
#: Levels of nesting that are stored.
_DEEPEST = 30
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class _TooDeep(Exception):
    """A value is nested too deeply."""


def storable_text(text: str) -> str:
    """The text with U+FFFD for what no database keeps: NUL and lone surrogates. Two halves are one character."""
    if _UNSTORABLE.search(text) is None:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _UNSTORABLE.sub("\ufffd", whole)


def lenient_message(raw: object, notices: set[Notice]) -> NewMessage | None:
    """Read a message in the shape of Chat Completions.

    Args:
        raw: as it was sent.
        notices: what could not be stored is added to these.

    Returns:
        The message; None where nothing in it can be stored or nothing is said.
    """
    if not isinstance(raw, Mapping):
        notices.add("not_an_object")
        return None
    role = ROLES.get(raw["role"]) if isinstance(raw.get("role"), str) else None
    if role is None:
        notices.add("unknown_role")
        return None
    given = _parts(raw.get("content"))
    text = storable_text(raw["content"]) if isinstance(raw.get("content"), str) else _text_of(given)
    if _size(text) > MAX_TEXT_BYTES:
        notices.add("text_too_large")
        return None
    parts = tuple(kept for part in given if (kept := storable_object(part, notices)) is not None) or None
    calls = _calls(raw, notices) if role == "assistant" else None
    metadata = _metadata(raw, notices) if role == "assistant" else {}
    refusal = raw.get("refusal") if role == "assistant" and not text.strip() else None
    if isinstance(refusal, str) and refusal.strip():
        text, metadata = storable_text(refusal), {**metadata, "refusal": True}
    if not text.strip() and isinstance(transcript := metadata.get("audio", {}).get("transcript"), str):
        text = transcript
    if not (text.strip() or parts or calls or role == "tool" or "audio" in metadata):
        return None
    return NewMessage(
        role=role, text=text, parts=parts, name=_name(raw.get("name")), tool_calls=calls,
        tool_call_id=_call_id(raw.get("tool_call_id")) if role == "tool" else None, metadata=metadata,
    )  # fmt: skip


def _parts(content: object) -> list[Mapping[str, Any]]:
    """The content parts that have a kind; a bare text is one, and a bare part is a list of one."""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list | tuple):
        return []
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    return [part for part in parts if isinstance(part, Mapping) and isinstance(part.get("type"), str)]


def _text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    said = [part.get(TEXT_FIELDS.get(part["type"], "")) for part in parts]
    return "\n".join(storable_text(text) for text in said if isinstance(text, str))


def _calls(raw: Mapping[str, Any], notices: set[Notice]) -> tuple[Mapping[str, Any], ...] | None:
    """The calls of tools, each with an id; a legacy call of a function is one of them."""
    given = raw.get("tool_calls")
    calls = [call for call in given if isinstance(call, Mapping)] if isinstance(given, Sequence) else []
    if isinstance(raw.get("function_call"), Mapping):
        calls.append({"type": "function", "function": raw["function_call"]})
    stored = [storable_object(call, notices) for call in calls]
    return (
        tuple(
            {**_sendable(call), "id": _call_id(call.get("id")) or _made_call_id(raw.get("id"), number)}
            for number, call in enumerate(stored)
            if call is not None
        )
        or None
    )


def _metadata(raw: Mapping[str, Any], notices: set[Notice]) -> dict[str, Any]:
    """What of a reply is no text: its reasoning, and which audio it was."""
    found: dict[str, Any] = {}
    for name in REASONING:
        if raw.get(name) and (kept := storable_object({name: raw[name]}, notices)) is not None:
            found |= kept
    if isinstance(audio := raw.get("audio"), Mapping):
        found |= storable_object({"audio": {name: audio[name] for name in audio if name != "data"}}, notices) or {}
    return found


def storable_object(value: Mapping[str, Any], notices: set[Notice]) -> dict[str, Any] | None:
    """A JSON object as it can be stored, or None where it is nested too deeply."""
    try:
        cleaned: dict[str, Any] = _cleaned(value, notices, 0)
    except _TooDeep:
        notices.add("too_deep")
        return None
    return cleaned


def _cleaned(value: Any, notices: set[Notice], depth: int) -> Any:
    if depth > _DEEPEST:
        raise _TooDeep
    if isinstance(value, str):
        if _size(value) > MAX_TEXT_BYTES:
            notices.add("media_not_stored")
            return f"[{_size(value)} bytes, not stored]"
        return storable_text(value)
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, Mapping):
        return {storable_text(str(name)): _cleaned(inner, notices, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [_cleaned(inner, notices, depth + 1) for inner in value]
    return value


def _size(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text.encode("utf-8", "surrogatepass")) if len(text) > MAX_TEXT_BYTES // 4 else len(text)


def _name(value: object) -> str | None:
    try:
        return check_name(value, "name") if isinstance(value, str) else None
    except InvalidInput:
        return None


def _sendable(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """The call as model servers take it: local servers leave out its type and write its arguments as an object."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, Mapping | list):
        function = {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {**call, "type": call.get("type") or "function", "function": function}


def _made_call_id(message_id: object, number: int) -> str:
    """An id for a call without one: the same each time, where the message has an id that makes it idempotent."""
    if not isinstance(message_id, str):
        return random_id("call")
    return "call_" + _digest(f"{message_id}/{number}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: MAX_NAME_LENGTH // 8]


def _call_id(value: object) -> str | None:
    """An id as it can be stored: one that cannot be is replaced, always by the same."""
    if not isinstance(value, str) or not value.strip():
        return None
    if _name(value) is not None:
        return value
    return "call_" + _digest(value)
