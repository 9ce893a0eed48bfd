"""Commands: what is refused or not confirmed changes nothing and says so, and what was done is told."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.client import is_told
from memory_engine import MemoryEngine, Scope
from memory_engine.storage.high_water import HighWater
from tests.running_service import RunningService


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store with one message in each of two namespaces."""
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The otter sleeps.", "id": "msg_here"}])
        elsewhere = Scope(namespace="shop")
        engine.remember("c", [{"role": "user", "content": "The heron wakes.", "id": "msg_shop"}], scope=elsewhere)
    return tmp_path / "data"


def ask(data: Path, *args: str, given: str = "") -> Result:
    return CliRunner().invoke(app, [*args, "--data-dir", str(data)], input=given)


@pytest.mark.parametrize(
    ("given", "code", "told"), [("", 2, "Not confirmed; nothing was changed."), ("n\n", 1, "Nothing was changed.")]
)
def test_what_is_not_confirmed_is_not_done(data: Path, given: str, code: int, told: str) -> None:
    backup = str(data.parent / "backup")
    assert ask(data, "backup", backup).exit_code == 0
    for command in (["erase", "message", "msg_here"], ["restore", backup, "--replace"]):
        answer = ask(data, *command, given=given)
        assert answer.exit_code == code
        assert f"memory-engine: {told}" in answer.stderr.splitlines()[-1]
    with MemoryEngine.open(data) as engine:
        assert engine.history.message("msg_here").text == "The otter sleeps."


def test_a_proposed_rule_is_confirmed_or_dismissed_by_a_command(data: Path) -> None:
    with MemoryEngine.open(data) as engine:
        engine.remember("c", [{"role": "user", "content": "Never wake the otter."}])
        engine.consolidate()
        (rule,) = engine.patterns.of(Scope())
    assert f"proposed  {rule.pattern_id}" in " ".join(ask(data, "patterns").stdout.split("\n"))
    for option, state in (("--confirm", "confirmed"), ("--dismiss", "dismissed")):
        answer = ask(data, "patterns", option, rule.pattern_id)
        assert answer.exit_code == 0
        assert f"{state}  {rule.pattern_id}" in answer.stdout
    assert ask(data, "patterns", "--confirm", "pat_none").exit_code == 1


@pytest.mark.parametrize(
    "command",
    [
        ["keys", "create", "--namespace", ""],
        ["keys", "create", "--expires", ""],
        ["keys", "list", "--namespace", ""],
        ["keys", "revoke", ""],
        ["chat", "--conversation", ""],
        ["keys", "revoke", " "],
        ["erase", "message", "msg_here", "--namespace", "", "--yes"],
        ["erase", "message", "", "--yes"],
        ["erase", "message", "msg_here", "", "--yes"],
        ["erase", "message", "msg_here", "--of-user", "", "--yes"],
        ["erase", "conversation", "", "--yes"],
        ["erase", "conversation", "c", "", "--yes"],
        ["erase", "conversation", "c", "--of-user", " ", "--yes"],
        ["erase", "user", "", "--yes"],
        ["erase", "user", " ", "--yes"],
        ["erase", "user", "", "--namespace", "shop", "--yes"],
        ["erase", "namespace", "", "--yes"],
        ["erase", "", "c", "--yes"],
        ["erase", "--verify", ""],
        ["prune", "--namespace", ""],
        ["prune", "--policy", ""],
        ["prune", "--archive", ""],
        ["unprune"],
        ["unprune", ""],
        ["unprune", "--since", ""],
        ["unprune", "--conversation", ""],
        ["unprune", "--since", "2020-01-01", "--of-user", ""],
        ["unprune", "msg_here", "--since", "2020-01-01"],
        ["restore", "", "--replace", "--yes"],
        ["erase", "namespace", "shop", "--namespace", "shop", "--yes"],
        ["erase", "message", "msg_here", "--verify", "rcpt_none"],
        ["erase", "--verify", "rcpt_none", "--of-user", "ana"],
    ],
)
def test_what_is_empty_or_too_much_is_refused(data: Path, command: list[str]) -> None:
    answer = ask(data, *command)
    assert isinstance(answer.exception, Exception)
    assert is_told(answer.exception), answer.exception
    assert answer.stdout == ""
    with MemoryEngine.open(data) as engine:
        assert engine.history.message("msg_here").text == "The otter sleeps."
        assert engine.stats("shop").messages == 1


@pytest.mark.parametrize(
    "command", [["erase", "user", "ann", "--yes"], ["prune"], ["restore", "b", "--replace", "--yes"]]
)
def test_an_empty_data_directory_is_not_the_current_one(
    data: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(data)
    before = sorted(data.rglob("*"))
    for empty in ("", " "):
        answer = CliRunner().invoke(app, [*command, "--data-dir", empty])
        assert (answer.exit_code, "The name of the data directory is empty." in answer.stderr) == (2, True)
        monkeypatch.setenv("MEMORY_ENGINE_DATA_DIR", empty)
        refused = CliRunner().invoke(app, command)
        assert str(refused.exception) == "The setting MEMORY_ENGINE_DATA_DIR is wrong: it is empty."
    assert sorted(data.rglob("*")) == before


def test_the_questions_name_what_is_lost(data: Path) -> None:
    backup = str(data.parent / "backup")
    assert ask(data, "backup", backup).exit_code == 0
    for command, named in (
        (["erase", "user", "ann", "--namespace", "shop"], "the whole user 'ann' in the namespace 'shop'"),
        (["erase", "conversation", "c"], "the conversation 'c' of the default user in the namespace 'default'"),
        (["restore", backup, "--replace"], f"everything in the store in {data}"),
    ):
        assert named in ask(data, *command, given="n\n").stderr
    with MemoryEngine.open(data) as engine:
        assert engine.stats().messages == engine.stats("shop").messages == 1


def test_forget_in_chat_takes_the_last_message_alone(data: Path) -> None:
    with MemoryEngine.open(data) as engine:
        said = [{"role": role, "content": text} for role, text in (("user", "The fox waits."), ("assistant", "Yes."))]
        engine.remember("c", said)
    asked = ask(data, "chat", "--conversation", "c", given="/forget msg_here\n/forget all\n/forget\nno\n/quit\n")
    assert asked.stdout.count("Nothing was erased.") == 2
    assert "Erase “The fox waits.” and the 1 newer message?" in " ".join(asked.stdout.split())
    with MemoryEngine.open(data) as engine:
        assert engine.stats().messages == 3
    ask(data, "chat", "--conversation", "c", given="/forget\nyes\n/quit\n")
    with MemoryEngine.open(data) as engine:
        assert [message.text for message in engine.history.newest("c", 9)] == ["The otter sleeps."]


def test_a_message_of_another_namespace_is_erased_and_looked_for(data: Path) -> None:
    assert ask(data, "erase", "message", "msg_shop", "--yes").exit_code == 1, "it is none of the namespace default"
    erased = ask(data, "erase", "message", "msg_shop", "--namespace", "shop", "--yes")
    assert erased.exit_code == 0, erased.stdout
    again = ask(data, "erase", "--verify", erased.stdout.split(":")[0], "--namespace", "shop")
    assert (again.exit_code, "0 found" in again.stdout) == (0, True)
    with MemoryEngine.open(data) as engine:
        assert engine.stats("shop").messages == 0
        assert engine.stats().messages == 1


def test_a_restore_tells_what_it_erased_again_and_the_receipts(data: Path) -> None:
    backup = str(data.parent / "backup")
    assert ask(data, "backup", backup).exit_code == 0
    again = "Erased before, and so erased again"
    assert again not in ask(data, "restore", backup, "--replace", "--yes").stdout
    with MemoryEngine.open(data) as engine:
        engine.erase(message_ids=["msg_here"])
        engine.forgetting.user(Scope(namespace="shop"), default_user=True)
    restored = ask(data, "restore", backup, "--replace", "--yes")
    (told,) = [line for line in restored.stdout.splitlines() if line.startswith(again)]
    assert told.startswith(f"{again}: 1 messages and 1 whole users; receipts rcpt_")
    with MemoryEngine.open(data) as engine:
        for receipt_id in told.rstrip(".").partition("receipts ")[2].split(", "):
            assert engine.forgetting.receipt(receipt_id, namespace=None).requested_by == "restore"
        assert (engine.stats().messages, engine.recall("otter")) == (0, [])


def test_a_folder_that_is_made_is_its_owners_alone_and_one_that_was_there_stays_as_it_is(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    for folder, mode in ((tmp_path / "new" / "data", 0o700), (there, 0o755)):
        MemoryEngine.open(folder).close()
        assert folder.stat().st_mode & 0o777 == mode


def modes(folder: Path) -> dict[str, int]:
    """The rights of group and others by file and folder, but for those within a folder that is closed to them."""
    found = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    return {name: mode for name, mode in found.items() if mode}


def test_in_an_open_folder_the_files_of_a_store_are_private(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        with MemoryEngine.open(there, index_threshold=1) as engine:
            engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
            engine._parts.stop_background()
            engine._parts.generation.indexer.drain()
            names = {path.name for path in there.iterdir()}
            assert names >= {
                "memory.sqlite3",
                "memory.sqlite3-wal",
                "memory.sqlite3-shm",
                "memory.sqlite3.mark",
                "chroma",
            }
            assert modes(there) == {}
    finally:
        os.umask(before)


def test_what_an_earlier_version_left_readable_is_closed_and_other_files_are_left(tmp_path: Path) -> None:
    there = tmp_path / "there"
    with RunningService(there) as service:
        service.post("/v1/memory/messages", {"conversation_id": "c", "messages": [{"role": "user", "content": "x"}]})
        service.kill()
    (there / "own.txt").touch()
    for path in (there, *there.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with RunningService(there) as service:
        assert modes(there) == {"own.txt": 0o044}
        made = ask(there, "backup", str(tmp_path / "backup"))
        assert made.exit_code == 0
    assert there.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


def test_the_file_of_losses_is_private(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
    mark = HighWater(tmp_path / "data" / "memory.sqlite3")
    assert mark.compare({}) is not None
    assert (tmp_path / "data" / "memory.sqlite3.lost").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (None, "The policy {} cannot be read: No such file or directory."),
        (b"\xff", "The policy {} is no text in UTF-8."),
    ],
)
def test_a_policy_file_that_cannot_be_read_is_told_in_a_sentence(
    data: Path, written: bytes | None, sentence: str
) -> None:
    policy = data.parent / "policy.toml"
    if written is not None:
        policy.write_bytes(written)
    assert str(ask(data, "prune", "--policy", str(policy)).exception) == sentence.format(policy)


def test_a_refused_reindexing_says_nothing_else(data: Path) -> None:
    refused = ask(data, "reindex", "--embedder", "nope")
    assert (refused.output, "no embedder 'nope'" in str(refused.exception)) == ("", True)
