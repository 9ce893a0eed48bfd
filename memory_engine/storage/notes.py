"""SQL of notes: every version of each, the highest in force."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, func, insert, select

from memory_engine.models import Note, ScopeKey, from_micros
from memory_engine.storage.schema import NoteRow


@dataclass(frozen=True, kw_only=True, slots=True)
class NewNote:
    """A note to be written."""

    name: str
    text: str
    agent: str | None
    by: str


def _newest() -> Select[*tuple[Any, ...]]:
    here = (NoteRow.namespace_id == bindparam("namespace_id"), NoteRow.scope_id == bindparam("scope_id"))
    version = select(NoteRow.name, func.max(NoteRow.version).label("version")).where(*here)
    last = version.group_by(NoteRow.name).subquery()
    joined = (NoteRow.name == last.c.name) & (NoteRow.version == last.c.version)
    return select(*NoteRow.__table__.columns).join(last, joined).where(*here).order_by(NoteRow.name)


# Asked in every turn, so built once.
_IN_FORCE = _newest()


def in_force(db: Connection, key: ScopeKey) -> list[Note]:
    """The newest version of each note, by name."""
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    return [_note(row) for row in db.execute(_IN_FORCE, here)]


def find(db: Connection, key: ScopeKey, name: str, version: int | None) -> Note | None:
    """A version of a note, the newest unless named."""
    query = select(NoteRow).where(*_in_scope(key), NoteRow.name == name)
    if version is not None:
        query = query.where(NoteRow.version == version)
    row = db.execute(query.order_by(NoteRow.version.desc()).limit(1)).first()
    return None if row is None else _note(row)


def write(db: Connection, key: ScopeKey, new: NewNote, now: int) -> None:
    """Write the note's next version; `now` in microseconds."""
    before = find(db, key, new.name, None)
    row = {
        "name": new.name,
        "version": 1 if before is None else before.version + 1,
        "agent": new.agent,
        "written_by": new.by,
        "written_at": now,
        "content": new.text,
    }
    db.execute(insert(NoteRow).values(namespace_id=key.namespace_id, scope_id=key.scope_id, **row))


def remove(db: Connection, key: ScopeKey, name: str) -> bool:
    """Delete every version of a note; False when there is none."""
    return db.execute(delete(NoteRow).where(*_in_scope(key), NoteRow.name == name)).rowcount > 0


def _in_scope(key: ScopeKey) -> tuple[ColumnElement[bool], ...]:
    return (NoteRow.namespace_id == key.namespace_id, NoteRow.scope_id == key.scope_id)


def _note(row: Any) -> Note:
    return Note(
        name=row.name,
        text=row.content,
        version=row.version,
        agent=row.agent,
        written_by=row.written_by,
        written_at=from_micros(row.written_at),
    )
