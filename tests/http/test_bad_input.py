"""Bad input gets one clear sentence and the right status, and changes nothing."""

import json
from typing import Any

import httpx2
import pytest

from tests.http.conftest import Api, user

MESSAGES = "/v1/memory/messages"
RECALL = "/v1/memory/recall"
CONTEXT = "/v1/memory/context"
SAY = "/v1/assistant/conversations/c/messages"
MIB = 1024 * 1024


def assert_refused(answer: httpx2.Response, status: int, code: str | None = None, param: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) - {"details"} == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert "Traceback" not in answer.text
    assert "\n" not in body["error"]["message"]
    if code is not None:
        assert body["error"]["code"] == code
    if param is not None:
        assert body["error"]["param"] == param


def assert_nothing_stored(api: Api) -> None:
    assert set(api.get("/v1/memory/stats").json().values()) == {0}


def body(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"conversation_id": "c", "messages": list(messages), **fields}


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user(""), "messages[1].content"),
        (user(" \n\t "), "messages[1].content"),
        (user(None), "messages[1].content"),
        ({"role": "user"}, "messages[1].content"),
        (user([]), "messages[1].content"),
        (user([{"type": "text", "text": "  "}, {"text": "no type"}]), "messages[1].content[1]"),
        ({"role": "robot", "content": "x"}, "messages[1].role"),
        ({"role": "", "content": "x"}, "messages[1].role"),
        (user("x", name="n\x00"), "messages[1].name"),
        (user("x", metadata={"key": "nul \x00"}), "messages[1].metadata"),
        (user("x", metadata={"nul \x00": 1}), "messages[1].metadata"),
        (user("x", created_at="yesterday"), "messages[1].created_at"),
        (user("x", created_at="0000-01-01T00:00:00Z"), "messages[1].created_at"),
        (user("x", created_at="10000-01-01T00:00:00Z"), "messages[1].created_at"),
        (user("x", created_at="0001-01-01T00:00:00+14:00"), "messages[1].created_at"),
        (user("x", created_at=10**20), "messages[1].created_at"),
        (user("x", created_at=-(10**20)), "messages[1].created_at"),
        (user("x", created_at="1969-12-31T23:59:59Z"), "messages[1].created_at"),
        (user("x", created_at="2101-01-01T00:00:00Z"), "messages[1].created_at"),
        (user("x", created_at=True), "messages[1].created_at"),
        (user("x", created_at=-1), "messages[1].created_at"),
        (user("x", id=""), "messages[1].id"),
        (user("x", id="i" * 257), "messages[1].id"),
        (user("x", tool_calls=[{"id": "a"}]), "messages[1].tool_calls"),
        (user("x", tool_call_id="a"), "messages[1].tool_call_id"),
        ({"role": "tool", "content": "x"}, "messages[1].tool_call_id"),
        ({"role": "assistant", "content": "", "tool_calls": []}, "messages[1].content"),
    ],
)
def test_a_wrong_message_is_named_and_nothing_is_stored_by_halves(api: Api, message: Any, param: str) -> None:
    answer = api.post(MESSAGES, body(user("this one is right"), message))
    assert_refused(answer, 400, "invalid_value", param)
    assert_nothing_stored(api)


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"conversation_id": "c\udfff", "messages": [{"role": "user", "content": "x"}]}',
        rb'{"conversation_id": "c", "user": "\ud800", "messages": [{"role": "user", "content": "x"}]}',
        rb'{"conversation_id": "c", "agent": "\ud800", "messages": [{"role": "user", "content": "x"}]}',
        rb'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "name": "\ud800"}]}',
        rb'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "metadata": {"\ud800": 1}}]}',
        rb'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "metadata": {"a": ["\ud800"]}}]}',
        rb'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "created_at": NaN}]}',
        rb'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "created_at": Infinity}]}',
        rb'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "metadata": {"a": NaN}}]}',
        b'{"conversation_id": "c", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b'{"conversation_id": "c", "messages": [{"role": "user", "content": "x"',
        b"not json",
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"conversation_id": "c", "messages": [{"role": "user", "content": "x", "metadata": '
        + b'{"a":' * 40
        + b"1"
        + b"}" * 40
        + b"}]}",
    ],
)
def test_what_is_not_good_json_or_text_is_refused(api: Api, raw: bytes) -> None:
    assert_refused(api.post_raw(MESSAGES, raw), 400)
    assert_nothing_stored(api)


@pytest.mark.parametrize(
    ("path", "wrong", "param"),
    [
        (MESSAGES, {"conversation_id": "c", "messages": [user("x")], "surprise": 1}, "surprise"),
        (MESSAGES, {"conversation_id": "c", "messages": [user("x")], "on_invalid": "keep"}, "on_invalid"),
        (MESSAGES, {"conversation_id": "c", "messages": [user("x")], "on_invalid": None}, "on_invalid"),
        (MESSAGES, {"conversation_id": "c"}, "messages"),
        (MESSAGES, {"conversation_id": "c", "messages": []}, "messages"),
        (MESSAGES, {"conversation_id": "", "messages": [user("x")]}, "conversation_id"),
        (MESSAGES, {"conversation_id": "c" * 257, "messages": [user("x")]}, "conversation_id"),
        (MESSAGES, {"conversation_id": 7, "messages": [user("x")]}, "conversation_id"),
        (MESSAGES, {"conversation_id": "c", "messages": [user("x")], "user": ""}, "user"),
        (RECALL, {"query": ""}, "query"),
        (RECALL, {"query": "  "}, "query"),
        (RECALL, {"query": "nul \x00"}, "query"),
        (RECALL, {}, "query"),
        (RECALL, {"query": "x", "k": 0}, "k"),
        (RECALL, {"query": "x", "k": -1}, "k"),
        (RECALL, {"query": "x", "k": 1001}, "k"),
        (RECALL, {"query": "x", "k": "10"}, "k"),
        (RECALL, {"query": "x", "k": 2.5}, "k"),
        (RECALL, {"query": "x", "roles": ["robot"]}, "roles.0"),
        (RECALL, {"query": "x", "after": "yesterday"}, "after"),
        (RECALL, {"query": "x", "min_score": 2}, "min_score"),
        (RECALL, {"query": "x", "token_budget": 0}, "token_budget"),
        (RECALL, {"query": "x", "surprise": 1}, "surprise"),
        (CONTEXT, {"conversation_id": "c", "message": "x", "token_budget": 0}, "token_budget"),
        (CONTEXT, {"conversation_id": "c", "message": "x", "agent": "nobody"}, "agent"),
        (CONTEXT, {"conversation_id": "c", "message": "nul \x00"}, "message"),
        (CONTEXT, {"conversation_id": "", "message": "x"}, "conversation_id"),
        (SAY, {"message": ""}, None),
        (SAY, {"message": "x", "agent": "nobody"}, "agent"),
        (SAY, {}, "message"),
    ],
)
def test_a_wrong_field_is_named(api: Api, path: str, wrong: dict[str, Any], param: str | None) -> None:
    assert_refused(api.post(path, wrong), 400, param=param)
    assert_nothing_stored(api)


@pytest.mark.parametrize("path", [RECALL, CONTEXT, SAY])
def test_a_surrogate_in_a_question_is_refused(api: Api, path: str) -> None:
    names = {RECALL: rb'{"query": "\ud800"}', SAY: rb'{"message": "\ud800"}'}
    raw = names.get(path, rb'{"conversation_id": "c", "message": "\ud800"}')
    assert_refused(api.post_raw(path, raw), 400)
    assert_nothing_stored(api)


def test_a_text_of_one_mebibyte_is_stored_and_found_by_its_last_words(api: Api) -> None:
    end = " the parrot sings Puccini"
    text = ("filler words of no interest " * 50_000)[: MIB - len(end)] + end
    assert len(text.encode()) == MIB
    (message_id,) = api.remember("c", user(text))
    api.remember("c", *[user(f"short message number {number} of many") for number in range(300)])
    assert api.recall("who sings Puccini?")[0]["message_id"] == message_id
    rows = api.get("/v1/memory/conversations/c/messages?order=asc").json()["data"]
    assert rows[0]["content"] == text


def test_a_text_over_one_mebibyte_is_413(api: Api) -> None:
    answer = api.post(MESSAGES, body(user("right"), user("x" * (MIB + 1))))
    assert_refused(answer, 413, "text_too_large", "messages[1].content")
    assert_refused(api.post(MESSAGES, body(user("é" * (MIB // 2 + 1)))), 413)
    assert_nothing_stored(api)


def test_a_body_over_the_limit_is_413(api: Api) -> None:
    headers = {**api.headers, "content-type": "application/json"}
    chunks = (b" " * MIB for _ in range(66))
    try:
        answer = api.service.http.post(MESSAGES, content=chunks, headers=headers)
    except httpx2.TransportError:
        return  # the server closed the connection while we were still sending; it answered 413 before
    assert_refused(answer, 413)


def test_a_thousand_messages_are_taken_and_one_more_is_refused(api: Api) -> None:
    many = [user(f"message {number}") for number in range(1001)]
    assert_refused(api.post(MESSAGES, body(*many)), 400, "invalid_value", "messages")
    assert_nothing_stored(api)
    assert len(api.remember("c", *many[:1000])) == 1000


def test_an_id_with_other_content_is_a_conflict_and_writes_nothing(api: Api) -> None:
    api.remember("c", user("one", id="mine"))
    answer = api.post(MESSAGES, body(user("fresh"), user("two", id="mine")))
    assert_refused(answer, 400, "id_conflict", "messages[1].id")
    assert api.get("/v1/memory/stats").json()["messages"] == 1
    answer = api.post(MESSAGES, {"conversation_id": "other", "messages": [user("one", id="mine")]})
    assert_refused(answer, 400, "id_conflict")
    assert api.get("/v1/memory/stats").json()["conversations"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1/memory/conversations/none",
        "/v1/memory/conversations/none/messages",
        "/v1/memory/conversations?after=none",
        "/v1/memory/contexts/ctx_none",
    ],
)
def test_reading_what_is_not_there_is_404(api: Api, path: str) -> None:
    assert_refused(api.get(path), 404)
    api.remember("c", user("hello"))
    assert_refused(api.get(path), 404)


def test_filtering_by_an_unknown_conversation_is_404(api: Api) -> None:
    for fields in ({"conversation_id": "none"}, {"exclude_conversation_ids": ["none"]}):
        assert_refused(api.post(RECALL, {"query": "x", **fields}), 404, "conversation_not_found")
        api.remember("c", user("hello"))
        assert_refused(api.post(RECALL, {"query": "x", **fields}), 404, "conversation_not_found")


def test_another_users_conversation_is_not_there(api: Api) -> None:
    api.remember("hers", user("a secret"), user="ana")
    attempts = [
        api.get("/v1/memory/conversations/{}?user=ben"),
        api.get("/v1/memory/conversations/{}/messages?user=ben"),
    ]
    for made in attempts:
        path = str(made.request.url.raw_path.decode()).replace("%7B%7D", "{}")
        theirs, nobodys = api.get(path.format("hers")), api.get(path.format("none"))
        assert_refused(theirs, 404)
        assert theirs.text.replace("hers", "none") == nobodys.text
    answer = api.post(MESSAGES, {"conversation_id": "hers", "messages": [user("mine now")], "user": "ben"})
    assert_refused(answer, 404, "conversation_not_found")
    say = api.post("/v1/assistant/conversations/hers/messages", {"message": "let me in", "user": "ben"})
    assert_refused(say, 404, "conversation_not_found")
    assert_refused(api.post(CONTEXT, {"conversation_id": "hers", "message": "x", "user": "ben"}), 404)
    assert_refused(api.post(RECALL, {"query": "secret", "conversation_id": "hers", "user": "ben"}), 404)
    assert api.recall("secret", user="ben") == []
    assert api.recall("secret") == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", MESSAGES),
        ("DELETE", RECALL),
        ("PUT", CONTEXT),
        ("POST", "/v1/memory/stats"),
        ("GET", SAY),
        ("POST", "/health"),
    ],
)
def test_a_wrong_method_is_405(api: Api, method: str, path: str) -> None:
    answer = api.request(method, path)
    assert_refused(answer, 405)
    assert answer.headers["allow"]


def test_an_unknown_route_is_404(api: Api) -> None:
    assert_refused(api.get("/v1/nothing"), 404)


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", f"{RECALL}/why-not", {"query": "x", "message_id": "m", "scope": "namespace"}),
        ("POST", "/v1/files", {}),
        ("GET", "/v1/threads/t", None),
    ],
)
def test_what_is_planned_says_so(api: Api, method: str, path: str, sent: Any) -> None:
    content = None if sent is None else json.dumps(sent).encode()
    headers = {**api.headers, "content-type": "application/json"}
    answer = api.service.http.request(method, path, content=content, headers=headers)
    assert_refused(answer, 400, "not_implemented")
    assert_nothing_stored(api)


@pytest.mark.parametrize("path", ["?limit=0", "?limit=1001", "?limit=ten", "?order=up"])
def test_a_wrong_page_is_refused(api: Api, path: str) -> None:
    assert_refused(api.get("/v1/memory/conversations" + path), 400)


def test_a_wrong_namespace_is_refused(api: Api) -> None:
    api.headers["x-namespace"] = "n" * 257
    assert_refused(api.get("/v1/memory/stats"), 400, "invalid_value", "namespace")


def test_a_budget_too_small_is_said(api: Api) -> None:
    answer = api.post(CONTEXT, {"conversation_id": "c", "message": "x " * 500, "token_budget": 50})
    assert_refused(answer, 400, "budget_too_small", "token_budget")
    said = api.post(SAY, {"message": "x " * 500, "token_budget": 50})
    assert_refused(said, 400, "budget_too_small", "token_budget")
    assert "kept" in said.json()["error"]["message"]
    assert api.get("/v1/memory/stats").json()["messages"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "harbour " * 12_500,
        "x" * 100_000,
        "港口什么时候开" * 14_000,
        "what is it that they were and who",
        "🚢⚓️🌊",
        '"',
        "*",
        'NEAR("harbour" opens, 2) AND -nine OR (*)',
        "'; DROP TABLE chat_messages; --",
        "ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ",
        "\u202eharbour\u200b\u0301",
        "? ! ...",
    ],
    ids=lambda query: f"{len(query)} of {query[:12]!r}",
)
def test_odd_queries_get_a_sensible_answer_in_bounded_time(api: Api, query: str) -> None:
    api.remember("c", *({"role": "user", "content": f"The harbour opens at {hour}."} for hour in range(60)))
    answer = api.post(RECALL, {"query": query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["took_ms"] < 2_000
    said = [hit["text"] for hit in answer.json()["hits"]]
    assert "harbour" in query or not said, said
    if query.startswith(("harbour", "\u202e")):
        assert said


@pytest.mark.parametrize("named", [{"conversation_id": ""}, {"exclude_conversation_ids": [""]}])
@pytest.mark.parametrize("scope", [{}, {"scope": "namespace"}])
def test_an_empty_name_of_a_conversation_is_that_of_none(
    api: Api, named: dict[str, Any], scope: dict[str, str]
) -> None:
    api.remember("c", user("The otter sleeps."))
    answer = api.post(RECALL, {"query": "otter", **named, **scope})
    assert_refused(answer, 404, "conversation_not_found", "conversation_id")


@pytest.mark.parametrize(
    ("path", "sent", "sentence"),
    [
        ("/v1/keys", {"scopes": 5}, "scopes must be a list."),
        ("/v1/keys", {"scopes": []}, "scopes must have 1 or more."),
        ("/v1/keys", {"scopes": ["all"]}, "scopes.0 must be 'read', 'write' or 'admin'."),
        ("/v1/keys", {"name": ""}, "name must have 1 to 256 characters."),
        ("/v1/keys", {"name": 5}, "name must be a text."),
        ("/v1/keys", {"requests_per_minute": 0}, "requests_per_minute must be at least 1."),
        ("/v1/keys", {"requests_per_minute": "many"}, "requests_per_minute must be a whole number."),
        ("/v1/keys", [], "The body must be an object."),
        (RECALL, {"query": "x", "explain": "yes"}, "explain must be true or false."),
        (RECALL, {"query": "x", "metadata": []}, "metadata must be an object."),
        (RECALL, {"query": "x", "user": ""}, "user must have 1 to 256 characters."),
        ("/v1/memory/reindex", {"embedder": "static", "rollback": True}, "rollback goes back to the embedder before"),
    ],
)
def test_what_is_wrong_is_said_in_a_plain_sentence_that_names_it(api: Api, path: str, sent: Any, sentence: str) -> None:
    answer = api.post(path, sent)
    assert_refused(answer, 400, "invalid_value")
    assert answer.json()["error"]["message"].startswith(sentence)
