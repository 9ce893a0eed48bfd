"""A loss that SQLite does not notice, the end of its log being gone, is noticed and named."""

import shutil
from pathlib import Path

from memory_engine import MemoryEngine, Scope
from tests.integration.test_second_process import remember, run
from tests.running_service import RunningService


def _copied(data: Path, to: Path) -> Path:
    """The store as it is without its write-ahead log, while it is open."""
    shutil.copytree(data, to, ignore=shutil.ignore_patterns("*-wal", "*-shm", "*.lock"))
    return to


def _say(engine: MemoryEngine, count: int) -> list[str]:
    said = [{"role": "user", "content": f"The harbour opens at {n}."} for n in range(count)]
    return list(engine.remember("c", said).message_ids)


def test_a_log_that_is_cut_off_is_told_everywhere_until_it_is_acknowledged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RunningService(data) as first:
        remember(first, "The harbour opens at nine.")
    service = RunningService(data)
    for hour in range(7):
        remember(service, f"The harbour closes at {hour}.")
    service.kill()
    log = data / "memory.sqlite3-wal"
    log.write_bytes(b"")
    with RunningService(data) as again:
        parts = again.http.get("/ready").json()["parts"]
        assert parts["history"]["status"] == "degraded"
        assert parts["history"]["detail"].startswith("7 messages acknowledged between 20")
        remember(again, "The harbour is closed.")
        told = run("doctor", "--data-dir", str(data))
        assert told.returncode == 1
        assert "!!  history: 7 messages acknowledged between" in told.stdout
        assert "cannot be made anew" in told.stdout
    with RunningService(data) as later:
        assert "history" in later.http.get("/ready").json()["parts"], "it is told until somebody takes note of it"
        findings = later.post("/v1/memory/doctor?repair=true", None).json()["findings"]
        assert all(finding["healthy"] for finding in findings)
        assert "history" not in later.http.get("/ready").json()["parts"]
        assert later.http.get("/v1/memory/stats").json()["messages"] == 2


def test_nothing_is_told_where_nothing_is_lost(tmp_path: Path) -> None:
    for _ in range(3):
        with MemoryEngine.open(tmp_path / "data") as engine:
            assert "history" not in engine.parts()
            ids = _say(engine, 2)
            engine.edit(ids[0], {"content": "The harbour never opens."})
            engine.erase(message_ids=ids)
            gone = Scope(user="ana")
            engine.remember("hers", [{"role": "user", "content": "The harbour is mine."}], scope=gone)
            engine.forgetting.prove(engine.forgetting.user(gone).receipt_id)
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert engine.database.high_water is not None
        assert engine.database.high_water.lost is None


def test_lost_edits_are_counted_apart(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        kept = _say(engine, 3)
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.edit(kept[0], {"content": "The harbour never opens."})
        _say(engine, 4)
        copy = _copied(tmp_path / "data", tmp_path / "copy")
    with MemoryEngine.open(copy) as engine:
        assert engine.parts()["history"].detail.startswith("4 messages and 1 edits or erasures acknowledged between")


def test_a_mark_that_was_torn_or_removed_does_no_harm(tmp_path: Path) -> None:
    mark = tmp_path / "data" / "memory.sqlite3.mark"
    with MemoryEngine.open(tmp_path / "data") as engine:
        _say(engine, 3)
    mark.write_bytes(b"\xff" + mark.read_bytes()[1:] + b"no line")
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert "history" not in engine.parts()
        _say(engine, 3)
    mark.unlink()
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert "history" not in engine.parts()
        assert engine.stats().messages == 6


def test_the_ring_goes_round(tmp_path: Path) -> None:
    from memory_engine.models import ScopeKey
    from memory_engine.storage.high_water import HighWater, Taken

    key, mark = ScopeKey(1, 1), HighWater(tmp_path / "db")
    for number in range(1, 5001):
        taken = Taken()
        taken.note(key, last_seq=number, messages=1)
        mark.note(taken)
    mark.close()
    assert (tmp_path / "db.mark").stat().st_size < 500_000
    again = HighWater(tmp_path / "db")
    assert again.compare({key: (5000, 0)}) is None
    lost = again.compare({key: (4990, 0)})
    assert lost is not None
    assert lost.messages == 10
    again.close()


def test_a_loss_that_follows_another_is_added_to_it(tmp_path: Path) -> None:
    from memory_engine.models import ScopeKey
    from memory_engine.storage.high_water import HighWater, Taken

    key = ScopeKey(1, 1)
    for found in (2, 5):  # messages that are gone by then, in all
        mark, taken = HighWater(tmp_path / "db"), Taken()
        mark.compare({key: (0, 0)})
        taken.note(key, last_seq=9, messages=found if found == 2 else 3)
        mark.note(taken)
        mark.close()
        mark = HighWater(tmp_path / "db")
        lost = mark.compare({key: (0, 0)})
        assert lost is not None
        assert lost.messages == found
    mark.acknowledge()
    assert HighWater(tmp_path / "db").compare({key: (0, 0)}) is None
