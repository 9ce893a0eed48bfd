"""What became of a message that a search did not bring, stage by stage, over HTTP and on the command line."""

import subprocess
from typing import Any

import pytest

from tests.running_service import RunningService, clean_environment, command

SAID = [
    ("2026-01-05T10:00:00Z", "Ana", "The harbour opens at nine in winter."),
    ("2026-02-05T10:00:00Z", "Ben", "The harbour fee is four euros a night."),
    ("2026-03-05T10:00:00Z", "Ana", "My cat sleeps on the radiator all day."),
    ("2026-04-05T10:00:00Z", "Ben", "The harbour fee is four euros a night."),
]


@pytest.fixture
def ids(service: RunningService) -> list[str]:
    messages = [{"role": "user", "name": name, "content": text, "created_at": time} for time, name, text in SAID]
    answer = service.post("/v1/memory/messages", {"conversation_id": "port", "messages": messages})
    silent = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
    empty = service.post("/v1/memory/messages", {"conversation_id": "port", "messages": [silent]})
    return [*answer.json()["message_ids"], *empty.json()["message_ids"]]


def fate(service: RunningService, message_id: str, **body: Any) -> dict[str, Any]:
    asked = {"query": "how much is the harbour fee?", "message_id": message_id, **body}
    answer = service.post("/v1/memory/recall/why-not", asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_stage_is_told_with_its_figures(service: RunningService, ids: list[str]) -> None:
    returned = fate(service, ids[1])
    assert returned["stage"] == "returned"
    assert returned["figures"]["rank"] <= 2  # another message has the same words
    assert returned["why"]["words"] == ["harbour", "fee"]
    ranked = fate(service, ids[0], k=1)
    assert (ranked["stage"], ranked["figures"]["rank"]) == ("rank", 3)
    assert ranked["figures"]["by"] > 0
    floored = fate(service, ids[2])
    assert floored["stage"] == "floor"
    assert floored["figures"]["substance"] < floored["figures"]["floor"]
    assert fate(service, ids[0], min_score=0.99)["figures"]["min_score"] == pytest.approx(0.99, abs=1e-4)
    late = fate(service, ids[0], after="2026-02-01T00:00:00Z", roles=["assistant"])
    assert (late["stage"], late["figures"]) == ("filter", {"filters": ["after", "roles"]})
    assert fate(service, ids[3], as_of="2026-03-01T00:00:00Z")["figures"] == {"filters": ["as_of"]}
    twins = [fate(service, ids[at], token_budget=100)["stage"] for at in (1, 3)]
    assert sorted(twins) == ["duplicate", "returned"]
    tight = fate(service, ids[0], token_budget=13)
    assert (tight["stage"], tight["figures"]["token_budget"]) == ("budget", 13)
    assert fate(service, ids[4])["stage"] == "not_indexed"


def test_it_says_what_recall_does(service: RunningService, ids: list[str]) -> None:
    for k in (1, 2, 3):
        body = {"query": "how much is the harbour fee?", "k": k}
        hits = [hit["message_id"] for hit in service.post("/v1/memory/recall", body).json()["hits"]]
        assert [name for name in ids[:4] if fate(service, name, k=k)["stage"] == "returned"] == sorted(
            hits, key=ids.index
        )


def test_another_users_message_is_not_there(service: RunningService, ids: list[str]) -> None:
    asked = {"query": "harbour", "message_id": ids[0], "user": "someone-else"}
    assert service.post("/v1/memory/recall/why-not", asked).status_code == 404
    assert service.post("/v1/memory/recall/why-not", {"query": "x", "message_id": "msg_none"}).status_code == 404
    assert service.post("/v1/memory/recall/why-not", {"query": " ", "message_id": ids[0]}).status_code == 400


def test_the_command_line_tells_it_too(service: RunningService, ids: list[str]) -> None:
    environment = clean_environment(COLUMNS="300", NO_COLOR="1")
    program = command("why-not", ids[0], "how much is the harbour fee?", "-k", "1", "--data-dir", str(service.data_dir))
    told = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=60)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("rank  It is number 3")
    assert '"last_score"' in told.stdout
