"""What fails under the service: nothing acknowledged is lost, the message is clear, and doctor brings the rest back."""

import random
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from memory_engine import MemoryEngine, Page
from memory_engine.errors import StoreUnavailable
from tests import samples
from tests.fakes import FixedClock
from tests.operations import Client, killed_after
from tests.postgres import new_database, postgres_binaries, running_cluster
from tests.running_service import RunningService

_KILLS = 3


def say(engine: MemoryEngine, number: int) -> None:
    engine.remember("c", [{"role": "user", "content": f"The harbour opens at {number}. " + "x" * 2000}])


def say_all(engine: MemoryEngine, numbers: range) -> None:
    for number in numbers:
        say(engine, number)


def said(engine: MemoryEngine) -> list[int]:
    rows = engine.history.messages("c", Page(limit=1000, ascending=True))[0]
    return [int(row.text.split(".")[0].rpartition(" ")[2]) for row in rows]


def assert_sound(engine: MemoryEngine) -> None:
    assert [finding for finding in engine.examine(repair=True) if not finding.healthy] == []
    assert [finding for finding in engine.examine() if finding.problems] == []


@contextmanager
def pragma(engine: MemoryEngine, name: str, value: object, after: object) -> Iterator[None]:
    """Set it on the connection that writes, of which there is one."""
    with closing(engine.database._writer.raw_connection()) as connection:
        connection.cursor().execute(f"PRAGMA {name}={value}")
    yield
    with closing(engine.database._writer.raw_connection()) as connection:
        connection.cursor().execute(f"PRAGMA {name}={after}")


def test_the_service_is_killed_at_random_moments_over_all_operations(tmp_path: Path) -> None:
    chance = random.Random(6)
    clients = [Client(name=f"client{n}", chance=random.Random(n)) for n in range(3)]
    for _ in range(_KILLS):
        service = RunningService(tmp_path / "data", MEMORY_ENGINE_INDEX_THRESHOLD="20")
        for client in clients:
            client.check(service)
        killed_after(service, clients, chance.randint(1, 12), chance.uniform(0, 0.05))
    with RunningService(tmp_path / "data", MEMORY_ENGINE_INDEX_THRESHOLD="20") as service:
        for client in clients:
            client.check(service)
        assert "history" not in service.http.get("/ready").json()["parts"]
        findings = service.post("/v1/memory/doctor?repair=true", None).json()["findings"]
        assert [finding for finding in findings if not finding["healthy"]] == []
        findings = service.post("/v1/memory/doctor", None).json()["findings"]
        assert [finding for finding in findings if finding["problems"]] == []


@pytest.mark.parametrize(
    ("name", "value", "after", "told"),
    [("max_page_count", 1, 2**30, "full"), ("query_only", "ON", "OFF", "readonly")],
    ids=["disk full", "read-only"],
)
def test_what_cannot_be_written_is_refused_and_the_rest_stands(
    tmp_path: Path, name: str, value: object, after: object, told: str
) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine._parts.stop_background()
        for number in range(5):
            say(engine, number)
        with pragma(engine, name, value, after):
            with pytest.raises(StoreUnavailable, match=told):
                say_all(engine, range(5, 50))  # some fit into the pages that are free
            kept = said(engine)
            assert kept == list(range(len(kept)))
            assert engine.recall("harbour opens", k=50)
            assert [finding for finding in engine.examine() if finding.problems] == []
        say(engine, len(kept))
        assert said(engine) == list(range(len(kept) + 1))
        assert_sound(engine)
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert "history" not in engine.parts()


def _overwrite(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            size = path.stat().st_size
            path.write_bytes(random.Random(size).randbytes(size))


def _overwrite_vectors(folder: Path) -> None:
    for path in folder.glob("*/*.bin"):
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))


def _remove_some(folder: Path) -> None:
    for path in folder.glob("*/*.bin"):
        path.unlink()


def _remove_database(folder: Path) -> None:
    (folder / "chroma.sqlite3").unlink()


@pytest.mark.parametrize("harm", [_overwrite, _overwrite_vectors, _remove_some, _remove_database, shutil.rmtree])
def test_a_corrupted_chroma_folder_costs_no_answer_and_is_made_anew(
    tmp_path: Path, indexed: Path, harm: object
) -> None:
    shutil.copytree(indexed, tmp_path / "data", ignore=shutil.ignore_patterns("*.lock"))
    harm(tmp_path / "data" / "chroma")  # type: ignore[operator]
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        engine.remember("late", [{"role": "user", "content": "The zeppelin lands at noon."}])
        assert engine.recall("When does the zeppelin land?")
        assert engine.recall("launch")
        assert_sound(engine)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("indexed") / "data"
    with MemoryEngine.open(data, index_threshold=100) as engine:
        samples.load(engine)
        engine.examine(repair=True)
    assert (data / "chroma" / "chroma.sqlite3").exists()
    return data


def test_a_clock_that_jumps_backwards_changes_no_order(tmp_path: Path, clock: FixedClock) -> None:
    with MemoryEngine.open(tmp_path / "data", clock=clock) as engine:
        for number in range(6):
            say(engine, number)
            clock.advance(days=-1)
        assert said(engine) == list(range(6))
        assert len(engine.recall("harbour opens", k=50)) == 6
        ids = [row.message_id for row in engine.history.messages("c", Page(limit=10, ascending=True))[0]]
        engine.edit(ids[0], {"content": "The harbour never opens at 0. " + "x"})
        engine.consolidate()
        assert_sound(engine)
    with MemoryEngine.open(tmp_path / "data", clock=clock) as engine:
        assert "history" not in engine.parts()


@pytest.mark.postgresql
def test_postgresql_restarts_in_the_middle(tmp_path: Path) -> None:
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    told, acknowledged = [], []
    with (
        running_cluster(binaries) as server,
        MemoryEngine.open(tmp_path / "data", database_url=new_database(server.url)) as engine,
    ):
        for number in range(20):
            if number in (7, 13):
                server.restart()
            try:
                say(engine, number)
                acknowledged.append(number)
            except StoreUnavailable as exc:
                told.append(exc.message)
        assert set(acknowledged) <= set(said(engine)) <= set(range(20))
        assert_sound(engine)
    assert len(acknowledged) >= 18
    assert not [message for message in told if "\n" in message]
