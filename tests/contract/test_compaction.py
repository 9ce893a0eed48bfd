"""Compaction: what was deleted gives its room back to the disk, beside writers and readers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine
from memory_engine.errors import StoreUnavailable
from memory_engine.retention import Policy, Rule
from memory_engine.storage.database import Database

MANY = 3_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with a table of which nearly everything was deleted."""
    with closing(Database(f"sqlite:///{tmp_path / 'memory.sqlite3'}")) as opened:
        with opened.write() as db:
            db.execute(text("CREATE TABLE line (number INTEGER PRIMARY KEY, words TEXT)"))
            db.execute(text("INSERT INTO line (words) VALUES (:words)"), [{"words": "zeppelin " * 100}] * MANY)
        with opened.write() as db:
            db.execute(text("DELETE FROM line WHERE number > 1"))
        yield opened


def size(database: Database) -> int:
    return sum(path.stat().st_size for path in database.files)


def lines(database: Database) -> int:
    with database.read() as db:
        return int(db.execute(text("SELECT count(*) FROM line")).scalar_one())


def test_the_file_becomes_as_small_as_what_is_left(database: Database) -> None:
    assert size(database) > MANY * 900
    database.compact(threading.Event())
    assert size(database) < 100_000
    assert lines(database) == 1


def test_writers_and_readers_go_on_meanwhile(database: Database) -> None:
    def write(_: int) -> None:
        with database.write() as db:
            db.execute(text("INSERT INTO line (words) VALUES ('submarine') RETURNING number")).scalar_one()

    with ThreadPoolExecutor(6) as pool:
        compacting = pool.submit(lambda: [database.compact(threading.Event()) for _ in range(20)])
        written = [pool.submit(write, number) for number in range(400)]
        read = [pool.submit(lines, database) for _ in range(200)]
        compacting.result()
        assert all(each.result() is None for each in written)
        assert sorted(each.result() for each in read)[-1] <= 401
    assert lines(database) == 401


class AtOnce:
    """The writers' lock, whose next owner begins the moment it is let go."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._written = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._written:
            self._written = True
            with self._database.write() as db:
                db.execute(text("INSERT INTO line (words) VALUES ('submarine')"))


def test_the_next_writer_finds_nothing_half_done(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_writers", AtOnce(database))
    database.compact(threading.Event())
    assert lines(database) == 2


def test_a_reader_that_stays_is_told_of_and_stops_no_writer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory_engine.storage.database._BUSY_TIMEOUT_MS", 100)
    with database.read() as db:
        db.execute(text("SELECT * FROM line")).all()
        with database.write() as other:
            other.execute(text("INSERT INTO line (words) VALUES ('submarine')"))
        with pytest.raises(StoreUnavailable, match="while somebody reads"):
            database.compact(threading.Event())
    assert lines(database) == 2
    database.compact(threading.Event())


def test_a_pruning_that_removes_gives_room_back(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path) as engine:
        for conversation in range(5):
            said = [{"role": "user", "content": f"{number} " + "zeppelin " * 50} for number in range(100)]
            engine.remember(f"c{conversation}", said)
        engine.consolidate()
        everything = Policy(rules=(Rule(stratum="messages", keep_newest=1),), restorable_days=0)
        before = size(engine.database)
        engine.pruner.prune("default", everything)
        assert engine.stats().messages > 1  # marked now, and gone with the next
        engine.pruner.prune("default", everything)
        engine.database.compact(threading.Event())  # the log
        assert engine.stats().messages == 1
        assert size(engine.database) < before / 2
