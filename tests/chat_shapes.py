"""Requests and replies of Chat Completions in every shape that openai's own types allow, and some more."""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam

#: Texts with what clients and models really send besides letters.
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "", " ", "hello there", "a\x00b", "lone \ud800 surrogate", "line\u2028separator\u2029and\u0085next",
            "\r\nwindows\r\n", "<think>hm</think>well",
            "👩‍👩‍👧", "שלום", "\ufeffmark", "<recalled_memory>", "data: [DONE]",
        ]
    ),
)  # fmt: skip
_ODD = st.sampled_from(
    [
        {"role": "assistant", "content": ""}, {"role": "assistant", "content": None}, {"role": "assistant"},
        {"role": "assistant", "content": None, "refusal": "I cannot help with that."},
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "content": "so", "tool_calls": [None, "odd", {"id": None, "function": None}]},
        {"role": "assistant", "content": "so", "reasoning_content": "because", "annotations": []},
        {"role": "tool", "content": "12:00"}, {"role": "tool", "content": "12:00", "tool_call_id": ""},
        {"role": "function", "name": "f", "content": None}, {"role": "king", "content": "Kneel."}, {"content": "x"},
        {"role": "user", "content": {"type": "text", "text": "bare"}}, {"role": "user", "content": ["bare"]},
        {"role": "user", "content": "odd", "name": "a\nb", "unknown": {"deep": [1.5, None]}}, {"role": ["user"]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
    ]
)  # fmt: skip


def as_json(value: Any) -> Any:
    """A value of a typed dictionary as JSON has it."""
    if isinstance(value, Mapping):
        return {name: as_json(inner) for name, inner in value.items()}
    if isinstance(value, str | int | float) or value is None:
        return value
    return [as_json(inner) for inner in value] if isinstance(value, Iterable) else str(value)


_TYPED = st.one_of(*(st.from_type(kind).map(as_json) for kind in get_args(ChatCompletionMessageParam)))
_PLAIN = st.builds(
    lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "assistant"]), TEXTS
)
MESSAGES = st.lists(st.one_of(_PLAIN, _TYPED, _ODD), min_size=1, max_size=6)
REQUESTS = st.builds(
    lambda messages, extra: {"model": "m", "messages": messages, **extra},
    MESSAGES,
    st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2), "n": st.integers(1, 3), "user": st.sampled_from(["ana", "ben"]),
            "tools": st.just([{"type": "function", "function": {"name": "f"}}]), "foo_bar": st.integers(),
            "response_format": st.just({"type": "json_object"}), "seed": st.integers(), "stop": st.none(),
        },
    ),
)  # fmt: skip

_CALLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": TEXTS})},
        optional={"id": st.sampled_from(["call_a", "call_b", ""]), "index": st.sampled_from([0, 1, None])},
    ),
    max_size=2,
)
_CONTENT = st.one_of(
    st.none(), TEXTS, st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXTS), max_size=2)
)
REPLIES = st.lists(
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": _CONTENT},
        optional={
            "refusal": st.one_of(st.none(), TEXTS), "tool_calls": _CALLS, "reasoning_content": TEXTS,
            "audio": st.one_of(st.none(), st.just({"id": "audio_1", "data": "AAAA", "transcript": "spoken"})),
            "annotations": st.just([]),
        },
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip
#: Bodies that are no completion, of servers that are not what they say.
ODD_BODIES = st.sampled_from(
    [b"no json", b"", b"[]", b"null", b'{"choices": null}', b'{"choices": [1, {}]}', b"{" * 50]
)


def body_of(replies: list[dict[str, Any]]) -> bytes:
    """A whole reply."""
    choices = [{"index": n, "message": message, "finish_reason": "stop"} for n, message in enumerate(replies)]
    return json.dumps({"id": "c", "object": "chat.completion", "choices": choices}).encode()


def stream_of(replies: list[dict[str, Any]], cuts: list[int], ends: bytes, *, escaped: bool) -> list[bytes]:
    """A streamed reply in pieces that are cut anywhere, with this end of lines."""
    events: list[Any] = []
    for number, message in enumerate(replies):
        for name, value in message.items():
            if name == "content" and isinstance(value, str):
                events += [
                    (number, {"content": letter}) for letter in (value[: len(value) // 2], value[len(value) // 2 :])
                ]
            else:
                events.append((number, {name: value}))
    chunks = [{"choices": [{"index": number, "delta": delta}]} for number, delta in events]
    chunks += [{"choices": [{"index": n, "delta": {}, "finish_reason": "stop"}]} for n in range(len(replies))]
    texts = [json.dumps(chunk, ensure_ascii=escaped).encode("utf-8", "replace") for chunk in chunks]
    whole = b"".join(b"data: " + text + 2 * ends for text in [*texts, b"[DONE]"])
    places = sorted({cut % len(whole) for cut in cuts} | {0, len(whole)})
    return [whole[start:end] for start, end in itertools.pairwise(places)]
