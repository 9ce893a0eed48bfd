"""The check of links: the messages that show one stand in the conversations that it joins."""

from typing import Any

from memory_engine.doctor.finding import REPAIR, Finding
from memory_engine.doctor.rules import PIECE
from memory_engine.models import ScopeKey
from memory_engine.ports import Progress
from memory_engine.storage import invariants
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.links import is_whole, places_of

_BATCH = 500


def evidence(database: Database, repair: bool, progress: Progress) -> Finding:
    """Look at every link's pairs of places."""
    wrong: list[Any] = []
    after = (-1, "")
    while True:
        with database.read() as db:
            rows = invariants.links_after(db, after, _BATCH)
            wrong += [row for row in rows if not _holds(db, row)]
        if not rows:
            break
        progress("checking links", len(rows))
        after = (rows[-1].namespace_id, rows[-1].link_id)
    for start in range(0, len(wrong) if repair else 0, PIECE):
        with database.write() as db:
            for row in wrong[start : start + PIECE]:
                invariants.redo_link(db, row)
    detail = (
        f"{len(wrong):,} links are damaged, or shown by messages that are not there"
        if wrong
        else "every link has its evidence"
    )
    advice = REPAIR if wrong else ""
    return Finding(
        check="links", problems=len(wrong), detail=detail, repaired=len(wrong) if repair else 0, advice=advice
    )


def _holds(db: Transaction, row: Any) -> bool:
    if not is_whole(row):
        return False
    pairs = places_of(row)
    found = invariants.threads_of(db, ScopeKey(row.namespace_id, row.scope_id), [seq for pair in pairs for seq in pair])
    return all(found.get(a) == row.source_id and found.get(b) == row.target_id for a, b in pairs)
