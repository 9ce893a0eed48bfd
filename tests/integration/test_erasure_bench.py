"""The bench of erasures, in short: nothing that was erased is anywhere, and nothing else went."""

from pathlib import Path

from bench import erasure


def test_no_canary_is_left_beside_writers_and_readers(tmp_path: Path) -> None:
    report = erasure.run(tmp_path, canaries=12, writers=1, readers=1)
    assert (report.erased, report.leaks, report.in_files, report.in_tables) == (12, [], [], set())
    assert (report.pending, report.lost) == (0, 0)
    assert report.kept >= 6
    assert "| canaries erased | 12 |" in erasure.table(report)
