"""Replies and streams in every shape, put together from pieces that are cut anywhere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.model_reply import ModelReply, StreamedReply
from assistant.server_sent_events import EventReader

DATA = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1, max_size=5)


@given(data=DATA, end=st.sampled_from(["\n", "\r\n", "\r"]), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_events_are_read_however_the_bytes_are_cut(data: list[str], end: str, cuts: list[int]) -> None:
    raw = b"\xef\xbb\xbf" + "".join(f": note{end}id: 1{end}data: {each}{end}{end}" for each in data).encode()
    reader, found, before = EventReader(), list[str](), 0
    for cut in [*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]:
        found += reader.feed(raw[before:cut])
        before = cut
    assert [*found, *reader.end()] == data


def test_lines_of_data_are_one_event() -> None:
    reader = EventReader()
    assert list(reader.feed(b"data: {\ndata:}\n\ndata: cut off")) == ["{\n}"]
    assert list(reader.end()) == ["cut off"]


def streamed(*deltas: Any, finish: str | None = "stop") -> StreamedReply:
    reply = StreamedReply()
    for delta in deltas:
        reply.feed(f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode())
    if finish is not None:
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        reply.feed(f"data: {json.dumps(end)}\n\n".encode())
    return reply


def piece(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    """A piece of a call."""
    function = {"name": name, "arguments": arguments}
    return {**fields, "function": {key: value for key, value in function.items() if value is not None}}


@pytest.mark.parametrize(
    "deltas",
    [
        [piece("f", "", index=0, id="a"), piece(arguments="{}", index=0), piece("g", "{}", index=1, id="b")],
        [piece("f", index=0, id="a"), piece("g", index=1, id="b"), piece(arguments="{}", index=1),
         piece(arguments="{}", index=0)],
        [piece("f", "{}", id="a"), piece("g", "{}", id="b")],
        [piece("f", "{", index=0, id="a"), piece("f", "}", index=0, id="a"), piece("g", "{}", index=0, id="b")],
        [piece("f", index=None, id="a"), piece(arguments="{}", index=None, id=None), piece("g", index=None, id="b"),
         piece(arguments="{}")],
        [piece("f", index=0), piece(arguments="{}", index=0, id="a"), piece("g", {}, index=1, id="b")],
        [None, 5, "odd", {"id": "a", "function": None}, piece("f", "{}"), piece("g", "{}", id="b", type="function")],
    ],
)  # fmt: skip
def test_calls_are_put_together_by_id_else_by_index_else_by_arrival(deltas: list[Any]) -> None:
    reply = streamed(*({"tool_calls": [delta]} for delta in deltas), finish="tool_calls").reply
    calls = reply.first.message["tool_calls"]
    assert [(call["id"], call["function"]) for call in calls] == [
        ("a", {"name": "f", "arguments": "{}"}), ("b", {"name": "g", "arguments": "{}"}),
    ]  # fmt: skip


def test_calls_without_ids_get_one_for_the_store() -> None:
    reply = streamed({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}).reply
    stored = reply.first.stored(set(), {})
    assert stored is not None
    assert stored.tool_calls is not None
    assert stored.tool_calls[0]["id"].startswith("call_")


def test_what_is_no_text_is_metadata() -> None:
    reply = streamed(
        {"reasoning_content": "let me "}, {"reasoning_content": "see"}, {"content": [{"type": "text", "text": "Nine"}]},
        {"content": "."}, {"audio": {"id": "audio_1", "data": "AAAA"}}, {"audio": {"transcript": "nine"}},
    ).reply  # fmt: skip
    stored = reply.first.stored(set(), {"manifest_id": "ctx_1"})
    assert stored is not None
    assert stored.text == "Nine."
    assert stored.metadata == {
        "reasoning_content": "let me see", "audio": {"id": "audio_1", "transcript": "nine"}, "manifest_id": "ctx_1",
    }  # fmt: skip


def test_a_refusal_is_stored_as_such() -> None:
    for reply in (
        streamed({"refusal": "I cannot "}, {"refusal": "help."}).reply,
        ModelReply.of_body(
            json.dumps({"choices": [{"message": {"content": None, "refusal": "I cannot help."}}]}).encode()
        ),
    ):
        stored = reply.first.stored(set(), {})
        assert stored is not None
        assert (stored.text, stored.metadata) == ("I cannot help.", {"refusal": True})


NAMES = ["choices", "delta", "message", "index", "tool_calls", "function", "content", "usage", "audio"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=30,
)


@given(ANYTHING)
def test_nothing_that_a_server_sends_is_an_error(value: Any) -> None:
    reply = ModelReply()
    reply.add(value)
    reply.add({"choices": [value]})
    reply.add({"choices": [{"index": 0, "delta": value, "message": value}]})
    reply.add({"choices": [{"index": 0, "delta": {"content": value, "tool_calls": [value], "audio": value}}]})
    for choice in reply.choices:
        choice.stored(set(), {})
