"""The proxy is transparent: what a model server accepts and answers goes through, whatever the memory makes of it."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chat_shapes import ODD_BODIES, REPLIES, REQUESTS, body_of, stream_of
from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api
from tests.running_service import RunningService

OPEN, CLOSE = "<recalled_memory>\n", "\n</recalled_memory>"
SEED = "hello there, odd bare so: the ferry leaves at nine"
#: What a database cannot hold.
UNSTORABLE = {0: "\ufffd", **dict.fromkeys(range(55296, 57344), "�")}


@pytest.fixture
def api(with_model: RunningService, scripted: ScriptedModel) -> Api:
    scripted.script.clear()
    scripted.requests.clear()
    return Api(with_model)


def ask(api: Api, body: dict[str, Any], conversation: str | None = "talk", **headers: str) -> httpx2.Response:
    named = {} if conversation is None else {"x-conversation-id": conversation}
    raw = json.dumps(body).encode()
    content = {"content-type": "application/json"}
    return api.service.http.post(
        "/v1/chat/completions", content=raw, headers={**api.headers, **named, **content, **headers}
    )


def without_block(messages: list[Any]) -> list[Any]:
    """The messages that were sent on, without the block in the newest user message."""
    users = [n for n, each in enumerate(messages) if isinstance(each, dict) and each.get("role") == "user"]
    if not users:
        return messages
    newest = messages[users[-1]]
    content = newest.get("content")
    if isinstance(content, str) and content.startswith(OPEN):
        bare: Any = content.partition(f"{CLOSE}\n\n")[2]
    elif isinstance(content, list) and content and str(content[0].get("text", "")).startswith(OPEN):
        assert content[0]["type"] == "text"
        assert content[0]["text"].endswith(CLOSE)
        bare = content[1:]
    else:
        return messages
    return [*messages[: users[-1]], {**newest, "content": bare}, *messages[users[-1] + 1 :]]


def said(raw: Any) -> tuple[str, str] | None:
    """The role and the text under which a message is to be stored; None where nothing is said."""
    role = raw.get("role") if isinstance(raw, dict) else None
    stored = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
    if not isinstance(role, str) or role not in stored:
        return None
    content = raw.get("content")
    parts = content if isinstance(content, list) else [content] if isinstance(content, dict) else []
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    parts = [part for part in parts if "type" in part]
    texts = [part.get("text", part.get("refusal")) for part in parts if part["type"] in ("text", "refusal")]
    text = content if isinstance(content, str) else "\n".join(texts)
    audio = raw.get("audio") if role == "assistant" else None
    if role == "assistant" and not text.strip() and (raw.get("refusal") or "").strip():
        text = raw["refusal"]
    if not text.strip() and audio and "transcript" in audio:
        text = audio["transcript"]
    calls = [call for call in raw.get("tool_calls") or () if isinstance(call, dict)] if role == "assistant" else []
    has_more = bool(parts or calls or audio or (role == "assistant" and raw.get("function_call")))
    if not text.strip() and not has_more and stored[role] != "tool":
        return None
    return stored[role], text.translate(UNSTORABLE)


def stored(api: Api, conversation: str = "talk", user: str | None = None, branches: str = "active") -> list[Any]:
    whose = "" if user is None else f"&user={user}"
    path = f"/v1/memory/conversations/{conversation}/messages?order=asc&limit=100&branches={branches}{whose}"
    return [(row["role"], row["text"]) for row in api.get(path).json().get("data", [])]


ANSWERS = st.one_of(
    ODD_BODIES.map(lambda raw: (raw, None)),
    st.tuples(REPLIES, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]),
              st.booleans(), st.booleans()),
)  # fmt: skip


def scripted_answer(drawn: Any) -> tuple[Scripted, bytes, list[dict[str, Any]] | None]:
    """The server's answer, its bytes, and the replies in it; None where it is not told what is to be stored of them."""
    if isinstance(drawn[0], bytes):
        return Scripted(raw=drawn[0]), drawn[0], []
    replies, cuts, ends, escaped, streams = drawn
    if not streams:
        return Scripted(raw=body_of(replies)), body_of(replies), replies
    chunks = stream_of(replies, cuts, ends, escaped=escaped)
    # Streamed, texts in parts are joined otherwise, and what UTF-8 cannot hold is lost on the way.
    is_told = escaped and not any(isinstance(reply["content"], list) for reply in replies)
    return Scripted(chunks=chunks), b"".join(chunks), replies if is_told else None


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=REQUESTS, drawn=ANSWERS)
def test_every_request_and_every_reply_goes_through(
    with_model: RunningService, scripted: ScriptedModel, body: dict[str, Any], drawn: Any
) -> None:
    api, (answer, raw, replies) = Api(with_model), scripted_answer(drawn)
    api.remember("before", {"role": "user", "content": SEED}, user=body.get("user"))
    scripted.script, scripted.requests = [answer], []
    through = ask(api, body)
    assert (through.status_code, through.content) == (200, raw)
    (sent,) = scripted.requests
    assert without_block(sent["messages"]) == body["messages"]
    assert {**sent, "messages": 0} == {**body, "messages": 0}
    expected = [each for each in map(said, body["messages"]) if each is not None]
    found = stored(api, user=body.get("user"))
    assert found[: len(expected)] == expected
    if replies is not None:
        heard = [each for each in map(said, replies) if each is not None]
        assert found[len(expected) :] == heard[:1]


@contextmanager
def writes_failing(with_model: RunningService) -> Iterator[None]:
    """Have every message, prompt and noted cost refused by the database."""
    tables = ("chat_messages", "contexts", "model_calls", "assistant_threads")
    with closing(sqlite3.connect(with_model.data_dir / "memory.sqlite3", timeout=30, check_same_thread=False)) as db:
        for table in tables:
            db.execute(
                f"CREATE TRIGGER full_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        db.commit()
        try:
            yield
        finally:
            for table in tables:
                db.execute(f"DROP TRIGGER full_{table}")
            db.commit()


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=REQUESTS, drawn=ANSWERS)
def test_the_same_with_the_stores_writes_failing(
    with_model: RunningService, scripted: ScriptedModel, body: dict[str, Any], drawn: Any
) -> None:
    api, (answer, raw, _) = Api(with_model), scripted_answer(drawn)
    scripted.script, scripted.requests = [answer], []
    with writes_failing(with_model):
        through = ask(api, body)
    assert (through.status_code, through.content) == (200, raw)
    assert [sent["messages"] for sent in scripted.requests] == [body["messages"]]
    if any(said(each) for each in body["messages"]):
        assert through.headers["x-memory-notice"].isascii()
    assert stored(api, user=body.get("user")) == []


def strict(asked: dict[str, Any]) -> Scripted:
    """A server whose chat template wants the roles to alternate."""
    sent = [message.get("role") if isinstance(message, dict) else message for message in asked["messages"]]
    roles = [role for role in sent if role not in ("system", "developer")]
    if any(one == other for one, other in itertools.pairwise(roles)):
        return Scripted(status=400, text="Conversation roles must alternate user/assistant/user/assistant/...")
    return Scripted(text="As you say.")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(turns=st.lists(st.sampled_from(["hello there", "where is the ferry?", "so?", "bare"]), min_size=1, max_size=6),
       sends=st.sampled_from(["all", "one", "window"]))  # fmt: skip
def test_a_server_that_wants_roles_to_alternate_has_them(
    with_model: RunningService, scripted: ScriptedModel, turns: list[str], sends: str
) -> None:
    api, history = Api(with_model), list[dict[str, Any]]()
    api.remember("before", {"role": "user", "content": SEED})
    scripted.requests = []
    for number, text in enumerate(turns):
        history.append({"role": "user", "content": f"{text} {number}"})
        scripted.script = [Scripted(by=strict)]
        sent = {"all": history, "one": history[-1:], "window": history[-3:]}[sends]
        answer = ask(api, {"model": "m", "messages": sent})
        assert answer.status_code == 200, answer.text
        assert "x-memory-notice" not in answer.headers, "it was taken at the first time"
        history.append(answer.json()["choices"][0]["message"])
    assert stored(api) == [(message["role"], message["content"]) for message in history]
    assert len(scripted.requests) == len(turns)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=REQUESTS)
def test_a_strict_server_takes_and_refuses_the_same_requests_with_memory(
    with_model: RunningService, scripted: ScriptedModel, body: dict[str, Any]
) -> None:
    api = Api(with_model)
    api.remember("before", {"role": "user", "content": SEED}, user=body.get("user"))
    scripted.script, scripted.requests = [Scripted(by=strict)] * 3, []
    bare, named = ask(api, body, None), ask(api, body)
    assert (named.status_code, named.content) == (bare.status_code, bare.content)
    if bare.status_code == 200:
        assert len(scripted.requests) == 2, "it was taken at the first time"


def test_a_request_that_is_too_long_goes_on_without_memory(api: Api, scripted: ScriptedModel) -> None:
    api.remember("before", {"role": "user", "content": SEED})
    scripted.script = [Scripted(status=400, code="context_length_exceeded"), Scripted(text="ok")]
    body = {"model": "m", "messages": [{"role": "user", "content": "when does the ferry leave?"}]}
    answer = ask(api, body)
    assert (answer.status_code, answer.headers["x-memory-notice"]) == (200, "memory_left_out")
    assert [len(sent["messages"][0]["content"]) > 100 for sent in scripted.requests] == [True, False]
    scripted.script, scripted.requests = [Scripted(status=400, text="no")] * 2, []
    assert ask(api, body).status_code == 400
    assert [sent["messages"] for sent in scripted.requests][-1] == body["messages"]


@pytest.mark.parametrize("size", [1_500_000, 3_000_000])
@pytest.mark.parametrize("kind", ["image", "audio", "file", "text"])
def test_large_parts_go_through(api: Api, scripted: ScriptedModel, size: int, kind: str) -> None:
    data = "A" * size
    part = {
        "image": {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
        "audio": {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        "file": {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{data}"}},
        "text": {"type": "text", "text": data},
    }[kind]
    body = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}]}
    answer = ask(api, body)
    assert answer.status_code == 200
    assert scripted.requests == [body]
    notice = "text_too_large" if kind == "text" else "media_not_stored"
    assert answer.headers["x-memory-notice"] == notice
    asked = [] if kind == "text" else [("user", "what is it?")]
    assert stored(api) == [*asked, ("assistant", "ok")]


@pytest.mark.parametrize("index", ["missing", "null", "always 0"])
def test_parallel_calls_stay_apart(api: Api, scripted: ScriptedModel, index: str) -> None:
    number = {"missing": {}, "null": {"index": None}, "always 0": {"index": 0}}[index]
    pieces = [
        {"id": "call_0", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"function": {"arguments": '{"city": '}}, {"function": {"arguments": '"Lyon"}'}},
        {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": '{"zo'}},
        {"function": {"arguments": 'ne": "UTC"}'}},
    ]  # fmt: skip
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [{**number, **piece}]}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    raw = b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"
    scripted.script = [Scripted(chunks=[raw])]
    body = {"model": "m", "messages": [{"role": "user", "content": "hello there"}], "stream": True}
    assert ask(api, body).content == raw
    row = api.get("/v1/memory/conversations/talk/messages?limit=1").json()["data"][0]
    assert [(call["id"], call["function"]) for call in row["tool_calls"]] == [
        ("call_0", {"name": "get_weather", "arguments": '{"city": "Lyon"}'}),
        ("call_1", {"name": "get_time", "arguments": '{"zone": "UTC"}'}),
    ]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_only_line_ends_end_lines(api: Api, scripted: ScriptedModel, separator: str) -> None:
    pieces = ["The first half", f" and {separator} the middle", " and the end."]
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    raw = b"".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode() for chunk in chunks)
    scripted.script = [Scripted(chunks=[raw, b"data: [DONE]\n\n"])]
    ask(api, {"model": "m", "messages": [{"role": "user", "content": "hello there"}], "stream": True})
    assert stored(api)[-1] == ("assistant", "".join(pieces))


def test_a_stream_cut_in_the_middle_of_a_character_goes_on_as_it_came(api: Api, scripted: ScriptedModel) -> None:
    whole = 'data: {"choices": [{"index": 0, "delta": {"content": "é half"}}]}\n\n'.encode()
    torn = whole + 'data: {"choices": [{"index": 0, "delta": {"content": "né'.encode()[:-1]
    scripted.script = [Scripted(chunks=[torn])]
    answer = ask(api, {"model": "m", "messages": [{"role": "user", "content": "hello there"}], "stream": True})
    assert (answer.status_code, answer.content) == (200, torn)
    row = api.get("/v1/memory/conversations/talk/messages?limit=1").json()["data"][0]
    assert (row["content"], row["metadata"]["incomplete"]) == ("é half", True)


def test_every_choice_is_stored_and_the_first_counts(api: Api, scripted: ScriptedModel) -> None:
    replies = [{"role": "assistant", "content": f"answer {name}"} for name in "abc"]
    scripted.script = [Scripted(raw=body_of(replies))]
    question = {"role": "user", "content": "which?"}
    ask(api, {"model": "m", "messages": [question], "n": 3})
    assert stored(api) == [("user", "which?"), ("assistant", "answer a")]
    assert sorted(text for _, text in stored(api, branches="all")) == ["answer a", "answer b", "answer c", "which?"]
    ask(api, {"model": "m", "messages": [question, replies[2], {"role": "user", "content": "why?"}]})
    assert [text for _, text in stored(api)] == ["which?", "answer c", "why?", "ok"], "the client took the third"


def test_bodies_that_are_no_json_are_refused_with_one_sentence(api: Api, scripted: ScriptedModel) -> None:
    for raw in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 50_000):
        answer = api.post_raw("/v1/chat/completions", raw)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert scripted.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_whose_answer_cannot_be_stored_gives_the_answer(
    with_model: RunningService, api: Api, scripted: ScriptedModel, stream: bool
) -> None:
    def full(_asked: dict[str, Any]) -> Scripted:
        holding.__enter__()
        return Scripted(text="At nine.")

    holding = writes_failing(with_model)
    scripted.script = [Scripted(by=full)]
    try:
        turn = {"message": "When does the ferry leave?", "stream": stream}
        answer = api.post("/v1/assistant/conversations/turn/messages", turn)
    finally:
        holding.__exit__(None, None, None)
    body = answer.text.rpartition("data: ")[2] if stream else answer.text
    told = json.loads(body)
    assert (answer.status_code, told["text"], told["message_id"]) == (200, "At nine.", None)
    assert told["notice"] == "answer_not_stored"


@pytest.mark.parametrize("text", ["a\x00b", "lone \ud800 one", "<think>hm</think>yes", "x" * 1_100_000])
def test_a_turn_stores_whatever_a_model_replies(api: Api, scripted: ScriptedModel, text: str) -> None:
    scripted.script = [Scripted(text=text)]
    answer = api.post("/v1/assistant/conversations/turn/messages", {"message": "Well?"}).json()
    assert answer["text"] == text.translate(UNSTORABLE)
    row = api.get("/v1/memory/conversations/turn/messages?limit=1").json()["data"][0]
    assert row["text"] == answer["text"][: 1024 * 1024]


def pieces_of(*texts: str, end: bytes = b"") -> Scripted:
    """A stream of these pieces of text."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return Scripted(chunks=[b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + end])


FINISH = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def test_a_turn_that_breaks_off_stores_what_came_whatever_it_is(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [pieces_of("lone \ud800", " and \x00 then")]
    answer = api.post("/v1/assistant/conversations/turn/messages", {"message": "Well?", "stream": True})
    events = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events == ["delta", "delta", "error"]
    assert "model_broke_off" in answer.text
    row = api.get("/v1/memory/conversations/turn/messages?limit=1").json()["data"][0]
    assert (row["text"], row["metadata"]["incomplete"]) == ("lone \ufffd and \ufffd then", True)


@pytest.mark.parametrize("path", ["turn", "proxy"])
def test_a_character_that_comes_in_two_halves_is_one(api: Api, scripted: ScriptedModel, path: str) -> None:
    scripted.script = [pieces_of("Nine \ud83d", "\ude00 sharp", end=FINISH)]
    if path == "proxy":
        ask(api, {"model": "m", "messages": [{"role": "user", "content": "Well?"}], "stream": True})
    else:
        answer = api.post("/v1/assistant/conversations/talk/messages", {"message": "Well?", "stream": True})
        done = json.loads(answer.text.rpartition("data: ")[2])
        assert done["text"] == "Nine \U0001f600 sharp"
    assert stored(api)[-1] == ("assistant", "Nine \U0001f600 sharp")
