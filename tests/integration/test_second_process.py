"""One owner of a data directory; commands go through the service that runs on it."""

import json
import signal
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from memory_engine import MemoryEngine, Page
from memory_engine.errors import StoreInUse
from memory_engine.storage.migrations import HEAD
from tests.running_service import RunningService, clean_environment, command


def run(*args: str, given: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(COLUMNS="200", NO_COLOR="1", **settings)
    return subprocess.run(command(*args), capture_output=True, text=True, input=given, env=environment, timeout=60)


def assert_refused(told: subprocess.CompletedProcess[str]) -> None:
    """One line on stderr, code 2, and nothing else."""
    assert told.returncode == 2
    assert told.stdout == ""
    assert len(told.stderr.splitlines()) == 1, told.stderr
    assert told.stderr.startswith("memory-engine: ")


def remember(service: RunningService, text: str) -> None:
    body = {"conversation_id": "c", "messages": [{"role": "user", "content": text, "name": "Ana"}]}
    service.post("/v1/memory/messages", body).raise_for_status()


def test_a_second_service_is_refused_and_harms_nothing(service: RunningService) -> None:
    remember(service, "The harbour opens at nine.")
    second = run("serve", "--port", "0", "--data-dir", str(service.data_dir))
    assert_refused(second)
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
    assert run("db", "current", *folder).stdout == f"{HEAD}\n"
    assert run("db", "upgrade", *folder).stdout.startswith(f"schema {HEAD}, nothing to do")
    doctor = run("doctor", "--repair", *folder)
    assert doctor.returncode == 0, doctor.stderr
    assert doctor.stdout.count("ok") >= 5


def test_chat_goes_through_the_running_service(service: RunningService) -> None:
    remember(service, "The harbour opens at nine.")
    said = "When does the harbour open?\n"
    talk = run("chat", "--conversation", "talk/1", "--data-dir", str(service.data_dir), given=said)
    assert talk.returncode == 0, talk.stderr
    assert "opens at nine" in talk.stdout
    stored = service.http.get("/v1/memory/conversations/talk%2F1/messages?order=asc").json()["data"]
    assert [row["role"] for row in stored] == ["user", "assistant"]
    assert stored[0]["content"] == said.strip()


def test_commands_open_the_store_themselves_when_nothing_runs(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path / "data")]
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
    assert "harbour opens" in run("recall", "harbour", *folder).stdout
    assert "Nothing relevant" in run("recall", "zeppelin", *folder).stdout
    assert "<recalled_memory>" in run("context", "new", "When does the harbour open?", *folder).stdout
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


@pytest.mark.parametrize("is_running", [True, False])
def test_the_commands_of_a_talk(tmp_path: Path, is_running: bool) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
    lines = ["When does the harbour open?", "/why", "/agent nobody", "/agent spec", "/nonsense"]
    given = "\n".join([*lines, "And the harbour closes?", "/forget", "yes", ""])
    command = ["chat", "--conversation", "talk", "--data-dir", str(tmp_path / "data")]
    if is_running:
        with RunningService(tmp_path / "data"):
            talk = run(*command, given=given)
    else:
        talk = run(*command, given=given)
    assert (talk.returncode, talk.stderr) == (0, "")
    assert "assistant: This is what I remember" in talk.stdout
    assert "recalled" in talk.stdout
    assert "harbour, open" in talk.stdout or "open, harbour" in talk.stdout, "why a message was recalled"
    assert "There is no agent nobody; there are: greeter, pm, spec." in talk.stdout
    assert "There is no command /nonsense." in talk.stdout
    assert "spec: " in talk.stdout
    assert "2 messages are erased." in talk.stdout
    with MemoryEngine.open(tmp_path / "data") as engine:
        said = [message.text for message in engine.history.messages("talk", Page(limit=10, ascending=True))[0]]
    assert len(said) == 2
    assert said[0] == "When does the harbour open?"


@pytest.mark.parametrize("is_running", [True, False])
def test_erase_proves_itself_and_can_be_asked_again(tmp_path: Path, is_running: bool) -> None:
    data = tmp_path / "data"
    with MemoryEngine.open(data) as engine:
        engine.remember("c", [{"role": "user", "content": "The code of the vault is kestrel-harmonica-7731."}])
    command = ["erase", "conversation", "c", "--yes", "--data-dir", str(data)]
    with RunningService(data) if is_running else nullcontext():
        erased = run(*command)
        assert (erased.returncode, erased.stderr) == (0, "")
        receipt_id = erased.stdout.split(":")[0]
        again = run("erase", "--verify", receipt_id, "--data-dir", str(data))
        assert again.returncode == 0, again.stderr
        assert "0 found" in again.stdout
        assert_refused(run(*command))
        assert_refused(run("erase", "everything", "--yes", "--data-dir", str(data)))
    assert not [path for path in data.rglob("*") if path.is_file() and b"kestrel" in path.read_bytes()]


def test_a_killed_service_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    service = RunningService(tmp_path / "data")
    remember(service, "The harbour opens at nine.")
    service.kill()
    assert (tmp_path / "data" / "service.json").exists()
    assert (tmp_path / "data" / "service.json").stat().st_mode & 0o777 == 0o600
    with MemoryEngine.open(tmp_path / "data") as owner:
        # The address left behind answers no more, and whoever owns the folder now serves nothing.
        assert_refused(run("recall", "harbour", "--data-dir", str(tmp_path / "data")))
        assert len(owner.recall("harbour")) == 1
    assert "harbour opens" in run("recall", "harbour", "--data-dir", str(tmp_path / "data")).stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_stop_closes_its_store(tmp_path: Path, number: signal.Signals) -> None:
    service = RunningService(tmp_path / "data")
    remember(service, "The harbour opens at nine.")
    service.process.send_signal(number)
    assert service.process.wait(30) == 0
    left = {path.name for path in (tmp_path / "data").iterdir()}
    assert left == {"memory.sqlite3", "memory.sqlite3.mark", "memory-engine.lock"}, (
        "no write-ahead log, no service.json"
    )
    service.stop()


def test_schema_commands(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path / "data")]
    assert run("db", "current", *folder).stdout == "empty\n"
    assert run("db", "upgrade", *folder).stdout == f"schema {HEAD}\n"
    assert run("db", "upgrade", *folder).stdout == f"schema {HEAD}, nothing to do\n"
    assert run("db", "current", *folder).stdout == f"{HEAD}\n"
    assert run("db", "history").stdout.startswith("0001  ")


@pytest.mark.parametrize(
    "wrong",
    [
        ["recall", "x", "-k", "0"],
        ["recall", ""],
        ["recall", "a lone \udcff"],
        ["context", "c", "x", "--budget", "5"],
        ["chat", "--agent", "nobody"],
        ["serve", "--host", "0.0.0.0"],
        ["serve", "--workers", "2"],
        ["serve", "--host", "203.0.113.7", "--port", "1"],
        ["recall", "x", "--data-dir", "/proc/nothing"],
        ["recall", "x", "--nonsense"],
        ["recall", "x", "-k", "many"],
        ["recall"],
        ["nonsense"],
        ["db", "nonsense"],
        ["serve", "--port", "70000"],
    ],
)
def test_a_mistake_gives_one_line_and_code_2(tmp_path: Path, wrong: list[str]) -> None:
    folder = {} if "--data-dir" in wrong else {"MEMORY_ENGINE_DATA_DIR": str(tmp_path / "data")}
    assert_refused(run(*wrong, given="hello\n", **folder))


def test_a_file_that_is_no_database_is_one_line_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite3"
    file.write_bytes(b"no database " * 999)
    assert_refused(run("serve", "--port", "0", "--data-dir", str(tmp_path)))
    assert file.read_bytes() == b"no database " * 999


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MEMORY_ENGINE_INDEX_THRESHOLD", "many"),
        ("MEMORY_ENGINE_EMBEDDER", "nobody's"),
        ("MEMORY_ENGINE_DATABASE_URL", "nonsense"),
        ("MEMORY_ENGINE_DATABASE_URL", "nosuch://127.0.0.1/x"),
        ("MEMORY_ENGINE_DATABASE_URL", "postgresql+psycopg://127.0.0.1:1/x"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, setting: str, value: str) -> None:
    told = run("recall", "x", "--data-dir", str(tmp_path / "data"), **{setting: value})
    assert_refused(told)
    assert {"THRESHOLD": setting, "EMBEDDER": value, "URL": "database"}[setting.rpartition("_")[2]] in told.stderr
