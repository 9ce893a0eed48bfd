"""The pruning bench in short: what it promises holds at 2,000 messages."""

from pathlib import Path

from bench.prune import Standing, build, measure
from memory_engine import MemoryEngine


def test_a_pruning_beside_writers_agrees_with_its_dry_run_and_is_taken_back_whole(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data", clock=Standing()) as engine:
        build(engine, 2_000)
        result = measure(engine, 2_000, seconds=0.5)
    assert result.agrees
    assert 900 <= result.marked <= 1_100
    assert result.same_answers == 50
