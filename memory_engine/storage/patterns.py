"""SQL of patterns, and of the messages that show them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from memory_engine.models import Message, Pattern, PatternEvidence, ScopeKey, from_micros, random_id
from memory_engine.storage import derivation_queue
from memory_engine.storage.database import readable_rows
from memory_engine.storage.messages import by_seqs, in_lists, its_message
from memory_engine.storage.odd_values import mapping, number
from memory_engine.storage.schema import ChatMessage, PatternMessage, PatternRow

#: Messages that are shown of one pattern, the newest of them.
_SHOWN = 20
#: Patterns of one answer.
_MOST = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A span of a message that shows a pattern."""

    kind: str
    slot: str
    #: What it says, where patterns of one slot exclude one another; else nothing.
    said: str
    detail: dict[str, Any]
    seq: int
    start: int
    end: int
    #: Microseconds.
    at: int
    #: The state of a pattern that it shows for the first time: learned, or proposed where a person must confirm it.
    state: str = "learned"


def write(db: Connection, key: ScopeKey, seen: Sequence[Sighting], made_by: str) -> None:
    """Add sightings to the patterns that they show; of what excludes one another the newest is in force.

    A pattern that waits for a person supersedes nothing.
    """
    for sighting in seen:
        of_slot = _of_slot(db, key, sighting.kind, sighting.slot)
        same = [row for row in of_slot if mapping(row.detail).get("said", "") == sighting.said]
        pattern_id = same[0].pattern_id if same else _insert(db, key, sighting, made_by)
        _add_message(db, key, pattern_id, sighting)
        if sighting.said:
            _settle(db, key, sighting.kind, sighting.slot)


def _of_slot(db: Connection, key: ScopeKey, kind: str, slot: str) -> list[Any]:
    here = (*_in_scope(key), PatternRow.kind == kind, PatternRow.slot == slot)
    return readable_rows(db, select(PatternRow).where(*here).order_by(PatternRow.last_at))


def _insert(db: Connection, key: ScopeKey, sighting: Sighting, made_by: str) -> str:
    pattern_id = random_id("pat")
    row = {
        "kind": sighting.kind,
        "slot": sighting.slot,
        "state": sighting.state,
        "made_by": made_by,
        "first_at": sighting.at,
        "last_at": sighting.at,
        "detail": {**sighting.detail, "said": sighting.said},
    }
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "pattern_id": pattern_id}
    db.execute(insert(PatternRow).values(**place, **row))
    return pattern_id


def _add_message(db: Connection, key: ScopeKey, pattern_id: str, sighting: Sighting) -> None:
    here = (PatternMessage.namespace_id == key.namespace_id, PatternMessage.pattern_id == pattern_id)
    if db.execute(select(PatternMessage.seq).where(*here, PatternMessage.seq == sighting.seq)).first() is not None:
        return
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "pattern_id": pattern_id}
    span = {"seq": sighting.seq, "start": sighting.start, "end": sighting.end}
    db.execute(insert(PatternMessage).values(**place, **span))
    times = select(PatternRow.first_at, PatternRow.last_at).where(*_is(key, pattern_id))
    first_at, last_at = readable_rows(db, times)[0]
    seen = {
        "first_at": min(number(first_at, sighting.at), sighting.at),
        "last_at": max(number(last_at, sighting.at), sighting.at),
    }
    db.execute(update(PatternRow).where(*_is(key, pattern_id)).values(**seen))


def _settle(db: Connection, key: ScopeKey, kind: str, slot: str) -> None:
    """The newest of a slot is in force; the others name it. What waits for a person or is dismissed takes no part."""
    rows = [row for row in _of_slot(db, key, kind, slot) if row.state not in ("proposed", "dismissed")]
    if not rows:
        return
    newest = rows[-1].pattern_id
    for row in rows:
        by = None if row.pattern_id == newest else newest
        if row.superseded_by != by:
            db.execute(update(PatternRow).where(*_is(key, row.pattern_id)).values(superseded_by=by))


# Built once, because every edit, erasure and piece of a pruning asks them.
_IDS: Any = bindparam("ids", expanding=True)
_SHOWN_BY = select(PatternMessage.pattern_id).where(
    PatternMessage.namespace_id == bindparam("of_namespace"),
    PatternMessage.scope_id == bindparam("of_scope"),
    PatternMessage.seq.in_(bindparam("seqs", expanding=True)),
)
_SHOWING = (
    select(ChatMessage.thread_id, ChatMessage.seq)
    .join(PatternMessage, its_message(PatternMessage))
    .where(PatternMessage.namespace_id == bindparam("of_namespace"), PatternMessage.pattern_id.in_(_IDS))
)
_HERE = (PatternRow.namespace_id == bindparam("of_namespace")) & (PatternRow.scope_id == bindparam("of_scope"))
_REINSTATE = update(PatternRow).where(_HERE, PatternRow.superseded_by.in_(_IDS)).values(superseded_by=None)
_REMOVE = delete(PatternRow).where(_HERE, PatternRow.pattern_id.in_(_IDS))


def retract(db: Connection, key: ScopeKey, seqs: Sequence[int], *, stay: bool = False) -> None:
    """Remove the patterns that rest on these messages; what else showed them, or they if they stay, is learned anew."""
    here = {"of_namespace": key.namespace_id, "of_scope": key.scope_id}
    gone = [db.execute(_SHOWN_BY, {**here, "seqs": some}).scalars() for some in in_lists(seqs)]
    going, first = set(seqs), dict[str, int]()
    for some in in_lists(sorted(set(chain.from_iterable(gone)))):
        for row in db.execute(_SHOWING, {**here, "ids": some}):
            if stay or row.seq not in going:
                first[row.thread_id] = min(row.seq, first.get(row.thread_id, row.seq))
        db.execute(_REINSTATE, {**here, "ids": some})
        db.execute(_REMOVE, {**here, "ids": some})
    for thread_id, seq in first.items():
        derivation_queue.enqueue(db, key, thread_id, "patterns", seq)


def set_state(db: Connection, key: ScopeKey, pattern_id: str, state: str, correction: str | None = None) -> bool:
    """Note what a person says of a pattern; False when there is none of that id."""
    row = db.execute(select(PatternRow).where(*_is(key, pattern_id))).first()
    if row is None:
        return False
    detail = row.detail if correction is None else {**mapping(row.detail), "correction": correction}
    db.execute(update(PatternRow).where(*_is(key, pattern_id)).values(state=state, detail=detail))
    if mapping(row.detail).get("said"):
        _settle(db, key, row.kind, row.slot)
    return True


def in_scope(db: Connection, key: ScopeKey, kind: str | None = None, limit: int = _MOST) -> list[Pattern]:
    """The scope's patterns, those seen last first, each with its newest messages."""
    query = select(PatternRow).where(*_in_scope(key))
    if kind is not None:
        query = query.where(PatternRow.kind == kind)
    return _read(db, key, readable_rows(db, query.order_by(PatternRow.last_at.desc()).limit(limit)))


def in_force(db: Connection, key: ScopeKey, kind: str, limit: int) -> list[Pattern]:
    """The scope's patterns of a kind that prompts may show, those seen last first."""
    shown = (PatternRow.superseded_by.is_(None), PatternRow.state.not_in(("proposed", "dismissed")))
    query = select(PatternRow).where(*_in_scope(key), PatternRow.kind == kind, *shown)
    return _read(db, key, readable_rows(db, query.order_by(PatternRow.last_at.desc()).limit(limit)))


def find(db: Connection, key: ScopeKey, pattern_id: str) -> Pattern | None:
    """One pattern of the scope."""
    return next(iter(_read(db, key, db.execute(select(PatternRow).where(*_is(key, pattern_id))).all())), None)


def count(db: Connection, namespace_id: int) -> int:
    """How many patterns the namespace has."""
    return db.execute(select(func.count()).where(PatternRow.namespace_id == namespace_id)).scalar_one()


def _in_scope(key: ScopeKey) -> tuple[ColumnElement[bool], ...]:
    return (PatternRow.namespace_id == key.namespace_id, PatternRow.scope_id == key.scope_id)


def _is(key: ScopeKey, pattern_id: str) -> tuple[ColumnElement[bool], ...]:
    return (*_in_scope(key), PatternRow.pattern_id == pattern_id)


def _read(db: Connection, key: ScopeKey, rows: Sequence[Any]) -> list[Pattern]:
    places: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    ids = [row.pattern_id for row in rows]
    if not ids:
        return []
    for some in in_lists(ids):
        query = select(PatternMessage).where(
            PatternMessage.namespace_id == key.namespace_id,
            PatternMessage.pattern_id.in_(some),
        )
        for row in db.execute(query.order_by(PatternMessage.seq.desc())):
            places[row.pattern_id].append((row.seq, row.start, row.end))
    shown = {seq for found in places.values() for seq, _, _ in found[:_SHOWN]}
    said = by_seqs(db, key, sorted(shown))
    return [_pattern(row, places[row.pattern_id], said) for row in rows]


def _pattern(row: Any, places: Sequence[tuple[int, int, int]], said: dict[int, Message]) -> Pattern:
    evidence = tuple(
        PatternEvidence(message=said[seq], start=start, end=end) for seq, start, end in places[:_SHOWN] if seq in said
    )
    return Pattern(
        pattern_id=row.pattern_id,
        kind=row.kind,
        slot=row.slot,
        state=row.state,
        superseded_by=row.superseded_by,
        made_by=row.made_by,
        first_seen=from_micros(row.first_at),
        last_seen=from_micros(row.last_at),
        support=len(places),
        detail={name: value for name, value in mapping(row.detail).items() if name != "said"},
        evidence=evidence,
    )
