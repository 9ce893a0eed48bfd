"""Checks of the store as a whole: its file, its schema, its spaces, room on the disk, and what was lost."""

import os
import shutil

from memory_engine.doctor.finding import REPAIR, Finding
from memory_engine.doctor.rules import PIECE
from memory_engine.generation import Generation
from memory_engine.storage import embeddings, invariants, migrations
from memory_engine.storage.database import Database

#: Free bytes under which a disk is full soon, whatever the database's size, and the share of that size.
_ROOM_BYTES, _ROOM_SHARE = 64 * 1024 * 1024, 0.2
_RESTORE = "Stop the service, keep the folder, and bring the last backup back with `memory-engine restore`."


def file(database: Database) -> Finding:
    """The database's own check of its file."""
    problems = database.integrity_problems()
    detail = "; ".join(problems[:3]) or "the database file is sound"
    return Finding(check="database", problems=len(problems), detail=detail, advice=_RESTORE if problems else "")


def schema(database: Database) -> Finding:
    """The tables are those that this program works with."""
    found = migrations.current(database)
    if found == migrations.HEAD:
        return Finding(check="schema", problems=0, detail=f"schema {found}")
    detail = f"the database has schema {found}, this program works with {migrations.HEAD}"
    return Finding(check="schema", problems=1, detail=detail, advice="Start the version of the program that wrote it.")


def room(database: Database) -> Finding:
    """The disk has room for the database to grow."""
    if database.file is None:
        return Finding(check="room", problems=0, detail="the database's server sees to its disk")
    held = sum(p.stat().st_size for p in database.file.parent.glob(database.file.name + "*"))
    free = shutil.disk_usage(database.file.parent).free
    tight = free < max(_ROOM_BYTES, _ROOM_SHARE * held)
    detail = f"{_megabytes(free)} free beside a database of {_megabytes(held)}"
    advice = "Make room: a full disk refuses new messages, and loses none." if tight else ""
    return Finding(check="room", problems=int(tight), detail=detail, advice=advice)


def writable(database: Database) -> Finding:
    """New messages can be kept."""
    if database.file is None or (os.access(database.file, os.W_OK) and os.access(database.file.parent, os.W_OK)):
        return Finding(check="writable", problems=0, detail="the database can be written to")
    detail = f"{database.file} or its folder cannot be written to"
    return Finding(check="writable", problems=1, detail=detail, advice="Give the service's user the right to write.")


def spaces(generation: Generation) -> Finding:
    """Vectors of one space serve; those of others wait for a way back."""
    with generation.database.read() as db:
        others = embeddings.other_spaces(db, generation.space_id)
    detail = f"also has vectors of {', '.join(others)}" if others else "all vectors are of one space"
    return Finding(check="spaces", problems=0, detail=detail)


def losses(database: Database, repair: bool) -> Finding:
    """Nothing that was acknowledged is missing, as far as the mark beside the database tells."""
    if database.high_water is None:
        return Finding(check="history", problems=0, detail="PostgreSQL keeps its own log")
    if (lost := database.high_water.lost) is None:
        return Finding(check="history", problems=0, detail="nothing that was acknowledged is missing")
    if repair:
        database.high_water.acknowledge()
    advice = "They cannot be made anew: see whether a backup has them. `--repair` only takes note of the loss."
    problems = max(1, lost.messages + lost.edits)
    repaired = problems if repair else 0
    return Finding(check="history", problems=problems, detail=str(lost), repaired=repaired, advice=advice)


def references(database: Database, repair: bool) -> Finding:
    """No row refers to one that is not there."""
    with database.read() as db:
        found = invariants.dangling(db)
    removed = 0
    for start in range(0, len(found) if repair else 0, PIECE):
        with database.write() as db:
            removed += invariants.remove_dangling(db, found[start : start + PIECE])
    tables = ", ".join(sorted({table for table, _ in found}))
    detail = (
        f"{len(found):,} rows of {tables} refer to rows that are gone" if found else "every reference leads somewhere"
    )
    advice = REPAIR if found else ""
    return Finding(check="references", problems=len(found), detail=detail, repaired=removed, advice=advice)


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"
