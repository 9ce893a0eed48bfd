"""Reads the messages of a call as clients give them, and says what is wrong with each that cannot be stored.

What a message holds is read by `lenient_parsing`, as the proxy reads it. This door refuses what that reader leaves out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from memory_engine.checks import MAX_NAME_LENGTH, check_name, check_size, check_values
from memory_engine.errors import InvalidInput, TextTooLarge, WrongMessage
from memory_engine.lenient_parsing import (
    REASONING,
    ROLES,
    TEXT_FIELDS,
    Notice,
    lenient_message,
    storable_object,
    storable_text,
)
from memory_engine.models import MAX_MESSAGES, NewMessage
from memory_engine.times import parse_time_said

#: Fields of a message, entries of its `metadata`, and content parts or calls of tools.
MAX_FIELDS, MAX_METADATA, MAX_PARTS = 64, 1_000, 10_000
#: Characters of a sentence about a wrong message.
_LONGEST = 300
#: Levels of nesting around a field's value where it is stored, at most.
_AROUND = 3
#: Calls of a message that answers without an id are matched with.
_OPEN_CALLS = 128
_FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "created_at", "id", "metadata"})
#: What the openai SDK and gateways write into every reply; empty values of these say nothing.
_REPLY_FIELDS = frozenset({*REASONING, "refusal", "annotations", "audio", "function_call", "tool_calls"})


@dataclass(frozen=True, slots=True)
class Intake:
    """The messages of one call, read."""

    #: What can be stored, each with its place in the call.
    good: tuple[tuple[int, NewMessage], ...]
    #: Why the others cannot be stored, each with its place in the call.
    wrong: tuple[tuple[int, InvalidInput], ...]

    @property
    def details(self) -> tuple[WrongMessage, ...]:
        """What is wrong, one sentence a message."""
        return tuple(
            # A field's name may be anything, and an error must be one that can be sent.
            WrongMessage(number, storable_text((exc.param or "")[:MAX_NAME_LENGTH]), exc.message[:_LONGEST])
            for number, exc in self.wrong
        )

    def refusal(self) -> InvalidInput:
        """Return the error for the whole call: that of its first wrong message, with the details of all."""
        first, details = self.wrong[0][1], self.details
        return type(first)(details[0].message, param=details[0].param, details=details)


def parse_messages(raw: Sequence[Mapping[str, Any] | NewMessage]) -> Intake:
    """Read the messages of one call; those that are read already are taken as they are.

    Raises:
        InvalidInput: there are none or too many.
    """
    if not 1 <= len(raw) <= MAX_MESSAGES:
        raise InvalidInput(f"A call takes 1 to {MAX_MESSAGES:,} messages.", param="messages")
    good: list[tuple[int, NewMessage]] = []
    wrong: list[tuple[int, InvalidInput]] = []
    open_calls: dict[str, object] = {}
    for number, message in enumerate(raw):
        param = f"messages[{number}]"
        try:
            if not isinstance(message, NewMessage):
                message = _answering(parse_message(message, param), open_calls, f"{param}.tool_call_id")
            good.append((number, message))
        except InvalidInput as exc:
            wrong.append((number, exc))
    return Intake(tuple(good), tuple(wrong))


def _answering(message: NewMessage, open_calls: dict[str, object], param: str) -> NewMessage:
    """Return the message; a tool's answer without an id gets that of the first open call, of its name where it has one.

    Args:
        message: the message.
        open_calls: the newest calls of tools that have no answer yet, the tool's name by id. The message changes them.
        param: what the id is called in an error.

    Raises:
        InvalidInput: the answer names neither a call nor a tool, and no call is open.
    """
    if message.role != "tool":
        open_calls.clear()
        for call in islice(message.tool_calls or (), _OPEN_CALLS):
            function = call.get("function")
            open_calls[call["id"]] = function.get("name") if isinstance(function, Mapping) else None
        return message
    answered = message.tool_call_id
    if answered is None:
        answered = next((call for call, tool in open_calls.items() if message.name in (None, tool)), None)
        if answered is None and message.name is None:
            raise InvalidInput("A tool's message needs the tool_call_id that it answers.", param=param)
    open_calls.pop(str(answered), None)
    return replace(message, tool_call_id=answered)


def parse_message(raw: Mapping[str, Any], param: str = "message") -> NewMessage:
    """Read a message in the shape of Chat Completions: as a client writes it, or as the openai SDK dumps it.

    A null field is absent. NUL and lone surrogates in what is said become U+FFFD. Unknown fields are kept in
    `metadata.extra`.

    Args:
        raw: the message.
        param: what the message is called in an error.

    Raises:
        InvalidInput: a field is missing or wrong; the error names it.
        TextTooLarge: a text is over MAX_TEXT_BYTES.
    """
    given = _given(raw, param)
    _check_calls(given, param)
    _check_answered(given, param)
    _check_content(given.get("content"), f"{param}.content")
    notices: set[Notice] = set()
    message = lenient_message(_checked(given, param), notices)
    if "text_too_large" in notices:
        raise TextTooLarge("The text parts are too long together.", param=f"{param}.content")
    if message is None or _is_blank(message):
        raise InvalidInput("The content is empty.", param=f"{param}.content")
    created_at, name = given.get("created_at"), given.get("name")
    return replace(
        message,
        name=None if isinstance(name, str) and not name.strip() else _optional_name(name, f"{param}.name"),
        created_at=None if created_at is None else parse_time_said(created_at, f"{param}.created_at"),
        message_id=_optional_name(given.get("id"), f"{param}.id"),
        metadata=_metadata(given, message.metadata, f"{param}.metadata"),
    )


def _given(raw: object, param: str) -> dict[str, Any]:
    """The fields of a message that say something: not null, and of those that SDKs write into every reply not empty."""
    if not isinstance(raw, Mapping):
        raise InvalidInput("A message must be an object.", param=param)
    if len(raw) > MAX_FIELDS:
        raise InvalidInput(f"A message may have {MAX_FIELDS} fields at most.", param=param)
    given = {
        str(name): value for name, value in raw.items() if value or (value is not None and name not in _REPLY_FIELDS)
    }
    role = given.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidInput(f"The role must be one of {', '.join(ROLES)}.", param=f"{param}.role")
    return given


def _check_calls(given: Mapping[str, Any], param: str) -> None:
    role, calls = ROLES[given["role"]], given.get("tool_calls", [])
    for name in ("tool_calls", "function_call"):
        if role != "assistant" and given.get(name):
            raise InvalidInput(f"Only an assistant's message has {name}.", param=f"{param}.{name}")
    if not isinstance(calls, list | tuple) or len(calls) > MAX_PARTS:
        raise InvalidInput(f"tool_calls must be a list of {MAX_PARTS:,} at most.", param=f"{param}.tool_calls")
    for number, call in enumerate(calls):
        if not isinstance(call, Mapping) or not isinstance(call.get("id"), str | None):
            raise InvalidInput("A tool call is an object; its id is a text.", param=f"{param}.tool_calls[{number}]")
    if not isinstance(given.get("function_call"), Mapping | None):
        raise InvalidInput("function_call must be an object.", param=f"{param}.function_call")


def _check_answered(given: Mapping[str, Any], param: str) -> None:
    answered = given.get("tool_call_id", "")
    if not isinstance(answered, str):
        raise InvalidInput("tool_call_id must be a text.", param=f"{param}.tool_call_id")
    if ROLES[given["role"]] != "tool" and answered:
        raise InvalidInput("Only a tool's message has a tool_call_id.", param=f"{param}.tool_call_id")


def _check_content(content: object, param: str) -> None:
    parts = [content] if isinstance(content, Mapping) else content
    if parts is None or isinstance(parts, str):
        return
    if not isinstance(parts, list | tuple) or len(parts) > MAX_PARTS:
        text = f"The content must be a text or a list of {MAX_PARTS:,} content parts at most."
        raise InvalidInput(text, param=param)
    for number, part in enumerate(parts):
        if isinstance(part, str):
            continue
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InvalidInput("A content part needs a type.", param=f"{param}[{number}]")
        field = TEXT_FIELDS.get(part["type"])
        if field is not None and not isinstance(part.get(field), str):
            raise InvalidInput(f"A part of the type {part['type']} needs its {field}.", param=f"{param}[{number}]")


def _checked(given: Mapping[str, Any], param: str) -> dict[str, Any]:
    """The fields that say something, as far as they are stored, each checked for size and depth."""
    said = {name: value for name, value in given.items() if name not in ("metadata", "created_at")}
    if isinstance(audio := given.get("audio"), Mapping):
        said["audio"] = {name: value for name, value in audio.items() if name != "data"}
    for name, value in said.items():
        check_values({name: value}, f"{param}.{name}", _AROUND - 1, check_size)
    return said


def _is_blank(message: NewMessage) -> bool:
    """Whether nothing is said: no text, call, audio or part of another kind. A tool may answer with nothing."""
    if message.text.strip() or message.tool_calls or message.role == "tool" or "audio" in message.metadata:
        return False
    return all(part["type"] in TEXT_FIELDS for part in message.parts or ())


def _metadata(given: Mapping[str, Any], read: Mapping[str, Any], param: str) -> dict[str, Any]:
    """What is kept beside the text: what was read of the reply, what its sender knows of it, and unknown fields."""
    own = given.get("metadata", {})
    if not isinstance(own, Mapping) or len(own) > MAX_METADATA:
        raise InvalidInput(f"metadata must be an object of {MAX_METADATA:,} entries at most.", param=param)
    check_values(own, param)
    known = _FIELDS | read.keys() | {"function_call"}
    extra = {name: value for name, value in given.items() if name not in known}
    if not extra:
        return {**read, **own}
    if not isinstance(own.get("extra", {}), Mapping):
        text = f"metadata.extra holds unknown fields, such as {min(extra)[:40]!r}: make it an object or rename it."
        raise InvalidInput(text, param=f"{param}.extra")
    kept = storable_object(extra, set()) or {}
    return {**read, **own, "extra": {**kept, **own.get("extra", {})}}


def _optional_name(value: object, param: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput("It must be a text.", param=param)
    return check_name(value, param)
