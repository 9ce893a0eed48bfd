"""Checks of rows against rules, and their mending in small transactions, so that writers hardly wait."""

from collections.abc import Iterable

from memory_engine.doctor.finding import Finding
from memory_engine.ports import Progress
from memory_engine.storage import invariants
from memory_engine.storage.database import Database
from memory_engine.storage.invariants import Rule

#: Rows that one transaction mends: some milliseconds' work.
PIECE = 50
#: Rows that are looked for at once.
_ROUND = 10_000


def examine(database: Database, rules: Iterable[Rule], *, now: int, repair: bool, progress: Progress) -> list[Finding]:
    """Check every rule, one finding each; `now` in microseconds.

    Raises:
        StoreError: the store does not answer; what was mended stays so.
    """
    return [_examine(database, rule, now, repair, progress) for rule in rules]


def _examine(database: Database, rule: Rule, now: int, repair: bool, progress: Progress) -> Finding:
    with database.read() as db:
        problems = left = invariants.count(db, rule)
    progress(f"checking {rule.name}", 1)
    while repair and left and rule.mend is not None:
        # Found outside of the transaction that mends: looking through a table takes longer than a writer may wait.
        with database.read() as db:
            rows = invariants.breaking(db, rule, _ROUND)
        for start in range(0, len(rows), PIECE):
            with database.write() as db:
                rule.mend(db, rows[start : start + PIECE], now)
            progress(f"mending {rule.name}", PIECE)
        with database.read() as db:
            before, left = left, invariants.count(db, rule)
        if left >= before:
            break  # it cannot be mended, or writers break it as fast
    detail = f"{problems:,} {rule.wrong}" if problems else rule.holds
    advice = rule.advice if problems else ""
    return Finding(check=rule.name, problems=problems, detail=detail, repaired=problems - left, advice=advice)
