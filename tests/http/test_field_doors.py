"""Inputs of real clients that broke the proxy, one by one (public bug reports of similar products)."""

import json
from typing import Any

import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api
from tests.http.test_background import settled
from tests.http.test_transparent_proxy import ask, stored
from tests.running_service import RunningService

HELLO, GO_ON = {"role": "user", "content": "hello there"}, {"role": "user", "content": "go on"}
CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def api(with_model: RunningService, scripted: ScriptedModel) -> Api:
    scripted.script.clear()
    scripted.requests.clear()
    return Api(with_model)


def replies(message: dict[str, Any]) -> Scripted:
    return Scripted(raw=json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}).encode())


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"content": ""}, None),
        ({"content": None}, None),
        ({}, None),
        ({"content": " \n"}, None),
        ({"content": []}, None),
        ({"content": None, "refusal": "I cannot help with that."}, "I cannot help with that."),
        ({"content": None, "audio": {"id": "audio_1"}}, ""),
        ({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, ""),
        ({"content": None, "tool_calls": [CALL]}, ""),
        ({"content": None, "tool_calls": [{**CALL, "id": ""}]}, ""),
        ({"content": None, "tool_calls": [{**CALL, "id": "x" * 400}]}, ""),
        ({"content": "a\x00b"}, "a\ufffdb"),
        ({"content": "\udc00"}, "\ufffd"),
        ({"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}, "one\ntwo"),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "No."),
        ({"content": "so", "reasoning_content": "because"}, "so"),
        ({"content": "so", "tool_calls": None, "function_call": None, "audio": None, "annotations": []}, "so"),
        ({"content": "so", "tool_calls": "odd"}, "so"),
        ({"content": "so", "name": ""}, "so"),
        ({"content": 5}, None),
    ],
)  # fmt: skip
def test_an_assistants_turn_of_any_shape_passes(
    api: Api, scripted: ScriptedModel, said: dict[str, Any], text: str | None
) -> None:
    body = {"model": "m", "messages": [HELLO, {"role": "assistant", **said}, GO_ON]}
    named, unnamed = ask(api, body), ask(api, body, None)
    assert (named.status_code, named.content) == (unnamed.status_code, unnamed.content)
    assert named.status_code == 200
    assert [request["messages"] for request in scripted.requests] == [body["messages"]] * 2
    kept = [] if text is None else [("assistant", text)]
    assert stored(api) == [("user", "hello there"), *kept, ("user", "go on"), ("assistant", "ok")]


def test_a_refusal_is_in_the_history(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [replies({"content": None, "refusal": "I cannot help with that."})]
    ask(api, {"model": "m", "messages": [HELLO]})
    row = api.get("/v1/memory/conversations/talk/messages?limit=1").json()["data"][0]
    assert (row["text"], row["metadata"]["refusal"]) == ("I cannot help with that.", True)


def test_a_call_without_an_id_is_stored_with_one_and_the_next_turn_goes_on(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [replies({"content": None, "tool_calls": [CALL]})]
    ask(api, {"model": "m", "messages": [{"role": "user", "content": "call f"}]})
    row = api.get("/v1/memory/conversations/talk/messages?limit=1").json()["data"][0]
    assert row["tool_calls"][0]["id"].startswith("call_")
    assert ask(api, {"model": "m", "messages": [{"role": "user", "content": "never mind"}]}).status_code == 200
    roles = [message["role"] for message in scripted.requests[-1]["messages"]]
    assert roles == ["user"], "a call without its answer is not sent"


def test_a_call_without_an_id_keeps_no_other_conversation_from_being_summed_up(
    api: Api, scripted: ScriptedModel
) -> None:
    scripted.script = [replies({"content": None, "tool_calls": [CALL]})]
    ask(api, {"model": "m", "messages": [{"role": "user", "content": "call f"}]})
    ask(api, {"model": "m", "messages": [{"role": "user", "content": f"call {n}"} for n in range(25)]}, "ill")
    api.remember("other", *({"role": "user", "content": f"Point {n}: the price is settled."} for n in range(25)))
    assert settled(api, "/v1/memory/conversations/other/summaries")
    ready = api.get("/ready").json()
    assert (ready["status"], "background" in ready["parts"]) == ("ok", False)


def test_a_reply_in_parts_has_the_models_bytes(api: Api, scripted: ScriptedModel) -> None:
    answer = replies({"content": [{"type": "text", "text": "hi"}, {"type": "thinking", "thinking": "hm"}]})
    scripted.script = [answer]
    assert ask(api, {"model": "m", "messages": [HELLO]}).content == answer.raw
    assert stored(api)[-1] == ("assistant", "hi")


def test_an_answer_is_asked_for_again(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [Scripted(text="a1"), Scripted(text="a2"), Scripted(text="a3")]
    first = [{"role": "user", "content": "q1"}]
    ask(api, {"model": "m", "messages": first})
    again = [*first, {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"}]
    for _ in range(2):
        ask(api, {"model": "m", "messages": again})
    assert scripted.requests[-1]["messages"] == again
    assert [text for _, text in stored(api)] == ["q1", "a1", "q2", "a3"]


def test_parameters_go_on_untouched(api: Api, scripted: ScriptedModel) -> None:
    body = {
        "model": "m", "messages": [{"role": "developer", "content": "be brief"}, HELLO], "foo_bar": 1, "user": None,
        "response_format": {"type": "json_object"}, "parallel_tool_calls": True, "stream_options": None, "stream": True,
    }  # fmt: skip
    answer = ask(api, {**body, "metadata": {"conversation_id": "c", "shop": "7"}}, None)
    assert answer.status_code == 200
    assert scripted.requests == [{**body, "metadata": {"shop": "7"}}]


def test_a_stream_without_usage_is_counted_here(api: Api, scripted: ScriptedModel) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "At nine o'clock."}, "finish_reason": "stop"}]}
    scripted.script = [
        Scripted(chunks=[f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()]),
        Scripted(text="ok"),
    ]
    ask(api, {"model": "gpt-6.1-terra", "messages": [HELLO], "stream": True})
    assert "stream_options" not in scripted.requests[0]
    ask(api, {"model": "gpt-6.1-terra", "messages": [GO_ON]})
    (row,) = api.get("/v1/assistant/cost?by=agent").json()["data"]
    assert (row["agent"], row["calls"], row["estimated"]) == ("proxy", 2, 1)
    assert row["completion_tokens"] > 3
    assert row["cost"] > 0


def test_one_users_conversation_is_not_there_for_another(api: Api) -> None:
    ask(api, {"model": "m", "messages": [HELLO], "user": "ann"})
    for messages in ([HELLO], [{"role": "system", "content": "only"}], [{"role": "king"}]):
        answer = ask(api, {"model": "m", "messages": messages, "user": "bob"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "conversation_not_found")
