"""Fixtures: stores on both databases, the service over HTTP, a scripted model."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_engine import MemoryEngine
from tests.fakes import FixedClock, ScriptedModel
from tests.postgres import cluster, new_database, postgres_binaries
from tests.running_service import RunningService, clean_environment

SHARED = Path(__file__).parents[1].parent / "shared"
_TESTS = Path(__file__).parent
#: Slow files come first, so that of two processes neither waits long for the other's last one.
_ORDER = ("integration", "browser", "contract", "http", "architecture", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders in order."""
    items.sort(key=lambda item: _ORDER.index(item.path.relative_to(_TESTS).parts[0]))


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    binaries = postgres_binaries()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, and in CI its tests must not be skipped")
        pytest.skip("PostgreSQL is not installed")
    with cluster(binaries) as url:
        yield url


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir(exist_ok=True)
        return f"sqlite:///{tmp_path / 'data' / 'memory.sqlite3'}"
    return new_database(request.getfixturevalue("postgres_server"))


def _pruned_by_the_test_alone(opened: MemoryEngine) -> MemoryEngine:
    """The engine without its daily pruning, which a moved clock would have happen in the middle of anything."""
    opened._parts.pruning.stop()
    return opened


@pytest.fixture
def engine_on_both(database_url: str, tmp_path: Path, clock: FixedClock) -> Iterator[MemoryEngine]:
    with MemoryEngine.open(tmp_path / "data", database_url=database_url, clock=clock) as opened:
        yield _pruned_by_the_test_alone(opened)


@pytest.fixture
def engine(tmp_path: Path, clock: FixedClock) -> Iterator[MemoryEngine]:
    with MemoryEngine.open(tmp_path / "data", clock=clock) as opened:
        yield _pruned_by_the_test_alone(opened)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    with RunningService(tmp_path / "data") as running:
        yield running


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    server = ScriptedModel()
    yield server
    server.close()
