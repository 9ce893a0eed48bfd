"""The proxy with memory: raw bytes compared with what the model's server sends itself, and the real SDK over it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api
from tests.running_service import RunningService

ASK = {"role": "user", "content": "When does the ferry leave?"}
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


#: Names that cannot be understood, and how the client is told.
ODD_NAMES: list[tuple[dict[str, Any], str]] = [
    ({"metadata": {"conversation_id": 5}}, "invalid_conversation_id"),
    ({"metadata": {"conversation_id": None}}, "invalid_conversation_id"),
    ({"metadata": {"conversation_id": ""}}, "invalid_conversation_id"),
    ({"metadata": {"conversation_id": "a\u0000b"}}, "invalid_conversation_id"),
    ({"metadata": {"conversation_id": "x" * 300}}, "invalid_conversation_id"),
    ({"metadata": {"thread_id": ["t"]}}, "invalid_thread_id"),
    ({"metadata": {"conversation_id": "talk"}, "user": ""}, "invalid_user"),
]
#: What is wrong with a request where no model server judges it, and the parameter that the error names.
WHOLE_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": [5]}, "messages[0]"),
    ({"metadata": "conv"}, "metadata"),
    ({"user": 5}, "user"),
    ({"stream": "si"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"model": 5}, "model"),
    ({"model": None}, "model"),
    ({"model": " "}, "model"),
    ({"messages": [{"role": "king", "content": "Kneel."}]}, "messages[0].role"),
    ({"messages": [ASK, {"content": "Kneel."}]}, "messages[1].role"),
    ({"messages": [{"role": ["user"], "content": "Kneel."}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "system", "content": {"text": "Kneel."}}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["Kneel."]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "tool", "content": "12:00"}]}, "messages[0].tool_call_id"),
    ({"n": 0}, "n"),
    ({"n": True}, "n"),
    ({"n": "3"}, "n"),
    ({"temperature": 3}, "temperature"),
    ({"max_tokens": 1.5}, "max_tokens"),
]


@pytest.fixture(scope="module")
def with_model(scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("proxy") / "data"
    settings = {
        "OPENAI_BASE_URL": scripted.url,
        "OPENAI_API_KEY": "x",
        "MODEL_ALIASES": '{"gpt-4-turbo": "gpt-6.1-terra"}',
    }
    with RunningService(folder, **settings) as running:
        yield running


@pytest.fixture
def api(with_model: RunningService, scripted: ScriptedModel) -> Api:
    scripted.script.clear()
    scripted.requests.clear()
    return Api(with_model)


def contents(api: Api, conversation: str) -> list[tuple[str, str]]:
    rows = api.get(f"/v1/memory/conversations/{conversation}/messages?order=asc").json()["data"]
    return [(row["role"], row["content"]) for row in rows]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [ASK]},
        {"model": "m", "messages": [ASK], "stream": True, "stream_options": {"include_usage": True}},
        {"model": "m", "messages": [ASK], "tools": [TOOL], "temperature": 0.2, "seed": 7, "user": "ana"},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}]},
        {"model": "m", "messages": [ASK], "metadata": {"shop": "7"}, "response_format": {"type": "json_object"}},
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_the_client_gets_the_same_bytes(api: Api, scripted: ScriptedModel, body: dict[str, Any], named: bool) -> None:
    answer = Scripted(text="At nine, as ever.", calls=[("clock", {})] if "tools" in body else [])
    scripted.script = [answer, answer]
    direct = httpx2.post(f"{scripted.url}/chat/completions", json=body, trust_env=False)
    headers = {**api.headers, **({"x-conversation-id": "talk"} if named else {})}
    through = api.service.http.post("/v1/chat/completions", json=body, headers=headers)
    assert (through.status_code, through.headers["content-type"]) == (200, direct.headers["content-type"])
    # The scripted server counts its requests in the ids of calls.
    assert through.content.replace(b"call_2_", b"call_1_") == direct.content
    first, second = scripted.requests
    rest = {name: value for name, value in second.items() if name != "messages"}
    assert rest == {name: value for name, value in first.items() if name != "messages"}
    assert second["messages"] == first["messages"], "nothing is remembered yet that could be added"
    assert ("x-memory-manifest" in through.headers) == named


def test_without_a_conversation_nothing_is_remembered(api: Api) -> None:
    api.post("/v1/chat/completions", {"model": "m", "messages": [ASK]})
    assert api.get("/v1/memory/conversations").json()["data"] == []


@pytest.mark.parametrize("stream", [False, True])
def test_the_unmodified_sdk_with_memory(api: Api, scripted: ScriptedModel, stream: bool) -> None:
    api.remember("before", {"role": "user", "content": "The ferry leaves at nine on Sundays."})
    client = openai.OpenAI(
        base_url=f"{api.service.address}/v1", api_key="none", default_headers=api.headers, max_retries=0
    )
    system = {"role": "system", "content": "You answer for a harbour."}
    scripted.script = [Scripted(text="At nine.")]
    named = {"conversation_id": "talk", "shop": "7"}
    answer: Any = client.chat.completions.create(
        model="gpt-4-turbo",
        messages=[system, ASK],
        metadata=named,
        stream=stream,  # type: ignore[call-overload]
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices] if stream else []
    assert ("".join(pieces) if stream else answer.choices[0].message.content) == "At nine."
    (sent,) = scripted.requests
    assert (sent["model"], sent["metadata"]) == ("gpt-6.1-terra", {"shop": "7"})
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["messages"][0] == system
    assert "The ferry leaves at nine on Sundays." in sent["messages"][1]["content"]
    assert sent["messages"][1]["content"].startswith("<recalled_memory>")
    assert sent["messages"][1]["content"].endswith(f"</recalled_memory>\n\n{ASK['content']}")
    assert contents(api, "talk") == [("user", ASK["content"]), ("assistant", "At nine.")]


def test_a_client_that_sends_the_whole_history_is_kept_once(api: Api, scripted: ScriptedModel) -> None:
    named = {"metadata": {"conversation_id": "talk"}, "model": "m"}
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for number in range(4):
        history.append({"role": "user", "content": f"Question {number}"})
        scripted.script = [Scripted(text=f"Answer {number}")]
        api.post("/v1/chat/completions", {**named, "messages": history})
        history.append({"role": "assistant", "content": f"Answer {number}"})
    assert contents(api, "talk") == [(m["role"], m["content"]) for m in history[1:]]
    assert scripted.requests[-1]["messages"] == history[:-1], "what the client sends itself is not added again"
    again = {**named, "messages": [*history, {"role": "user", "content": "Question 4"}]}
    scripted.script = [Scripted(status=500), Scripted(status=500), Scripted(text="Answer 4")]
    assert api.post("/v1/chat/completions", again).status_code == 500
    assert api.post("/v1/chat/completions", again).status_code == 200
    assert contents(api, "talk")[-2:] == [("user", "Question 4"), ("assistant", "Answer 4")]
    assert len(contents(api, "talk")) == 10


def test_a_client_that_sends_only_what_is_new_gets_its_history(api: Api, scripted: ScriptedModel) -> None:
    for text in ("My name is Ana.", "What is my name?"):
        body = {"model": "m", "messages": [{"role": "user", "content": text}], "metadata": {"conversation_id": "talk"}}
        api.post("/v1/chat/completions", body)
    sent = scripted.requests[-1]["messages"]
    assert [(m["role"], m["content"]) for m in sent if m["role"] != "system"][-3:] == [
        ("user", "My name is Ana."), ("assistant", "ok"), ("user", "What is my name?")
    ]  # fmt: skip


def test_the_clients_own_tools_are_its_own(api: Api, scripted: ScriptedModel) -> None:
    named = {"model": "m", "metadata": {"conversation_id": "talk"}, "tools": [TOOL]}
    scripted.script = [Scripted(text="", calls=[("clock", {})]), Scripted(text="It is noon.")]
    first = api.post("/v1/chat/completions", {**named, "messages": [ASK]}).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "12:00"}
    api.post("/v1/chat/completions", {**named, "messages": [ASK, first, result]})
    assert [m["role"] for m in scripted.requests[-1]["messages"]] == ["user", "assistant", "tool"]
    assert [role for role, _ in contents(api, "talk")] == ["user", "assistant", "tool", "assistant"]


def test_threads_users_and_what_is_wrong(api: Api, scripted: ScriptedModel) -> None:
    body = {"conversation_id": "talk", "messages": [{"role": "user", "content": "Mine."}], "user": "ana"}
    thread = api.post("/v1/memory/messages", body).json()["thread_id"]
    asked = {"model": "m", "messages": [ASK], "metadata": {"thread_id": thread}}
    assert api.post("/v1/chat/completions", {**asked, "user": "ana"}).status_code == 200
    assert "metadata" not in scripted.requests[-1]
    for wrong in ({**asked, "user": "ben"}, asked):
        answer = api.post("/v1/chat/completions", wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "conversation_not_found")
    for bad in ([], "hi", 5, None):
        assert api.post("/v1/chat/completions", bad).status_code == 400
    assert api.post_raw("/v1/chat/completions", b"{").json()["error"]["code"] == "invalid_json"


def test_the_servers_errors_come_through(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [Scripted(status=429, text="slow down", code="rate_limit_exceeded", headers={"retry-after": "7"})]
    answer = api.post(
        "/v1/chat/completions", {"model": "m", "messages": [ASK], "metadata": {"conversation_id": "talk"}}
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["message"] == "slow down"
    assert contents(api, "talk") == [("user", ASK["content"])], "what the person said is kept"
    scripted.script = [Scripted(status=404), Scripted(text="By the other.")]
    answer = api.post("/v1/chat/completions", {"model": "gone", "messages": [ASK]})
    assert answer.json()["choices"][0]["message"]["content"] == "By the other."
    assert scripted.requests[-1]["model"] == "gpt-6-luna"


def test_a_stream_that_breaks_off_is_kept_as_incomplete(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [Scripted(text="At nine, as ever.", breaks_after=3)]
    body = {"model": "m", "messages": [ASK], "stream": True, "metadata": {"conversation_id": "talk"}}
    assert api.post("/v1/chat/completions", body).status_code == 200
    row = api.get("/v1/memory/conversations/talk/messages").json()["data"][0]
    assert (row["content"], row["metadata"]["incomplete"]) == ("At nine, ", True)


@pytest.mark.parametrize(("odd", "notice"), ODD_NAMES)
@pytest.mark.parametrize("has_model", [False, True])
def test_odd_names_are_noticed_and_the_answer_comes(
    api: Api, shared_service: RunningService, scripted: ScriptedModel, odd: dict[str, Any], notice: str, has_model: bool
) -> None:
    asked = api if has_model else Api(shared_service)
    answer = asked.post("/v1/chat/completions", {"model": "m", "messages": [ASK], **odd})
    assert (answer.status_code, answer.headers["x-memory-notice"]) == (200, notice)
    assert asked.get("/v1/memory/conversations").json()["data"] == []
    assert [request["messages"] for request in scripted.requests] == ([[ASK]] if has_model else [])


@pytest.mark.parametrize("wrong", [wrong for wrong, _ in WHOLE_WRONG])
@pytest.mark.parametrize("named", [False, True])
def test_with_a_model_its_server_judges(api: Api, scripted: ScriptedModel, wrong: dict[str, Any], named: bool) -> None:
    headers = {**api.headers, **({"x-conversation-id": "talk"} if named else {})}
    body = {"model": "m", "messages": [ASK], **wrong}
    answer = api.service.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert scripted.requests == [body]


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_model_what_its_server_would_refuse_is_refused_and_not_kept(
    shared_service: RunningService, stream: bool
) -> None:
    api = Api(shared_service)
    right = {"model": "m", "messages": [ASK], "stream": stream}
    headers = {**api.headers, "x-conversation-id": "c"}
    for wrong, param in WHOLE_WRONG:
        answer = api.service.http.post("/v1/chat/completions", json={**right, **wrong}, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param), wrong
    assert api.get("/v1/memory/conversations").json()["data"] == []


def test_without_a_model_a_reply_comes_as_often_as_asked_with_its_account(shared_service: RunningService) -> None:
    api = Api(shared_service)
    body = {"model": "m", "messages": [ASK], "metadata": {"conversation_id": "c"}, "n": 3, "temperature": 0.5}
    answer = api.post("/v1/chat/completions", body)
    assert [choice["index"] for choice in answer.json()["choices"]] == [0, 1, 2]
    kept = api.get(f"/v1/memory/contexts/{answer.headers['x-memory-manifest']}")
    assert kept.json()["messages"][-1]["content"] == ASK["content"], "nothing is remembered yet"
    assert [role for role, _ in contents(api, "c")] == ["user", "assistant"], "it is kept once"
    streamed = api.post("/v1/chat/completions", {**body, "stream": True}).text.split("\n\n")
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in streamed[:-2]]
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 0, 1, 1, 2, 2]


def test_without_a_model_it_quotes(shared_service: RunningService) -> None:
    api = Api(shared_service)
    api.remember("before", {"role": "user", "content": "The ferry leaves at nine on Sundays."})
    body = {"model": "any", "messages": [ASK], "metadata": {"conversation_id": "talk"}}
    text = api.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
    assert "The ferry leaves at nine on Sundays." in text
    assert ASK["content"] not in text, "what is asked is no memory of it"
    streamed = api.post("/v1/chat/completions", {**body, "stream": True}).text
    assert json.loads(streamed.split("\n\n")[0].removeprefix("data: "))["object"] == "chat.completion.chunk"
    assert streamed.endswith("data: [DONE]\n\n")
    names = [row["id"] for row in api.get("/v1/models").json()["data"]]
    assert names == ["gpt-6.1-terra", "gpt-6-luna"]
    assert api.get("/v1/models/gpt-6.1-terra").json()["object"] == "model"
    assert api.get("/v1/models/none").json()["error"]["code"] == "model_not_found"
