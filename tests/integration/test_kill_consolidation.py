"""A consolidation that was killed goes on where it was, and makes nothing twice."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine, Page, Scope
from tests import samples
from tests.running_service import clean_environment

_WORK = """
import sys
from memory_engine import MemoryEngine
from tests import samples

with MemoryEngine.open(sys.argv[1]) as engine:
    samples.load(engine)
    print("go", flush=True)
    engine.consolidate()
    print("done", flush=True)
"""

Made = tuple[list[tuple[str, str, int]], set[tuple[str, str, str]], set[tuple[str, str]]]


def made(engine: MemoryEngine) -> Made:
    """What stands above the words: summaries, links and patterns, without their random ids."""
    rows, _ = engine.history.conversations(Page(limit=100))
    summaries = [
        (row.conversation_id, summary.level, summary.first_seq)
        for row in rows
        for summary in engine.history.summaries(row.conversation_id)
    ]
    links = {
        (min(link.source, link.target), max(link.source, link.target), link.kind)
        for row in rows
        for link in engine.links.of(Scope(), row.conversation_id)
        if link.kind == "reference"
    }
    patterns = {(pattern.kind, pattern.slot) for pattern in engine.patterns.of(Scope(), everything=True)}
    return sorted(summaries), links, patterns


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What stands above the words where nothing was killed."""
    with MemoryEngine.open(tmp_path_factory.mktemp("whole")) as engine:
        engine._parts.stop_background()
        samples.load(engine)
        engine.consolidate()
        return made(engine)


@pytest.mark.parametrize("seconds", [0.3, 1.2, 2.5])
def test_a_killed_consolidation_goes_on(tmp_path: Path, seconds: float, whole: Made) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, str(tmp_path / "killed")],
        env=clean_environment(), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait(30)
    process.stdout.close()
    with MemoryEngine.open(tmp_path / "killed") as engine:
        engine._parts.stop_background()
        engine.consolidate()
        assert made(engine) == whole
        with engine.database.read() as db:
            for table in ("consolidation_queue", "derivation_queue"):
                assert db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
