"""SQL of notes: every version of each, and the messages that it was made of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
)

from memory_engine.models import Note, ScopeKey, from_micros, random_id
from memory_engine.storage.messages import (
    ITS_THREAD,
    NOT_PRUNED,
    NOT_QUARANTINED,
    find_by_ids,
    in_lists,
    its_message,
    of_these,
)
from memory_engine.storage.schema import AssistantThread, ChatMessage, MessageQuote, NoteMessage, NoteRow


@dataclass(frozen=True, kw_only=True, slots=True)
class NewNote:
    """A note to be written."""

    name: str
    text: str
    agent: str | None
    by: str
    #: The places of the messages that it was made of; empty for what a person wrote.
    seqs: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Resting:
    """Versions of notes that rest on some messages."""

    versions: int
    #: By which kept prompts name them.
    note_ids: Sequence[str]
    #: Their texts, and the names of notes that have no other version.
    words: Sequence[str]


_OF_NOTE = (
    (NoteMessage.namespace_id == NoteRow.namespace_id)
    & (NoteMessage.scope_id == NoteRow.scope_id)
    & (NoteMessage.name == NoteRow.name)
    & (NoteMessage.version == NoteRow.version)
)
#: A message that it was made of is quarantined, or waits for its removal by a policy.
_HELD = (
    select(NoteMessage.seq)
    .join(ChatMessage, its_message(NoteMessage))
    .join(AssistantThread, ITS_THREAD)
    .where(_OF_NOTE, ~(NOT_QUARANTINED & NOT_PRUNED))
    .correlate(NoteRow)
    .exists()
)


def _newest() -> Select[*tuple[Any, ...]]:
    here = (NoteRow.namespace_id == bindparam("namespace_id"), NoteRow.scope_id == bindparam("scope_id"))
    version = select(NoteRow.name, func.max(NoteRow.version).label("version")).where(*here)
    last = version.group_by(NoteRow.name).subquery()
    joined = (NoteRow.name == last.c.name) & (NoteRow.version == last.c.version)
    columns = (*NoteRow.__table__.columns, _HELD.label("held"))
    return select(*columns).join(last, joined).where(*here).order_by(NoteRow.name)


# Asked in every turn, so built once.
_NEWEST = _newest()
# Asked by every erasure and every piece of a pruning.
_RESTING = exists().where(
    _OF_NOTE,
    NoteMessage.namespace_id == bindparam("of_namespace"),
    NoteMessage.scope_id == bindparam("of_scope"),
    NoteMessage.seq.in_(bindparam("seqs", expanding=True)),
)
_HERE = (NoteRow.namespace_id == bindparam("of_namespace")) & (NoteRow.scope_id == bindparam("of_scope"))
_RESTING_ON = select(NoteRow.name, NoteRow.version, NoteRow.note_id, NoteRow.content).where(_HERE, _RESTING)
_REMOVE = delete(NoteRow).where(_HERE, _RESTING)


def in_force(db: Connection, key: ScopeKey) -> list[Note]:
    """The newest version of each note that is not held, by name."""
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    found = [find(db, key, row.name, None) if row.held else _note(row) for row in db.execute(_NEWEST, here).all()]
    return [note for note in found if note is not None]


def names(db: Connection, key: ScopeKey) -> set[str]:
    """The names of all notes, held ones too."""
    return set(db.execute(select(NoteRow.name).where(*_in_scope(key)).distinct()).scalars())


def find(db: Connection, key: ScopeKey, name: str, version: int | None) -> Note | None:
    """A version of a note, the newest unless named; None where it is held, or there is none."""
    query = select(NoteRow).where(*_in_scope(key), NoteRow.name == name, ~_HELD)
    if version is not None:
        query = query.where(NoteRow.version == version)
    row = db.execute(query.order_by(NoteRow.version.desc()).limit(1)).first()
    return None if row is None else _note(row)


def write(db: Connection, key: ScopeKey, new: NewNote, now: int) -> Note:
    """Write the note's next version and return it; `now` in microseconds."""
    highest = select(func.max(NoteRow.version)).where(*_in_scope(key), NoteRow.name == new.name)
    note = Note(
        name=new.name,
        text=new.text,
        version=1 + (db.execute(highest).scalar() or 0),
        agent=new.agent,
        written_by=new.by,
        written_at=from_micros(now),
        note_id=random_id("note") if new.seqs else None,
    )
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "name": note.name, "version": note.version}
    row = {"agent": note.agent, "written_by": note.written_by, "written_at": now, "note_id": note.note_id}
    db.execute(insert(NoteRow).values(**place, **row, content=note.text))
    if new.seqs:
        db.execute(insert(NoteMessage), [{**place, "seq": seq} for seq in sorted(set(new.seqs))])
    return note


def let_quote(db: Connection, key: ScopeKey, message_id: str, seqs: Sequence[int]) -> None:
    """Note that a message repeats what rests on the messages at these places."""
    for quoting in _seqs(db, key, [message_id]).values():
        known = select(MessageQuote.quoted_id).where(
            MessageQuote.namespace_id == key.namespace_id,
            MessageQuote.scope_id == key.scope_id,
            MessageQuote.seq == quoting,
        )
        for some in in_lists([seq for seq in seqs if seq != quoting]):
            quoted = select(
                ChatMessage.namespace_id, ChatMessage.scope_id, ChatMessage.message_id, literal(quoting, BigInteger)
            ).where(
                ChatMessage.namespace_id == key.namespace_id,
                ChatMessage.scope_id == key.scope_id,
                ChatMessage.seq.in_(some),
                ChatMessage.message_id.not_in(known),
            )
            db.execute(insert(MessageQuote).from_select(["namespace_id", "scope_id", "quoted_id", "seq"], quoted))


def seqs_of_sources(db: Connection, key: ScopeKey, message_ids: Sequence[str]) -> dict[str, int]:
    """The places of these messages of the scope, and of those that they quote, by id."""
    found = _seqs(db, key, message_ids)
    quoted = select(MessageQuote.quoted_id).where(
        MessageQuote.namespace_id == key.namespace_id, MessageQuote.scope_id == key.scope_id
    )
    lists = [db.execute(quoted.where(MessageQuote.seq.in_(some))).scalars() for some in in_lists(list(found.values()))]
    return {**_seqs(db, key, sorted(set(chain.from_iterable(lists)))), **found}


def seqs_of_notes(db: Connection, key: ScopeKey, note_ids: Sequence[str]) -> dict[str, list[int]]:
    """The places of the messages that these versions of notes rest on, by note id."""
    found = dict[str, list[int]]()
    for some in in_lists(note_ids):
        query = select(NoteRow.note_id, NoteMessage.seq).join(NoteMessage, _OF_NOTE)
        for row in db.execute(query.where(*_in_scope(key), NoteRow.note_id.in_(some))):
            found.setdefault(str(row.note_id), []).append(row.seq)
    return found


def _seqs(db: Connection, key: ScopeKey, message_ids: Sequence[str]) -> dict[str, int]:
    found = find_by_ids(db, key.namespace_id, message_ids)
    return {name: message.seq for name, (owner, message) in found.items() if owner == key}


def resting_on(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> Resting:
    """What rests on these messages."""
    lists = [db.execute(_RESTING_ON, of_these(key, some)) for some in in_lists(seqs)]
    rows = {(row.name, row.version): row for row in chain.from_iterable(lists)}
    going = Counter(name for name, _ in rows)
    words = [row.content for row in rows.values()]
    for some in in_lists(sorted(going)):
        versions = select(NoteRow.name, func.count().label("versions")).where(*_in_scope(key), NoteRow.name.in_(some))
        counted = db.execute(versions.group_by(NoteRow.name))
        words += [row.name for row in counted if row.versions == going[row.name]]
    return Resting(
        versions=len(rows), note_ids=[row.note_id for row in rows.values() if row.note_id is not None], words=words
    )


def retract(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Remove the versions that rest on these messages; of a note the newest of those left is in force."""
    for some in in_lists(seqs):
        db.execute(_REMOVE, of_these(key, some))


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
        note_id=row.note_id,
    )
