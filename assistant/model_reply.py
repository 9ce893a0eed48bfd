"""Puts a model's reply together: a whole one, or one that comes in pieces, in whatever shape its server gives them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.costs import Usage
from assistant.server_sent_events import EventReader
from memory_engine.lenient_parsing import Notice, lenient_message, storable_text
from memory_engine.models import NewMessage

#: Fields of a reply that come as texts to be joined.
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
#: Choices of one reply that are read, and calls of one choice.
_MOST = 128
#: Tokens of one call that the account holds.
_MOST_TOKENS = 2**31 - 1


@dataclass(kw_only=True, slots=True)
class Choice:
    """One of the answers that a reply gives."""

    #: Pieces of each text, by field.
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: list["_Call"] = field(default_factory=list)
    function: "_Call | None" = None
    audio: dict[str, Any] = field(default_factory=dict)
    #: The message where it came whole.
    whole: Mapping[str, Any] | None = None
    is_complete: bool = False

    @property
    def message(self) -> dict[str, Any]:
        """The message in the shape of Chat Completions."""
        if self.whole is not None:
            return {"role": "assistant", **self.whole}
        made: dict[str, Any] = {name: "".join(pieces) for name, pieces in self.texts.items()}
        made |= {"role": "assistant", "content": made.get("content") or None}
        if self.calls:
            made["tool_calls"] = [call.as_chat for call in self.calls]
        if self.function is not None:
            made["function_call"] = {"name": self.function.name, "arguments": "".join(self.function.arguments)}
        if self.audio:
            made["audio"] = self.audio
        return made

    def stored(self, notices: set[Notice], metadata: Mapping[str, Any]) -> NewMessage | None:
        """The message as it can be stored, or None where nothing is said."""
        message = lenient_message({**self.message, "role": "assistant"}, notices)
        if message is None:
            return None
        extra = {} if self.is_complete else {"incomplete": True}
        return replace(message, metadata={**message.metadata, **metadata, **extra})


@dataclass(kw_only=True, slots=True)
class _Call:
    index: int | None = None
    call_id: str = ""
    kind: str = "function"
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    @property
    def as_chat(self) -> dict[str, Any]:
        said = {"name": self.name, ("arguments" if self.kind == "function" else "input"): "".join(self.arguments)}
        return {"id": self.call_id, "type": self.kind, self.kind: said}


class ModelReply:
    """A reply that is being read. Nothing in it is an error: what cannot be read is passed over."""

    def __init__(self) -> None:
        self._choices: dict[int, Choice] = {}
        self.usage: Usage | None = None
        #: An error that the server sent in place of a piece.
        self.error: Mapping[str, Any] | None = None

    @property
    def choices(self) -> list[Choice]:
        """The answers in their order."""
        return [self._choices[number] for number in sorted(self._choices)]

    @property
    def first(self) -> Choice:
        """The first answer; an empty one where there is none."""
        return next(iter(self.choices), Choice())

    def add(self, chunk: object) -> str:
        """Take a piece of a streamed reply, or a whole one, and return the text that the first answer gains."""
        if not isinstance(chunk, Mapping):
            return ""
        self.usage = _usage(chunk.get("usage")) or self.usage
        if isinstance(chunk.get("error"), Mapping):
            self.error = chunk["error"]
        gained = ""
        for position, choice in enumerate(_objects(chunk.get("choices"))[:_MOST]):
            index = choice["index"] if isinstance(choice.get("index"), int) else position
            known = self._choices.setdefault(index, Choice())
            text = _add_choice(known, choice)
            gained += text if known is self.first else ""
        return gained

    @classmethod
    def of_body(cls, raw: bytes) -> "ModelReply":
        """Read a reply that came whole."""
        reply = cls()
        # A body that cannot be read holds no answer; its bytes are the client's to judge.
        with suppress(ValueError, RecursionError):
            reply.add(json.loads(raw))
        return reply


class WholeCharacters:
    """Makes storable text of pieces, so that a client is shown what is stored.

    A piece can end within a character that takes two surrogates: its first half waits for the next piece.
    """

    def __init__(self) -> None:
        self._half = ""

    def add(self, piece: str) -> str:
        """Return the whole characters that there are with this piece."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return storable_text(text.removesuffix(self._half))

    def end(self) -> str:
        """Return what is left of a character that did not come whole."""
        return storable_text(self._half)


class StreamedReply:
    """A reply that comes as Server-Sent Events."""

    def __init__(self) -> None:
        self.reply = ModelReply()
        self._reader = EventReader()
        self.has_ended = False

    def feed(self, piece: bytes) -> list[str]:
        """Take bytes as they come, and return the pieces of text that the first answer gains."""
        return [text for data in self._reader.feed(piece) if (text := self._event(data))]

    def end(self) -> list[str]:
        """The stream is over: take what it cut off, and return the pieces of text that the first answer gains."""
        return [text for data in self._reader.end() if (text := self._event(data))]

    def _event(self, data: str) -> str:
        if data.strip() == "[DONE]":
            self.has_ended = True
            return ""
        try:
            return self.reply.add(json.loads(data))
        except (ValueError, RecursionError):
            return ""  # a piece that broke off


def _add_choice(known: Choice, choice: Mapping[str, Any]) -> str:
    if isinstance(choice.get("message"), Mapping):
        known.whole, known.is_complete = choice["message"], True
        return _text_of(choice["message"].get("content"))
    known.is_complete = known.is_complete or choice.get("finish_reason") is not None
    delta = choice.get("delta")
    if not isinstance(delta, Mapping):
        return ""
    for name in _TEXTS:
        if text := _text_of(delta.get(name)):
            known.texts.setdefault(name, []).append(text)
    for piece in _objects(delta.get("tool_calls")):
        _add_call(known.calls, piece)
    if isinstance(delta.get("function_call"), Mapping):
        known.function = known.function or _Call()
        _add_function(known.function, delta["function_call"])
    if isinstance(delta.get("audio"), Mapping):
        _add_audio(known.audio, delta["audio"])
    return _text_of(delta.get("content")) or _text_of(delta.get("refusal"))


def _text_of(content: object) -> str:
    """The text of a piece of content: a text, or parts that hold some."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in _objects(content) if isinstance(part.get("text"), str))


def _add_call(calls: list[_Call], piece: Mapping[str, Any]) -> None:
    """Add a piece to the call that it belongs to: by its id, else by its index, else to the last."""
    call = _call_of(calls, piece)
    if call is None:
        if len(calls) >= _MOST:
            return
        index = piece.get("index")
        call = _Call(index=index if isinstance(index, int) else None)
        calls.append(call)
    if isinstance(piece.get("id"), str):
        call.call_id = piece["id"] or call.call_id
    kind = piece.get("type")
    if kind == "custom":
        call.kind = "custom"
    _add_function(call, piece.get("custom") if kind == "custom" or "custom" in piece else piece.get("function"))


def _call_of(calls: Sequence[_Call], piece: Mapping[str, Any]) -> _Call | None:
    """The call that a piece goes on with, or None where it begins one."""
    call_id, index = piece.get("id"), piece.get("index")
    if isinstance(call_id, str) and call_id:
        named = next((call for call in calls if call.call_id == call_id), None)
        if named is not None:
            return named
        # An id may come after the first piece of a call, but two ids are two calls.
        last = _by_index(calls, index)
        return last if last is not None and not last.call_id and isinstance(index, int) else None
    if isinstance(index, int) and not isinstance(index, bool):
        return _by_index(calls, index)
    function = piece.get("function") or piece.get("custom")
    begins = isinstance(function, Mapping) and bool(function.get("name"))
    if not calls or (begins and calls[-1].name):
        return None
    return calls[-1]


def _by_index(calls: Sequence[_Call], index: object) -> _Call | None:
    """The last call of that index: servers that number every call alike go on with the last."""
    return next((call for call in reversed(calls) if call.index == index), None)


def _add_function(call: _Call, function: object) -> None:
    if not isinstance(function, Mapping):
        return
    name = function.get("name")
    if isinstance(name, str) and name != call.name:  # some servers repeat it with every piece
        call.name += name
    given = function.get("arguments", function.get("input"))
    if isinstance(given, str):
        call.arguments.append(given)
    elif isinstance(given, Mapping | list):
        call.arguments.append(json.dumps(given, ensure_ascii=False))


def _add_audio(known: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name == "transcript" and isinstance(value, str):
            known[name] = known.get(name, "") + value
        elif name != "data":
            known[name] = value


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _usage(usage: object) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=min(cached or 0, prompt))


def _count(value: object) -> int | None:
    """Return a number of tokens, or None for what is none: it would lower what was spent."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count and isinstance(value, int) else None
