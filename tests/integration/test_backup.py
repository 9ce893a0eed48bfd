"""A backup is one consistent copy, taken while the service serves, and it comes back whole or not at all."""

import json
import shutil
import threading
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from api import backups
from api.client import ServiceError
from assistant import load_settings
from memory_engine import MemoryEngine, Page, Scope, backup, restoring
from memory_engine.clock import SystemClock
from memory_engine.errors import BackupDamaged, SchemaMismatch, StoreInUse, StoreNotEmpty
from memory_engine.ports import no_progress
from memory_engine.storage import migrations, tables
from memory_engine.storage.database import Database
from tests import samples
from tests.integration.test_second_process import run
from tests.postgres import new_database
from tests.running_service import RunningService


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the samples, consolidated, beside the backup of it."""
    folder = tmp_path_factory.mktemp("kept")
    with MemoryEngine.open(folder / "data") as engine:
        samples.load(engine)
        engine.consolidate()
        backups.write(folder / "backup", engine.backup(), no_progress)
    return folder


def put(path: Path, url: str, *, replace: bool = False) -> None:
    with closing(Database(url)) as database:
        restoring.restore(database, path, SystemClock(), {}, replace=replace)


def rows(url: str, *, of_settings: bool = False) -> dict[str, list[str]]:
    """Every row of every table, but for what a restore makes anew: the outbox, and the id of the store."""
    with closing(Database(url)) as database, database.read() as db:
        found = {
            table.name: sorted(json.dumps(row) for batch in tables.read_rows(db, table) for row in batch)
            for table in tables.all_tables(db)
        }
    found["store_settings"] = [row for row in found["store_settings"] if of_settings or "store_id" not in row]
    del found["outbox"]
    return found


def test_every_row_comes_back_on_either_database(kept: Path, database_url: str, tmp_path: Path) -> None:
    before = rows(Database.url_in(kept / "data"))
    put(kept / "backup", database_url)
    assert rows(database_url) == before
    with MemoryEngine.open(tmp_path / "data", database_url=database_url) as engine:
        engine.remember("later", [{"role": "user", "content": "A new word: zeppelin."}])
        assert engine.recall("zeppelin")
        assert all(finding.healthy for finding in engine.examine())
        backups.write(tmp_path / "again", engine.backup(), no_progress)
    put(tmp_path / "again", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    assert rows(f"sqlite:///{tmp_path / 'other.sqlite3'}") == rows(database_url)


def test_the_vector_index_is_rebuilt_after_a_restore(kept: Path, tmp_path: Path) -> None:
    put(kept / "backup", _in(tmp_path / "data"))
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        engine._parts.stop_background()
        engine._parts.generation.indexer.drain()
        findings = {finding.check: finding for finding in engine.examine()}
    assert findings["vectors"].healthy, findings["vectors"].detail
    assert "1 collections" in findings["vectors"].detail


def test_a_backup_is_of_one_moment_while_writers_write(tmp_path: Path) -> None:
    with RunningService(tmp_path / "data") as service:
        stopping = threading.Event()

        def write(name: str) -> None:
            number = 0
            while not stopping.is_set():
                said = [{"role": "user", "content": f"{name} {number} {part}"} for part in range(3)]
                service.post("/v1/memory/messages", {"conversation_id": name, "messages": said}).raise_for_status()
                number += 1

        writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(2)]
        for writer in writers:
            writer.start()
        made = run("backup", str(tmp_path / "b"), "--data-dir", str(tmp_path / "data"))
        stopping.set()
        for writer in writers:
            writer.join()
        assert made.returncode == 0, made.stderr
    restored = run("restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "back"))
    assert restored.returncode == 0, restored.stderr
    assert "rebuilt" in restored.stdout
    with MemoryEngine.open(tmp_path / "back") as engine:
        for name in ("w0", "w1"):
            said = [m.text for m in engine.history.messages(name, Page(limit=1000, ascending=True))[0]]
            assert said == [f"{name} {number} {part}" for number in range(len(said) // 3) for part in range(3)]
        assert all(finding.healthy for finding in engine.examine())


@pytest.mark.parametrize("harm", ["cut off", "a byte", "no manifest", "rows", "nothing"])
def test_a_damaged_backup_changes_nothing(kept: Path, tmp_path: Path, harm: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copy(kept / "backup", damaged)
    _harm(damaged, harm)
    put(kept / "backup", _in(tmp_path / "data"))
    before = rows(_in(tmp_path / "data"))
    with pytest.raises(BackupDamaged):
        put(damaged, _in(tmp_path / "data"), replace=True)
    assert rows(_in(tmp_path / "data")) == before


def _harm(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    if harm == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "a byte":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    elif harm == "nothing":
        path.unlink()
    else:
        with zipfile.ZipFile(path) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        if harm == "rows":
            held["tables/chat_messages.jsonl"] = held["tables/chat_messages.jsonl"].replace(b"launch", b"lunch")
        else:
            del held["manifest.json"]
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in held.items():
                archive.writestr(name, value)


def test_a_store_in_use_or_not_empty_is_left_alone(kept: Path, tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
        with pytest.raises(ServiceError, match="there already"):
            backups.write(kept / "backup", engine.backup(), no_progress)
        with pytest.raises(StoreInUse):
            backups.restore(
                load_settings(data_dir=tmp_path / "data"), kept / "backup", replace=True, progress=no_progress
            )
    with pytest.raises(StoreNotEmpty):
        put(kept / "backup", _in(tmp_path / "data"))
    assert run(
        "restore", str(kept / "backup"), "--replace", "--data-dir", str(tmp_path / "data"), given="n\n"
    ).returncode
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert engine.stats().messages == 1
    put(kept / "backup", _in(tmp_path / "data"), replace=True)
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert engine.stats().messages > 200
        assert engine.recall("harbour opens at nine", min_score=0.9) == []


@pytest.mark.postgresql
def test_a_postgresql_database_in_use_is_left_alone(kept: Path, postgres_server: str) -> None:
    url = new_database(postgres_server)
    with closing(Database(url)) as other, other.read() as db:
        db.execute(text("SELECT 1"))
        with pytest.raises(StoreInUse):
            put(kept / "backup", url)


@pytest.mark.postgresql
def test_a_connection_that_is_just_ending_is_waited_for(postgres_server: str) -> None:
    url = new_database(postgres_server)
    leaving = psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string())
    ends = threading.Timer(0.3, leaving.close)
    ends.start()
    with closing(Database(url)) as alone, alone.read() as db:
        alone.refuse_company(db)
    ends.join()


def test_a_file_has_its_name_only_when_it_is_whole_and_is_its_owners_alone(kept: Path, tmp_path: Path) -> None:
    content = (kept / "backup").read_bytes()
    with pytest.raises(BackupDamaged):
        backups.write(tmp_path / "b", iter([content[:5_000], b"cut off"]), no_progress)
    assert list(tmp_path.iterdir()) == []
    backups.write(tmp_path / "b", iter([content]), no_progress)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("b", 0o600)]


def test_what_came_after_the_backup_is_not_told_as_lost_and_its_index_is_gone(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    said = [{"role": "user", "content": "The harbour opens at nine."}]
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", said)
        backups.write(tmp_path / "b", engine.backup(), no_progress)
        engine.remember("d", said)
        engine.remember("e", said, scope=Scope(user="ana"))
    before = rows(_in(tmp_path / "data"), of_settings=True)
    (tmp_path / "data" / "chroma").mkdir(exist_ok=True)
    (tmp_path / "data" / "chroma" / "of before").touch()
    backups.restore(settings, tmp_path / "b", replace=True, progress=no_progress)
    assert not (tmp_path / "data" / "chroma").exists()
    assert rows(_in(tmp_path / "data"), of_settings=True)["store_settings"] != before["store_settings"]
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert "history" not in engine.parts()
        assert engine.stats().messages == 1


def test_an_older_schema_is_brought_up_and_a_newer_one_refused(kept: Path, tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'old.sqlite3'}")) as old:
        with old.write_alone() as db:
            migrations.upgrade_within(db, "0002")
            db.execute(text("INSERT INTO namespaces VALUES (1, 'default', 1, 0)"))
            db.execute(
                text(
                    "INSERT INTO scopes (namespace_id, scope_id, user_name, last_seq, created_at, last_change)"
                    " VALUES (1, 1, '', 4, 0, 0)"
                )
            )
        (tmp_path / "old").write_bytes(b"".join(backup.stream(old, datetime(2026, 9, 30, tzinfo=UTC))))
    put(tmp_path / "old", _in(tmp_path / "data"))
    with closing(Database(_in(tmp_path / "data"))) as database:
        assert migrations.current(database) == migrations.HEAD
    with zipfile.ZipFile(kept / "backup") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    for newer in ({"schema": "9999"}, {"format": backup.FORMAT + 1}):
        with zipfile.ZipFile(tmp_path / "newer", "w") as archive:
            archive.writestr("manifest.json", json.dumps({**manifest, **newer}))
        with pytest.raises(SchemaMismatch):
            put(tmp_path / "newer", _in(tmp_path / "other"))


def _in(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return Database.url_in(folder)
