"""Whatever is derived can be lost and is rebuilt, and no answer changes."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine
from tests import samples


def lose_everything_derived(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "chroma", ignore_errors=True)
    with MemoryEngine.open(data_dir) as engine, engine.database.write() as db:
        db.execute(text("DELETE FROM message_terms"))
        db.execute(text("DELETE FROM message_embeddings"))
        db.execute(text("DELETE FROM outbox"))


def problems(engine: MemoryEngine) -> int:
    return sum(finding.problems for finding in engine.examine())


def test_a_rebuild_changes_no_answer_on_the_exact_path(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        samples.load(engine)
        before = samples.answers(engine)
        assert problems(engine) == 0
    lose_everything_derived(tmp_path / "data")
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert engine.recall("launch") == []
        assert problems(engine) > 250, "without --repair it is counted and left"
        assert problems(engine) > 250
        assert all(finding.healthy for finding in engine.examine(repair=True))
        assert samples.answers(engine) == before
        assert problems(engine) == 0


def test_a_rebuild_through_chroma_finds_what_the_exact_path_finds(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "exact") as engine:
        samples.load(engine)
        exact = samples.ids(samples.answers(engine))
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        samples.load(engine)
        engine.examine(repair=True)
        assert samples.overlap(samples.ids(samples.answers(engine)), exact) >= 0.98
    lose_everything_derived(tmp_path / "data")
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        assert all(finding.healthy for finding in engine.examine(repair=True))
        assert (tmp_path / "data" / "chroma").exists()
        assert samples.overlap(samples.ids(samples.answers(engine)), exact) >= 0.98
        assert problems(engine) == 0


@pytest.mark.parametrize("broken", ["missing", "damaged"])
def test_recall_goes_on_by_sql_when_chroma_is_lost(tmp_path: Path, broken: str) -> None:
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        samples.load(engine)
        engine.examine(repair=True)
        before = samples.ids(samples.answers(engine))
    shutil.rmtree(tmp_path / "data" / "chroma")
    if broken == "damaged":
        (tmp_path / "data" / "chroma").write_text("not a folder")
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        assert samples.overlap(samples.ids(samples.answers(engine)), before) >= 0.98


def test_acknowledged_is_recalled_before_the_index_has_it(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        samples.load(engine)
        engine.examine(repair=True)
        engine._parts.stop_background()  # from here on nothing reaches the index
        for number in range(5):
            kept = engine.remember("late", [{"role": "user", "content": f"The zeppelin {number} lands at noon."}])
            assert kept.message_ids[0] in {hit.message_id for hit in engine.recall("When does the zeppelin land?")}
