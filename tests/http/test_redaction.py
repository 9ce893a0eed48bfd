"""Secrets: never in the tool log, and with the setting not in the store either."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api, user
from tests.running_service import RunningService

KEY = "sk-" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0"
CARD = "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def redacting(scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("redaction") / "data"
    settings = {"OPENAI_BASE_URL": scripted.url, "OPENAI_API_KEY": "x", "MEMORY_ENGINE_REDACT_SECRETS": "true"}
    with RunningService(folder, **settings) as running:
        yield running


@pytest.fixture
def api(redacting: RunningService, scripted: ScriptedModel) -> Api:
    scripted.script.clear()
    scripted.requests.clear()
    return Api(redacting)


def listed(api: Api, conversation: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.get(f"/v1/memory/conversations/{conversation}/messages?order=asc").json()["data"]
    return rows


def test_a_secret_is_in_no_row_and_no_file(api: Api) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"key": KEY})}}
    parts = [{"type": "text", "text": f"My card is {CARD}."}]
    (name, *_) = api.remember(
        "c", user(f"The harbour key is {KEY}, keep it.", metadata={"key": KEY}), user(parts),
        {"role": "assistant", "content": None, "tool_calls": [call]},
    )  # fmt: skip
    first, second, third = listed(api, "c")
    assert first["content"] == "The harbour key is [redacted: api key], keep it."
    assert first["metadata"] == {"key": "[redacted: api key]"}
    assert second["content"] == [{"type": "text", "text": "My card is [redacted: card number]."}]
    assert json.loads(third["tool_calls"][0]["function"]["arguments"]) == {"key": "[redacted: api key]"}
    assert api.recall("harbour key")[0]["text"] == first["content"]
    path = f"/v1/memory/messages/{name}"
    edited = api.service.http.patch(path, json={"content": f"It is {KEY} now."}, headers=api.headers).json()
    assert edited["text"] == "It is [redacted: api key] now."
    for file in api.service.data_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert KEY.encode() not in content
            assert CARD.encode() not in content


def test_a_client_that_sends_its_history_with_a_secret_is_kept_once(api: Api, scripted: ScriptedModel) -> None:
    history: list[dict[str, Any]] = []
    for number in range(3):
        history.append(user(f"Question {number} about {KEY}"))
        scripted.script = [Scripted(text=f"Answer {number}")]
        body = {"model": "m", "messages": history, "metadata": {"conversation_id": "talk"}}
        assert api.post("/v1/chat/completions", body).status_code == 200
        history.append({"role": "assistant", "content": f"Answer {number}"})
    assert scripted.requests[-1]["messages"] == history[:-1], "what is passed on stays as the client sent it"
    assert [row["content"] for row in listed(api, "talk")] == [
        row["content"].replace(KEY, "[redacted: api key]") for row in history
    ]


def test_the_tool_log_shows_no_secret_whatever_the_setting(api: Api, scripted: ScriptedModel) -> None:
    of_a_note = "ghp_" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC3"  # notes are kept as they are written
    note = {"name": "key", "text": f"The key is {of_a_note}."}
    scripted.script = [Scripted(calls=[("write_note", note)]), Scripted(text="Noted.")]
    answer = api.post("/v1/assistant/conversations/c/messages", {"message": "Note it.", "agent": "greeter"})
    assert answer.status_code == 200
    (row,) = api.get("/v1/assistant/tool-calls").json()["data"]
    assert of_a_note not in json.dumps(row)
    assert "[redacted: api key]" in json.dumps(row)


def test_without_the_setting_messages_are_kept_as_they_were_said(shared_service: RunningService) -> None:
    api = Api(shared_service)
    api.remember("c", user(f"The key is {KEY}."))
    assert [row["content"] for row in listed(api, "c")] == [f"The key is {KEY}."]
