"""The soak bench, for a moment: it serves, everybody acts, and the table has its tenths."""

from pathlib import Path

from bench import soak


def test_the_soak_runs(tmp_path: Path) -> None:
    report = soak.run(tmp_path, seconds=3, people=2, keeps=2)
    assert report.failed == []
    assert report.requests > 0
    assert sum(len(samples) for samples in report.samples) >= 3
    assert len(soak.table(report).splitlines()) == 14
