"""One owner of a data directory; commands go through the service that runs on it."""

import json
import subprocess
from pathlib import Path

import pytest

from memory_engine import MemoryEngine
from memory_engine.errors import StoreInUse
from tests.running_service import RunningService, clean_environment, command


def run(*args: str, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = clean_environment(COLUMNS="200", NO_COLOR="1")
    return subprocess.run(command(*args), capture_output=True, text=True, input=given, env=environment, timeout=60)


def remember(service: RunningService, text: str) -> None:
    body = {"conversation_id": "c", "messages": [{"role": "user", "content": text, "name": "Ana"}]}
    service.post("/v1/memory/messages", body).raise_for_status()


def test_a_second_service_is_refused_and_harms_nothing(service: RunningService) -> None:
    remember(service, "The harbour opens at nine.")
    second = run("serve", "--port", "0", "--data-dir", str(service.data_dir))
    assert second.returncode == 2
    assert second.stdout == ""
    assert len(second.stderr.splitlines()) == 1
    assert "in use by another process" in second.stderr
    with pytest.raises(StoreInUse):
        MemoryEngine.open(service.data_dir)
    remember(service, "The harbour closes at ten.")
    hits = service.post("/v1/memory/recall", {"query": "harbour"}).json()["hits"]
    assert len(hits) == 2


def test_commands_go_through_the_running_service(service: RunningService) -> None:
    remember(service, "The harbour opens at nine.")
    folder = ["--data-dir", str(service.data_dir)]
    found = run("recall", "when does the harbour open", "--json", *folder)
    assert found.returncode == 0, found.stderr
    assert [hit["text"] for hit in json.loads(found.stdout)["hits"]] == ["The harbour opens at nine."]
    assert "harbour opens" in run("recall", "harbour", "--explain", *folder).stdout
    prompt = run("context", "new", "When does the harbour open?", "--budget", "900", *folder)
    assert "<recalled_memory>" in prompt.stdout
    assert "of 900 tokens" in prompt.stdout
    doctor = run("doctor", "--repair", *folder)
    assert doctor.returncode == 0, doctor.stderr
    assert doctor.stdout.count("ok") >= 5


def test_commands_open_the_store_themselves_when_nothing_runs(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path / "data")]
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
    assert "harbour opens" in run("recall", "harbour", *folder).stdout
    assert "Nothing relevant" in run("recall", "zeppelin", *folder).stdout
    talk = run(
        "chat",
        "--conversation",
        "talk",
        "--agent",
        "pm",
        *folder,
        given="When does the harbour open?\n/recall\n/quit\n",
    )
    assert talk.returncode == 0, talk.stderr
    assert "pm: This is what I remember" in talk.stdout
    assert "<recalled_memory>" in talk.stdout
    assert run("doctor", *folder).returncode == 0


def test_a_killed_service_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    service = RunningService(tmp_path / "data")
    remember(service, "The harbour opens at nine.")
    service.kill()
    assert (tmp_path / "data" / "service.json").exists()
    assert (tmp_path / "data" / "service.json").stat().st_mode & 0o777 == 0o600
    assert "harbour opens" in run("recall", "harbour", "--data-dir", str(tmp_path / "data")).stdout


def test_schema_commands(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path / "data")]
    assert run("db", "current", *folder).stdout == "empty\n"
    assert run("db", "upgrade", *folder).stdout == "schema 0001\n"
    assert run("db", "upgrade", *folder).stdout == "schema 0001, nothing to do\n"
    assert run("db", "current", *folder).stdout == "0001\n"
    assert run("db", "history").stdout.startswith("0001  ")


@pytest.mark.parametrize(
    "wrong",
    [
        ["recall", "x", "-k", "0"],
        ["recall", ""],
        ["context", "c", "x", "--budget", "5"],
        ["chat", "--agent", "nobody"],
        ["serve", "--host", "0.0.0.0"],
        ["serve", "--workers", "2"],
        ["serve", "--host", "203.0.113.7", "--port", "1"],
        ["recall", "x", "--data-dir", "/proc/nothing"],
    ],
)
def test_a_mistake_gives_one_line_and_code_2(tmp_path: Path, wrong: list[str]) -> None:
    folder = [] if "--data-dir" in wrong else ["--data-dir", str(tmp_path / "data")]
    told = run(*wrong, *folder, given="hello\n")
    assert "Traceback" not in told.stderr + told.stdout
    if wrong[0] == "chat":
        assert "There is no agent 'nobody'" in told.stdout
        return
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1, told.stderr
    assert told.stderr.startswith("memory-engine: ")


@pytest.mark.parametrize("wrong", [["recall", "x", "--nonsense"], ["nonsense"], ["serve", "--port", "70000"]])
def test_wrong_usage_is_code_2(wrong: list[str]) -> None:
    told = run(*wrong)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    environment = clean_environment(MEMORY_ENGINE_INDEX_THRESHOLD="many")
    told = subprocess.run(
        command("recall", "x", "--data-dir", str(tmp_path / "d")),
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1
    assert "MEMORY_ENGINE_INDEX_THRESHOLD" in told.stderr
