"""Retention over HTTP and from the command line."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.http.conftest import Api, user
from tests.running_service import clean_environment, command

OLD = (datetime.now(UTC) - timedelta(days=400)).isoformat()
YEAR = {"rules": [{"stratum": "messages", "older_than_days": 365}]}


@pytest.fixture
def api(api: Api) -> Api:
    """The service, once it has done its daily pruning and leaves the rest to the tests."""
    while ask(api, "GET", "retention").json()["last_pruned_at"] is None:
        continue
    return api


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, env=clean_environment(), timeout=60)


def ask(api: Api, method: str, path: str, body: Any = None) -> Any:
    return api.service.http.request(method, f"/v1/memory/{path}", json=body, headers=api.headers)


def prune(api: Api, **body: Any) -> list[dict[str, Any]]:
    answer = ask(api, "POST", "prune", body)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def test_a_policy_is_written_told_and_followed(api: Api) -> None:
    default = ask(api, "GET", "retention").json()
    assert default["written_at"] is None
    assert {rule["stratum"] for rule in default["policy"]["rules"]}.isdisjoint({"messages"})
    old, _ = api.remember("c", user("The zeppelin lands.", created_at=OLD), user("The tram runs."))
    assert prune(api) == []
    written = ask(api, "PUT", "retention", YEAR).json()
    assert written["policy"] == {"restorable_days": 7, **YEAR}
    assert ask(api, "GET", "retention").json() == written
    told = prune(api, dry_run=True)
    assert told == [
        {"stratum": "messages", "rule": "older_than_days 365", "action": "mark", "rows": 1, "bytes": 19}
    ]  # fmt: skip
    assert [hit["message_id"] for hit in api.recall("zeppelin")] == [old]
    assert prune(api) == told
    assert api.recall("zeppelin") == []
    assert [row["text"] for row in api.get("/v1/memory/conversations/c/messages").json()["data"]] == ["The tram runs."]
    assert api.get(f"/v1/memory/conversations/c/messages?after={old}").status_code == 200
    assert ask(api, "POST", "restore", {"message_ids": [old]}).json()["restored"] == 1
    assert [hit["message_id"] for hit in api.recall("zeppelin")] == [old]


def test_a_pruning_is_taken_back_by_its_time(api: Api) -> None:
    since = datetime.now(UTC).timestamp()
    api.remember("c", user("The zeppelin lands.", created_at=OLD))
    api.remember("d", user("The zeppelin is mine.", created_at=OLD), user="ana")
    assert sum(row["rows"] for row in prune(api, policy=YEAR)) == 2
    assert ask(api, "POST", "restore", {"since": since + 3600, "scope": "namespace"}).json()["restored"] == 0
    assert ask(api, "POST", "restore", {"since": since, "user": "ana"}).json()["restored"] == 1
    assert api.recall("zeppelin") == []
    assert ask(api, "POST", "restore", {"since": since, "scope": "namespace"}).json()["restored"] == 1
    assert len(api.recall("zeppelin")) == 1


def test_pins_and_holds_are_shown_and_win(api: Api) -> None:
    pinned, _ = api.remember("a/b", user("The zeppelin lands.", created_at=OLD), user("The tram.", created_at=OLD))
    api.remember("held", user("The canoe.", created_at=OLD))
    answer = ask(api, "POST", f"messages/{pinned}/pin")
    assert (answer.status_code, answer.json()["pinned"]) == (200, True)
    assert ask(api, "POST", "conversations/held/hold").json()["on_hold"]
    assert [row["rows"] for row in prune(api, policy=YEAR)] == [1]
    assert api.recall("zeppelin")[0]["why"]["pinned"] > 0
    assert ask(api, "DELETE", f"messages/{pinned}/pin").json()["pinned"] is False
    assert ask(api, "DELETE", "conversations/held/hold").json()["on_hold"] is False
    assert [row["rows"] for row in prune(api, policy=YEAR)] == [2]


def test_prompts_and_logs_go_by_age_and_tell_what_was_recalled(api: Api) -> None:
    names = api.remember("c", user("The zeppelin lands.", created_at=OLD), user("Blue.", created_at=OLD))
    asked = {"conversation_id": "elsewhere", "message": "When does the zeppelin land?", "agent": None}
    made = api.post("/v1/memory/context", asked).json()
    assert names[0] in str(made["manifest"])
    api.post("/v1/assistant/conversations/chat/messages", {"message": "Hello."})
    lately = {"rules": [{"stratum": "messages", "unless_recalled_days": 30}]}
    held = {name for item in made["manifest"]["items"] for name in item["message_ids"]} & set(names)
    assert sum(row["rows"] for row in prune(api, policy=lately, dry_run=True)) == len(names) - len(held)
    logs = {"rules": [{"stratum": name, "keep_newest": 0} for name in ("contexts", "model_calls", "tool_calls")]}
    told = prune(api, policy=logs, dry_run=True)
    assert {row["stratum"]: row["rows"] for row in told}["contexts"] == 2
    assert all(row["bytes"] > 0 and row["action"] == "remove" for row in told)
    assert prune(api, policy=logs) == told
    assert api.get(f"/v1/memory/contexts/{made['manifest_id']}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "retention", {"rules": [{"stratum": "dreams", "idle_days": 1}]}, 400, "invalid_value"),
        ("PUT", "retention", {"rules": [{"stratum": "messages"}]}, 400, "invalid_value"),
        ("PUT", "retention", [], 400, "invalid_value"),
        ("POST", "prune", {"policy": {"rules": [{"stratum": "messages", "idle_days": -1}]}}, 400, "invalid_value"),
        ("POST", "prune", {"dry_run": "yes"}, 400, "invalid_value"),
        ("POST", "prune", {"dryrun": True}, 400, "unknown_field"),
        ("POST", "restore", {}, 400, "invalid_value"),
        ("POST", "restore", {"message_ids": ["m"], "conversation_id": "c"}, 400, "invalid_value"),
        ("POST", "restore", {"conversation_id": "c", "scope": "namespace"}, 400, "invalid_value"),
        ("POST", "restore", {"since": "once"}, 400, "invalid_value"),
        ("POST", "restore", {"message_ids": ["msg_none"]}, 404, "message_not_found"),
        ("POST", "restore", {"conversation_id": "none"}, 404, "conversation_not_found"),
        ("POST", "messages/msg_none/pin", {}, 404, "message_not_found"),
        ("POST", "conversations/none/hold", {}, 404, "conversation_not_found"),
        ("DELETE", "conversations/none/hold", None, 404, "conversation_not_found"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    api: Api, method: str, path: str, body: Any, status: int, code: str
) -> None:
    api.remember("c", user("The zeppelin lands.", created_at=OLD))
    before = ask(api, "GET", "retention").json()
    answer = ask(api, method, path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ask(api, "GET", "retention").json() == before
    assert len(api.recall("zeppelin")) == 1


def test_the_command_reads_a_policy_from_a_file(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[[rules]]\nstratum = "messages"\nolder_than_days = 100_000\n')
    asked = ("prune", "--dry-run", "--json", "--policy", str(file), "--data-dir", str(api.service.data_dir))
    done = run(*asked)
    assert json.loads(done.stdout) == {"dry_run": True, "data": [], "index_pending": 0}
    file.write_text("[[rules]]\n")
    refused = run(*asked)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "stratum" in refused.stderr


def test_what_waits_is_archived_before_it_goes_and_comes_back_by_command(api: Api, tmp_path: Path) -> None:
    (first,) = api.remember("c", user("The zeppelin lends.", created_at=OLD, metadata={"n": 1}))
    api.service.http.patch(f"/v1/memory/messages/{first}", json={"content": "The zeppelin lands."}, headers=api.headers)
    api.remember("d", user("The barge\u2028is mine.", created_at=OLD), user="ana")
    api.remember("c", user("The tram runs."))
    prune(api, policy=YEAR)
    file, store = (
        tmp_path / "gone.jsonl",
        ("--data-dir", str(api.service.data_dir), "--namespace", api.headers["x-namespace"]),
    )
    none_left = tmp_path / "policy.toml"
    none_left.write_text("rules = []\nrestorable_days = 100\n")
    assert run("prune", "--archive", str(file), "--policy", str(none_left), *store).returncode == 0
    lines = [json.loads(line) for line in file.read_bytes().split(b"\n") if line]
    assert [(line["user"], line["conversation_id"], line["message"]["content"]) for line in lines] == [
        (None, "c", "The zeppelin lands."), ("ana", "d", "The barge\u2028is mine.")
    ]  # fmt: skip
    assert (lines[0]["message"]["id"], lines[0]["message"]["metadata"]) == (first, {"n": 1})
    assert [version["content"] for version in lines[0]["versions"]] == ["The zeppelin lends."]
    assert lines[0]["pruned_by"] == "older_than_days 365"
    taken = run("prune", "--archive", str(file), *store)
    assert (taken.returncode, "is there already" in taken.stderr) == (2, True)
    assert run("unprune", first, *store).stdout.startswith("1 messages are back.")
    assert run("unprune", "--since", "2020-01-01", *store).stdout.startswith("1 messages are back.")
    assert [hit["message_id"] for hit in api.recall("zeppelin")] == [first]
    assert run("unprune", *store).stderr.startswith("memory-engine: Name one thing")
