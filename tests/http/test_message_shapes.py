"""POST /v1/memory/messages and `remember` take messages as chat files, SDKs and gateways write them."""

import itertools
import json
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

from memory_engine import MemoryEngine, Page
from memory_engine.errors import IdConflict, InvalidInput
from memory_engine.parsing import parse_messages
from tests.chat_shapes import MESSAGES as SHAPES_OF_OPENAI
from tests.fakes import FixedClock
from tests.http.conftest import Api, user

ROUTE = "/v1/memory/messages"
CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Lyon"}'}}
MIB = 1024 * 1024
DEEP: Any = json.loads('{"a":' * 40 + "1" + "}" * 40)


def reply(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def dumped(**fields: Any) -> dict[str, Any]:
    return ChatCompletionMessage.model_validate({"role": "assistant", "content": None, **fields}).model_dump()


#: What real chat files hold, each with the role and the text that are stored.
STORED: dict[str, tuple[dict[str, Any], str, str]] = {
    "SDK dump": (dumped(content="hello"), "assistant", "hello"),
    "SDK dump of a refusal": (dumped(refusal="I cannot."), "assistant", "I cannot."),
    "SDK dump of calls": (dumped(tool_calls=[{"id": "c1", **CALL}]), "assistant", ""),
    "SDK dump of a legacy call": (dumped(function_call=CALL["function"]), "assistant", ""),
    "SDK dump of audio": (
        dumped(audio={"id": "audio_1", "data": "A" * 2 * MIB, "expires_at": 1, "transcript": "spoken"}),
        "assistant", "spoken",
    ),
    "SDK dump with citations": (
        dumped(content="see", annotations=[{"type": "url_citation", "url_citation": {
            "start_index": 0, "end_index": 3, "title": "t", "url": "u"}}]), "assistant", "see",
    ),
    "field case": (reply("hello", refusal=None, annotations=[], audio=None, function_call=None, tool_calls=None),
                   "assistant", "hello"),
    "all null": ({"role": "user", "content": "hi", **dict.fromkeys(
        ("name", "id", "metadata", "tool_call_id", "tool_calls", "function_call", "created_at"))}, "user", "hi"),
    "parsed output": (reply('{"a": 1}', parsed={"a": 1}), "assistant", '{"a": 1}'),
    "reasoning_content": (reply("so", reasoning_content="because"), "assistant", "so"),
    "reasoning": (reply("so", reasoning="because", reasoning_details=[{"type": "text"}]), "assistant", "so"),
    "thinking": (reply("so", thinking="because"), "assistant", "so"),
    "empty reasoning": (reply("so", reasoning_content=""), "assistant", "so"),
    "provider fields": (reply("so", provider_specific_fields={"a": None}, images=[]), "assistant", "so"),
    "developer": ({"role": "developer", "content": "be brief"}, "system", "be brief"),
    "system": ({"role": "system", "content": "be brief"}, "system", "be brief"),
    "call without id": (reply("", tool_calls=[CALL]), "assistant", ""),
    "call with an empty id": (reply(None, tool_calls=[{"id": "", **CALL}]), "assistant", ""),
    "call with a null id": (reply("let me see", tool_calls=[{"id": None, **CALL}]), "assistant", "let me see"),
    "call with a long id": (reply(None, tool_calls=[{"id": "x" * 400, **CALL}]), "assistant", ""),
    "call with arguments as an object": (
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        "assistant", "",
    ),
    "legacy call": (reply(None, function_call={"name": "f", "arguments": "{}"}), "assistant", ""),
    "legacy answer": ({"role": "function", "name": "f", "content": "12:00"}, "tool", "12:00"),
    "tool answer": ({"role": "tool", "tool_call_id": "c1", "content": "12:00"}, "tool", "12:00"),
    "tool answer with a name alone": ({"role": "tool", "name": "f", "content": "12:00"}, "tool", "12:00"),
    "empty tool answer": ({"role": "tool", "tool_call_id": "c1", "content": None}, "tool", ""),
    "tool answer in parts": (
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "12:00"}]}, "tool", "12:00"),
    "parts": (user([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]), "user", "one\ntwo"),
    "input_text and output_text": (
        reply([{"type": "output_text", "text": "one", "annotations": []}]), "assistant", "one"),
    "refusal part": (reply([{"type": "refusal", "refusal": "No."}]), "assistant", "No."),
    "image": (user([{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]), "user", ""),
    "audio part": (user([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]), "user", ""),
    "texts as parts": (user(["one", "two"]), "user", "one\ntwo"),
    "one bare part": (user({"type": "text", "text": "bare"}), "user", "bare"),
    "audio reference": (reply(None, audio={"id": "audio_1"}), "assistant", ""),
    "NUL": (user("a\x00b"), "user", "a\ufffdb"),
    "NUL in an answer": ({"role": "tool", "tool_call_id": "x", "content": "a\x00b"}, "tool", "a\ufffdb"),
    "lone surrogate": (user("a\ud83d"), "user", "a\ufffd"),
    "two halves": (user("\ud83d\ude00"), "user", "😀"),
    "NUL in a call": (reply("", tool_calls=[{**CALL, "note": "a\x00"}]), "assistant", ""),
    "empty name": (user("hi", name=""), "user", "hi"),
    "empty list of calls": (user("hi", tool_calls=[]), "user", "hi"),
    "fields of odd names": (user("hi", **{"a\x00": 1, "\ud800": 2, "": 3}), "user", "hi"),
    "unknown fields": (user("hi", weight=1, timestamp="yesterday", author={"id": 7}), "user", "hi"),
    "seconds": (user("hi", created_at=1716200000), "user", "hi"),
    "milliseconds": (user("hi", created_at=1716200000000), "user", "hi"),
    "microseconds as a text": (user("hi", created_at="1716200000000000"), "user", "hi"),
    "a fraction of a second": (user("hi", created_at=1716200000.25), "user", "hi"),
}  # fmt: skip

#: What cannot be stored, each with the field that is named.
WRONG: dict[str, tuple[Any, str]] = {
    "null": (None, ""),
    "a number": (7, ""),
    "a text": ("hello", ""),
    "a list": ([], ""),
    "no role": ({"content": "hi"}, ".role"),
    "unknown role": ({"role": "king", "content": "Kneel."}, ".role"),
    "role as a list": ({"role": ["user"], "content": "hi"}, ".role"),
    "nothing said": (user(""), ".content"),
    "null said": (user(None), ".content"),
    "white space": (reply(" \n"), ".content"),
    "no parts": (user([]), ".content"),
    "blank parts": (user([{"type": "text", "text": " "}]), ".content"),
    "reasoning alone": (reply(None, reasoning_content="hm"), ".content"),
    "a number said": (user(5), ".content"),
    "part without a type": (user([{"text": "hi"}]), ".content[0]"),
    "part that is null": (user([{"type": "text", "text": "hi"}, None]), ".content[1]"),
    "text part without a text": (user([{"type": "text", "text": None}]), ".content[0]"),
    "calls as a text": (reply("so", tool_calls="odd"), ".tool_calls"),
    "a call that is a text": (reply("so", tool_calls=["odd"]), ".tool_calls[0]"),
    "a call with a number as id": (reply("so", tool_calls=[{"id": 7}]), ".tool_calls[0]"),
    "a user that calls": (user("so", tool_calls=[CALL]), ".tool_calls"),
    "a legacy call as a text": (reply("so", function_call="auto"), ".function_call"),
    "an answer to nothing": ({"role": "tool", "content": "12:00", "tool_call_id": ""}, ".tool_call_id"),
    "a user that answers": (user("so", tool_call_id="c1"), ".tool_call_id"),
    "name with a line": (user("so", name="a\nb"), ".name"),
    "name as a number": (user("so", name=7), ".name"),
    "id as a number": (user("so", id=7), ".id"),
    "metadata as a list": (user("so", metadata=[1]), ".metadata"),
    "too much metadata": (user("so", metadata=dict.fromkeys(map(str, range(1_001)))), ".metadata"),
    "unknown field where extra is taken": (user("so", metadata={"extra": "VIP"}, weight=1), ".metadata.extra"),
    "too many fields": (user("so", **dict.fromkeys(map(str, range(100)))), ""),
    "deep unknown field": (user("so", tree=DEEP), ".tree"),
    "deep field of an odd name": (user("so", **{"\ud800\x00": DEEP}), ".\ufffd\ufffd"),
    "number of 65 bits": (user("so", weight=2**64), ".weight"),
    "no time": (user("so", created_at="yesterday"), ".created_at"),
    "time before 1970": (user("so", created_at=-5), ".created_at"),
    "time of 1712": (user("so", created_at="1712-04-01T00:00:00Z"), ".created_at"),
    "time as true": (user("so", created_at=True), ".created_at"),
}


def rows(api: Api, conversation_id: str = "c") -> list[dict[str, Any]]:
    answer = api.get(f"/v1/memory/conversations/{conversation_id}/messages?order=asc&limit=1000")
    return list(answer.json()["data"])


def post(api: Api, messages: list[Any], **fields: Any) -> Any:
    raw = json.dumps({"conversation_id": "c", "messages": messages, **fields}).encode()
    return api.post_raw(ROUTE, raw)


@pytest.mark.parametrize(
    ("messages", "stored"),
    [
        ([STORED["field case"][0]], [("assistant", "hello")]),
        ([{"role": "developer", "content": "be brief"}], [("system", "be brief")]),
        (
            [{"role": "user", "content": "good"}, {"role": "tool", "tool_call_id": "x", "content": "a\u0000b"}],
            [("user", "good"), ("tool", "a\ufffdb")],
        ),
        ([{"role": "user", "content": "hi", "created_at": 1716200000000}], [("user", "hi")]),
    ],
    ids=["import-sdk-dump", "import-developer-role", "import-nul", "time-ms-int"],
)
def test_a_case_of_the_field_is_stored(api: Api, messages: list[Any], stored: list[tuple[str, str]]) -> None:
    assert post(api, messages).status_code == 201
    found = rows(api)
    assert [(row["role"], row["text"]) for row in found] == stored
    if "created_at" in messages[0]:
        assert found[0]["created_at"] == "2024-05-20T10:13:20.000000Z"


@pytest.mark.parametrize("name", STORED)
def test_a_real_shape_is_stored(api: Api, name: str) -> None:
    message, role, text = STORED[name]
    answer = post(api, [message])
    assert answer.status_code == 201, answer.text
    assert answer.json()["skipped"] == []
    (row,) = rows(api)
    assert (row["role"], row["text"]) == (role, text)
    assert answer.json()["message_ids"] == [row["message_id"]]


def test_all_real_shapes_are_stored_in_one_call(api: Api) -> None:
    answer = post(api, [message for message, _, _ in STORED.values()])
    assert answer.status_code == 201, answer.text
    assert [(row["role"], row["text"]) for row in rows(api)] == [(role, text) for _, role, text in STORED.values()]


def test_real_shapes_in_python_are_stored(tmp_path: Any) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        kept = engine.remember("c", [message for message, _, _ in STORED.values()])
        assert kept.skipped == ()
        found = engine.history.messages("c", Page(ascending=True, limit=100))[0]
    assert [(message.role, message.text) for message in found] == [(role, text) for _, role, text in STORED.values()]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_message_is_skipped_by_name_and_the_rest_is_stored(api: Api, name: str) -> None:
    message, field = WRONG[name]
    answer = post(api, [user("before"), message, user("after")], on_invalid="skip")
    assert answer.status_code == 201, answer.text
    (skipped,) = answer.json()["skipped"]
    assert set(skipped) == {"index", "param", "message"}
    assert (skipped["index"], skipped["param"]) == (1, f"messages[1]{field}")
    assert 0 < len(skipped["message"]) <= 300
    assert [row["text"] for row in rows(api)] == ["before", "after"]
    assert len(answer.json()["message_ids"]) == 2


def test_a_refused_call_lists_every_wrong_message_and_stores_nothing(api: Api) -> None:
    messages = list(itertools.chain.from_iterable((user("good"), message) for message, _ in WRONG.values()))
    answer = post(api, messages)
    assert answer.status_code == 400
    error = answer.json()["error"]
    expected = [(2 * n + 1, f"messages[{2 * n + 1}]{field}") for n, (_, field) in enumerate(WRONG.values())]
    assert [(detail["index"], detail["param"]) for detail in error["details"]] == expected
    assert (error["param"], error["message"]) == (error["details"][0]["param"], error["details"][0]["message"])
    assert set(api.get("/v1/memory/stats").json().values()) == {0}


def test_good_and_wrong_mixed_are_parted(api: Api) -> None:
    good = [message for message, _, _ in STORED.values()]
    wrong = [message for message, _ in WRONG.values()]
    # What a user says first leaves no call open, which the wrong answer could answer.
    first = itertools.repeat(user("x"))
    messages = [each for some in zip(first, wrong, good, strict=False) for each in some]
    answer = post(api, messages, on_invalid="skip").json()
    assert [each["index"] for each in answer["skipped"]] == list(range(1, len(messages), 3))
    assert len(answer["message_ids"]) == len(messages) // 3 * 2


def test_a_call_of_wrong_messages_alone_stores_nothing(api: Api) -> None:
    answer = post(api, [user(""), None], on_invalid="skip")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["conversation_id"], body["thread_id"], body["message_ids"]) == ("c", None, [])
    assert [each["index"] for each in body["skipped"]] == [0, 1]
    assert set(api.get("/v1/memory/stats").json().values()) == {0}


def test_a_thousand_wrong_messages_are_one_bounded_answer(api: Api) -> None:
    answer = post(api, [user("so", **{"f" * 5_000: DEEP})] * 1_000)
    assert (answer.status_code, len(answer.json()["error"]["details"])) == (400, 1_000)
    assert len(answer.content) < 600_000


def test_a_text_over_the_limit_is_skipped(api: Api) -> None:
    long = "x" * (MIB + 1)
    messages = [user(long), user([{"type": "text", "text": "y" * (MIB // 2 + 1)}] * 2), user("short")]
    refused = post(api, messages)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "text_too_large")
    assert [each["index"] for each in refused.json()["error"]["details"]] == [0, 1]
    assert [each["index"] for each in post(api, messages, on_invalid="skip").json()["skipped"]] == [0, 1]
    assert [row["text"] for row in rows(api)] == ["short"]


# What is kept beside the text


def test_what_a_reply_holds_besides_is_in_the_metadata(api: Api) -> None:
    post(api, [STORED[name][0] for name in ("SDK dump of audio", "reasoning_content", "SDK dump of a refusal")])
    audio, reasoning, refusal = (row["metadata"] for row in rows(api))
    assert audio == {"audio": {"id": "audio_1", "expires_at": 1, "transcript": "spoken"}}
    assert reasoning == {"reasoning_content": "because"}
    assert refusal == {"refusal": True}


def test_unknown_fields_are_kept_in_extra(api: Api) -> None:
    unknown = {"weight": 0, "author": {"id": 7, "nick": "a\x00"}, "tags": [], "gone": None, "flag": False}
    post(api, [user("hi", metadata={"a": 1, "extra": {"b": 2}}, **unknown), reply("so", annotations=[{"type": "x"}])])
    first, second = (row["metadata"] for row in rows(api))
    kept = {"b": 2, "weight": 0, "author": {"id": 7, "nick": "a\ufffd"}, "tags": [], "flag": False}
    assert first == {"a": 1, "extra": kept}
    assert second == {"extra": {"annotations": [{"type": "x"}]}}


def test_a_refusal_beside_a_text_is_not_lost(api: Api) -> None:
    post(api, [reply("half an answer", refusal="I cannot go on.")])
    (row,) = rows(api)
    assert (row["text"], row["metadata"]) == ("half an answer", {"extra": {"refusal": "I cannot go on."}})


def test_metadata_with_what_cannot_be_stored_is_refused(api: Api) -> None:
    """Filters compare metadata with what their caller sent, so it is not changed."""
    assert post(api, [user("hi", metadata={"a": "b\x00"})]).json()["error"]["param"] == "messages[0].metadata"


# Calls and their answers


def test_answers_without_an_id_answer_the_calls_before_them(api: Api) -> None:
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in ("clock", "weather")]
    post(api, [
        reply("", tool_calls=calls), {"role": "tool", "name": "weather", "content": "rain"},
        {"role": "tool", "content": "12:00"}, reply(None, function_call={"name": "f", "arguments": "{}"}),
        {"role": "function", "name": "f", "content": "done"}, {"role": "function", "name": "g", "content": "odd"},
    ])  # fmt: skip
    asked, weather, clock, legacy, done, odd = rows(api)
    clock_id, weather_id = (call["id"] for call in asked["tool_calls"])
    assert (clock["tool_call_id"], weather["tool_call_id"]) == (clock_id, weather_id)
    assert (done["tool_call_id"], done["name"]) == (legacy["tool_calls"][0]["id"], "f")
    assert (odd["tool_call_id"], odd["name"]) == (None, "g")


def test_a_call_of_a_local_server_is_stored_as_model_servers_take_it(api: Api) -> None:
    """Ollama writes neither a type nor an id, and the arguments as an object."""
    post(api, [user("?"), reply("", tool_calls=[{"function": {"name": "clock", "arguments": {"zone": "Zürich"}}}]),
               {"role": "tool", "name": "clock", "content": "12:00"}])  # fmt: skip
    (call,) = rows(api)[1]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "clock", "arguments": '{"zone": "Zürich"}'})
    prompt = api.post("/v1/memory/context", {"conversation_id": "c", "message": "and now?", "agent": None}).json()
    assert [message.get("tool_call_id") for message in prompt["messages"] if message["role"] == "tool"] == [call["id"]]


def test_an_id_makes_every_shape_idempotent(api: Api) -> None:
    messages = [{**message, "id": f"m{n}"} for n, (message, _, _) in enumerate(STORED.values())]
    first, again = post(api, messages), post(api, messages)
    assert again.status_code == 201, again.text
    assert again.json() == first.json()
    assert len(rows(api)) == len(messages)


def test_every_taken_id_is_listed_and_skipped(api: Api) -> None:
    post(api, [user("one", id="a"), user("two", id="b")])
    messages = [
        None, user("other", id="a"), user("two", id="b"), user("new"), user("other", id="b"),
        user("new", id="d"), user("newer", id="d"),
    ]  # fmt: skip
    refused = post(api, messages[1:])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "id_conflict")
    assert [each["index"] for each in refused.json()["error"]["details"]] == [0, 3, 5]
    answer = post(api, messages, on_invalid="skip").json()
    assert [(each["index"], each["param"]) for each in answer["skipped"]] == [
        (0, "messages[0]"), (1, "messages[1].id"), (4, "messages[4].id"), (6, "messages[6].id")
    ]  # fmt: skip
    assert answer["message_ids"][0] == "b"
    assert [row["text"] for row in rows(api)] == ["one", "two", "new", "new"]


# Times

MOMENTS = st.datetimes(datetime(1973, 3, 4), datetime(2100, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
OFFSETS = st.integers(-14 * 60 + 1, 14 * 60 - 1)


def created(value: object) -> datetime | None:
    read = parse_messages([{"role": "user", "content": "hi", "created_at": value}])
    return read.good[0][1].created_at if read.good else None


@given(MOMENTS)
def test_unix_time_is_read_by_its_length(moment: datetime) -> None:
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    for unit in (1, 1_000, 1_000_000):
        whole = moment - timedelta(microseconds=micros % unit)
        for value in (micros // unit, str(micros // unit), f" {micros // unit}"):
            assert created(value) == whole, value
    assert created(f"{micros // 10**6}.{micros % 10**6:06}") == moment


@given(MOMENTS, OFFSETS)
def test_an_offset_is_kept_right(moment: datetime, minutes: int) -> None:
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    local = (moment + timedelta(minutes=minutes)).replace(tzinfo=None)
    assert created(f"{local.isoformat()}{sign}{size // 60:02}:{size % 60:02}") == moment


@given(st.integers(-(10**25), 10**25))
def test_a_number_is_read_within_1970_to_2100_or_refused(value: int) -> None:
    unit = 10**6 if value < 10**11 else 10**3 if value < 10**14 else 1
    end = (datetime(2101, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    fits = 0 <= value * unit < end
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value * unit) if fits else None
    assert created(value) == expected


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("999999999", datetime(2001, 9, 9, 1, 46, 39, tzinfo=UTC)),
        ("20260508", datetime(2026, 5, 8, tzinfo=UTC)),
        ("2026-05-08", datetime(2026, 5, 8, tzinfo=UTC)),
        ("2026-05-08T10:00:00", datetime(2026, 5, 8, 10, tzinfo=UTC)),
        ("1712024000000", datetime(2024, 4, 2, 2, 13, 20, tzinfo=UTC)),
        *((value, None) for value in (
            True, False, float("nan"), float("inf"), -float("inf"), "", " ", "-1", "+1716200000", "1e9", "2026",
            "202605", "1716200000000000000", "1" * 5000, "x" * 5000, "tomorrow", "1969-12-31", "2101-01-01",
            "1970-01-01T00:00:00+01:00", "2100-12-31T23:59:59-01:00", "٢٠٢٦", "\ud800", [], {}, [1716200000], b"1",
        )),
    ],
)  # fmt: skip
def test_a_time_is_read_or_refused_in_one_sentence(value: object, moment: datetime | None) -> None:
    assert created(value) == moment
    for detail in parse_messages([user("hi", created_at=value)]).details:
        assert detail.param == "messages[0].created_at"
        assert detail.message.startswith("created_at is not a valid time: ")
        assert "\n" not in detail.message
        detail.message.encode()


def test_a_number_that_python_does_not_print_is_refused() -> None:
    assert created(10**5000) is None


def test_a_filter_reads_times_as_a_message_does(api: Api) -> None:
    api.remember("c", user("The zeppelin lands.", created_at="1716200000000"))
    assert api.recall("zeppelin", after=1716199999000)
    assert not api.recall("zeppelin", after="1716200001")


# Shapes that are generated, against a plain reference

_ROLES = {"function": "tool", "developer": "system", **{role: role for role in ("user", "assistant", "system", "tool")}}
_KINDS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


def _clean(text: str) -> str:
    return "".join("\ufffd" if each == "\x00" or unicodedata.category(each) == "Cs" else each for each in text)


def _bad_name(name: str) -> bool:
    return len(name) > 256 or any(ord(each) < 32 or ord(each) == 127 or 0xD800 <= ord(each) < 0xE000 for each in name)


def _content(content: Any) -> tuple[str, bool] | None:
    """The text, and whether there is anything else; None where it is not content."""
    if content is None or isinstance(content, str):
        return content or "", False
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list):
        return None
    texts, other = [], False
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            return None
        if part["type"] not in _KINDS:
            other = True
        elif isinstance(part.get(_KINDS[part["type"]]), str):
            texts.append(part[_KINDS[part["type"]]])
        else:
            return None
    return "\n".join(texts), other


def reference(messages: list[Any]) -> Iterator[tuple[str, str] | None]:
    """The role and the text of each message that is to be stored; None for each that is not."""
    open_calls: list[tuple[str, Any]] = []
    for number, message in enumerate(messages):
        yield _reference(message, number, open_calls)


def _reference(message: Any, number: int, open_calls: list[tuple[str, Any]]) -> tuple[str, str] | None:
    role = message.get("role") if isinstance(message.get("role"), str) else None
    said, name = _content(message.get("content")), message.get("name") or ""
    if role not in _ROLES or said is None or (name.strip() and _bad_name(name)):
        return None
    calls = message.get("tool_calls") or []
    calls = [*calls, *([{"function": message["function_call"]}] if message.get("function_call") else [])]
    if any(not isinstance(call, Mapping) for call in calls) or (calls and role != "assistant"):
        return None
    if _ROLES[role] == "tool":
        return _answer(message, said[0], open_calls)
    text = None if message.get("tool_call_id") else _spoken(message, *said, bool(calls))
    if text is None:
        return None
    open_calls[:] = [
        (call.get("id") or f"made {number} {n}", (call.get("function") or {}).get("name"))
        for n, call in enumerate(calls)
    ]
    return _ROLES[role], _clean(text)


def _spoken(message: Any, text: str, other: bool, calls: bool) -> str | None:
    if message["role"] == "assistant" and not text.strip():
        text = message.get("refusal") or (message.get("audio") or {}).get("transcript") or text
        other = other or bool(message.get("audio"))
    return text if text.strip() or other or calls else None


def _answer(message: Any, text: str, open_calls: list[tuple[str, Any]]) -> tuple[str, str] | None:
    answered, name = (message.get("tool_call_id") or "").strip(), (message.get("name") or "").strip()
    fitting = [
        call
        for call in open_calls
        if call[0] == answered or (not answered and message.get("name") in (None, "", call[1]))
    ]
    if not answered and not name and not fitting:
        return None
    if fitting:
        open_calls.remove(fitting[0])
    return "tool", _clean(text)


GENERATED = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@GENERATED
@given(SHAPES_OF_OPENAI)
def test_generated_shapes_over_http_are_stored_or_skipped_by_name(api: Api, messages: list[Any]) -> None:
    api = Api(api.service)
    expected = list(reference(messages))
    wrong = [number for number, each in enumerate(expected) if each is None]
    refused = post(api, messages)
    assert refused.status_code == (400 if wrong else 201), refused.text
    if wrong:
        assert [each["index"] for each in refused.json()["error"]["details"]] == wrong
        assert api.get("/v1/memory/stats").json()["messages"] == 0
        skipping = post(api, messages, on_invalid="skip")
        assert [each["index"] for each in skipping.json()["skipped"]] == wrong
    stored = rows(api) if len(wrong) < len(messages) else []
    assert [(row["role"], row["text"]) for row in stored] == [each for each in expected if each]


@settings(GENERATED, max_examples=300)
@given(SHAPES_OF_OPENAI)
def test_generated_shapes_are_read_as_the_reference_says(messages: list[Any]) -> None:
    read = parse_messages(messages)
    found: list[Any] = [None] * len(messages)
    for number, message in read.good:
        found[number] = (message.role, message.text)
    assert found == list(reference(messages))


# Python


def test_remember_in_python_refuses_or_skips(tmp_path: Any, clock: FixedClock) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        messages = [user("one"), user("two", created_at=-1), {"role": "king"}]
        with pytest.raises(InvalidInput) as refused:
            engine.remember("c", messages)
        assert [(each.index, each.param) for each in refused.value.details] == [
            (1, "messages[1].created_at"), (2, "messages[2].role")
        ]  # fmt: skip
        kept = engine.remember("c", messages, on_invalid="skip")
        assert kept.skipped == refused.value.details
        assert len(kept.message_ids) == 1
        assert engine.remember("d", messages[1:], on_invalid="skip").thread_id is None
        with pytest.raises(InvalidInput, match="on_invalid"):
            engine.remember("c", messages, on_invalid="keep")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="JSON has no value of the type datetime"):
            engine.remember("c", [user("hi", seen=clock.now())])
        engine.remember("c", [user("one", id="a")])
        with pytest.raises(IdConflict):
            engine.remember("c", [user("two", id="a")])


def test_a_reply_of_any_stored_shape_can_be_edited(tmp_path: Any) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        for message, _, _ in STORED.values():
            (name,) = engine.remember("c", [message]).message_ids
            edited = engine.edit(name, {"content": "other words"})
            assert (edited.text, edited.version) == ("other words", 2)
