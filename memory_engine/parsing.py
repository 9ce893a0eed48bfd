"""Reads messages and times as clients give them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from memory_engine.checks import check_name, check_text, check_values
from memory_engine.errors import InvalidInput
from memory_engine.models import MAX_MESSAGES, ROLES, NewMessage, Role

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(value: object, param: str) -> datetime:
    """Read an ISO 8601 text (UTC where it names no zone) or Unix seconds as a UTC time.

    Raises:
        InvalidInput: it is neither, or lies outside the years 1 to 9999.
    """
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = _EPOCH + timedelta(microseconds=round(value * 1_000_000))
        else:
            raise InvalidInput("A time is an ISO 8601 text or Unix seconds.", param=param)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        text = "A time is an ISO 8601 text or Unix seconds, within the years 1 to 9999."
        raise InvalidInput(text, param=param) from exc


_KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", "created_at", "id", "metadata"}


def parse_messages(raw: Sequence[Mapping[str, Any] | NewMessage]) -> list[NewMessage]:
    """Read the messages of one call; those that are read already are taken as they are.

    Raises:
        InvalidInput: they are none or too many, or one of them is wrong; the error names it.
        TextTooLarge: a text is over MAX_TEXT_BYTES.
    """
    if not 1 <= len(raw) <= MAX_MESSAGES:
        raise InvalidInput(f"A call takes 1 to {MAX_MESSAGES:,} messages.", param="messages")
    return [
        message if isinstance(message, NewMessage) else parse_message(message, f"messages[{number}]")
        for number, message in enumerate(raw)
    ]


def parse_message(raw: Mapping[str, Any], param: str = "message") -> NewMessage:
    """Read a message in OpenAI's shape, as clients give it.

    Args:
        raw: role, content (text or content parts), name, tool_calls, tool_call_id, created_at, id, metadata.
        param: what the message is called in an error.

    Raises:
        InvalidInput: a field is unknown, missing or wrong; the error names it.
        TextTooLarge: the text is over MAX_TEXT_BYTES.
    """
    if unknown := sorted(set(raw) - _KNOWN):
        raise InvalidInput(f"Unknown field {unknown[0]!r}.", param=f"{param}.{unknown[0]}")
    role = raw.get("role")
    if role not in ROLES:
        raise InvalidInput(f"The role must be one of {', '.join(ROLES)}.", param=f"{param}.role")
    text, parts = _parse_content(raw.get("content"), f"{param}.content")
    tool_calls = _parse_tool_calls(role, raw.get("tool_calls"), f"{param}.tool_calls")
    if not text.strip() and not parts and not tool_calls and role != "tool":
        raise InvalidInput("The content is empty.", param=f"{param}.content")
    metadata = raw.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise InvalidInput("metadata must be an object.", param=f"{param}.metadata")
    check_values(metadata, f"{param}.metadata")
    created_at = raw.get("created_at")
    return NewMessage(
        role=role,
        text=text,
        parts=parts,
        name=_optional_name(raw.get("name"), f"{param}.name"),
        tool_calls=tool_calls,
        tool_call_id=_parse_tool_call_id(role, raw.get("tool_call_id"), f"{param}.tool_call_id"),
        created_at=None if created_at is None else parse_time(created_at, f"{param}.created_at"),
        message_id=_optional_name(raw.get("id"), f"{param}.id"),
        metadata=metadata,
    )


def _parse_content(content: object, param: str) -> tuple[str, tuple[Mapping[str, Any], ...] | None]:
    if content is None:
        return "", None
    if isinstance(content, str):
        return check_text(content, param), None
    if not isinstance(content, Sequence) or not all(isinstance(part, Mapping) for part in content):
        raise InvalidInput("The content must be a text or a list of content parts.", param=param)
    parts = cast(Sequence[Mapping[str, Any]], content)
    texts = []
    for number, part in enumerate(parts):
        where = f"{param}[{number}]"
        if not isinstance(part.get("type"), str):
            raise InvalidInput("A content part needs a type.", param=where)
        check_values(part, where)
        if part["type"] in ("text", "input_text", "output_text"):
            if not isinstance(part.get("text"), str):
                raise InvalidInput("A text part needs its text.", param=where)
            texts.append(part["text"])
    return check_text("\n".join(texts), param), tuple(parts) or None


def _parse_tool_calls(role: Role, calls: object, param: str) -> tuple[Mapping[str, Any], ...] | None:
    if calls is None or calls == []:
        return None
    if role != "assistant":
        raise InvalidInput("Only an assistant's message has tool_calls.", param=param)
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise InvalidInput("tool_calls must be a list.", param=param)
    for number, call in enumerate(calls):
        if not isinstance(call, Mapping) or not isinstance(call.get("id"), str):
            raise InvalidInput("A tool call is an object with an id.", param=f"{param}[{number}]")
        check_values(call, f"{param}[{number}]")
    return tuple(calls)


def _parse_tool_call_id(role: Role, value: object, param: str) -> str | None:
    if role == "tool" and value is None:
        raise InvalidInput("A tool's message needs the tool_call_id that it answers.", param=param)
    if role != "tool" and value is not None:
        raise InvalidInput("Only a tool's message has a tool_call_id.", param=param)
    return _optional_name(value, param)


def _optional_name(value: object, param: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput("It must be a text.", param=param)
    return check_name(value, param)
