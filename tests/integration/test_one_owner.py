"""One process serves a PostgreSQL database; a second one is refused, and the first one is unharmed."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from memory_engine import MemoryEngine
from memory_engine.errors import StoreInUse
from memory_engine.storage import ownership
from memory_engine.storage.database import Database
from memory_engine.storage.migrations import HEAD
from tests.integration.test_second_process import assert_refused, remember, run
from tests.postgres import new_database
from tests.running_service import RunningService

pytestmark = pytest.mark.postgresql

_PATIENCE = 20


@pytest.fixture
def url(postgres_server: str) -> str:
    return new_database(postgres_server)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.fixture
def served(url: str, tmp_path: Path) -> Iterator[RunningService]:
    with RunningService(tmp_path / "data", MEMORY_ENGINE_DATABASE_URL=url, MEMORY_ENGINE_POOL_SIZE="16") as running:
        yield running


def test_a_second_process_on_the_database_is_refused_and_the_first_is_unharmed(
    served: RunningService, url: str, tmp_path: Path
) -> None:
    remember(served, "The harbour opens at nine.")
    elsewhere = {"MEMORY_ENGINE_DATABASE_URL": url, "MEMORY_ENGINE_DATA_DIR": str(tmp_path / "other")}
    for command in (["serve", "--port", "0"], ["recall", "harbour"], ["doctor"]):
        refused = run(*command, **elsewhere)
        assert_refused(refused)
        assert f"{make_url(url).database} on 127.0.0.1 is in use by another process" in refused.stderr
    with pytest.raises(StoreInUse):
        MemoryEngine.open(tmp_path / "third", database_url=url)
    remember(served, "The harbour closes at ten.")
    assert len(served.post("/v1/memory/recall", {"query": "harbour"}).json()["hits"]) == 2
    assert served.http.get("/ready").json()["parts"]["database"]["status"] == "ok"
    # What goes through the service, and what concerns the schema alone, goes on.
    there = {"MEMORY_ENGINE_DATABASE_URL": url, "MEMORY_ENGINE_DATA_DIR": str(served.data_dir)}
    assert "harbour opens" in run("recall", "harbour", **there).stdout
    assert run("doctor", **there).returncode == 0
    assert run("db", "current", **elsewhere).stdout == f"{HEAD}\n"
    assert run("db", "upgrade", **elsewhere).stdout.startswith(f"schema {HEAD}, nothing to do")


def test_a_database_is_free_after_its_owner_was_killed(served: RunningService, url: str, tmp_path: Path) -> None:
    remember(served, "The harbour opens at nine.")
    served.kill()
    with MemoryEngine.open(tmp_path / "other", database_url=url) as engine:
        assert len(engine.recall("harbour")) == 1


def test_of_four_that_open_a_database_at_once_one_gets_it(url: str, tmp_path: Path) -> None:
    def open_one(number: int) -> MemoryEngine | None:
        try:
            return MemoryEngine.open(tmp_path / str(number), database_url=url)
        except StoreInUse:
            return None

    with ThreadPoolExecutor(4) as pool:
        opened = [engine for engine in pool.map(open_one, range(4)) if engine is not None]
    (engine,) = opened
    engine.close()
    MemoryEngine.open(tmp_path / "again", database_url=url).close()


def _owner(admin: Any) -> int | None:
    query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = %s AND granted AND database = "
    row = admin.execute(
        query + "(SELECT oid FROM pg_database WHERE datname = current_database())", [ownership._PURPOSE]
    ).fetchone()
    return None if row is None else int(row[0])


def _until(came: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not came():
        assert time.monotonic() < end
        time.sleep(0.01)  # the server's tables can only be looked at


@pytest.fixture
def admin(url: str) -> Iterator[Any]:
    plain = make_url(url).set(drivername="postgresql").render_as_string()
    with psycopg.connect(plain, autocommit=True) as connection:
        yield connection


def test_a_dropped_connection_takes_the_database_again(url: str, tmp_path: Path, admin: Any) -> None:
    with MemoryEngine.open(tmp_path / "data", database_url=url) as engine:
        first = _owner(admin)
        admin.execute("SELECT pg_terminate_backend(%s)", [first])
        _until(lambda: _owner(admin) not in (None, first))
        with pytest.raises(StoreInUse):
            MemoryEngine.open(tmp_path / "other", database_url=url)
        engine.remember("c", [user("The harbour opens at nine.")])
    assert _owner(admin) is None


def test_an_owner_whose_database_was_taken_writes_no_more_until_it_is_free(
    url: str, tmp_path: Path, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, taken = threading.Event(), threading.Event()
    connected = ownership.Ownership._connected

    def connect_late(mine: ownership.Ownership) -> Any:
        if cut.is_set() and threading.current_thread().name == "ownership":
            assert taken.wait(_PATIENCE)
        return connected(mine)

    monkeypatch.setattr(ownership.Ownership, "_connected", connect_late)
    with MemoryEngine.open(tmp_path / "data", database_url=url) as engine:
        cut.set()
        admin.execute("SELECT pg_terminate_backend(%s)", [_owner(admin)])
        _until(lambda: _owner(admin) is None)
        with closing(Database(url)) as other:
            other.own()
            taken.set()
            _until(lambda: engine.database._ownership is not None and engine.database._ownership._lost.is_set())
            with pytest.raises(StoreInUse):
                engine.remember("c", [user("The harbour opens at nine.")])
            database = engine.parts()["database"]
            assert not database.ok
            assert not database.serves
        _until(lambda: engine.parts()["database"].ok)
        engine.remember("c", [user("The harbour opens at nine.")])
