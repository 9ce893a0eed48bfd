"""SQL of links between conversations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from memory_engine.models import Link, LinkEvidence, ScopeKey, from_micros, random_id
from memory_engine.storage.database import readable_rows
from memory_engine.storage.messages import by_seqs, in_lists
from memory_engine.storage.odd_values import mapping, number, pairs, texts
from memory_engine.storage.schema import AssistantThread, LinkMessage, LinkRow

#: Links made by rules that one conversation keeps; of more, the strongest.
HUB = 24
#: Without use a link loses half of its weight in so many microseconds; what a person said of it stays.
_HALF_LIFE = 180 * 24 * 3600 * 1_000_000
#: Weight under which a link that nobody confirmed is no longer shown.
FAINT = 0.2
#: Pairs of messages that a link of conversations recalled together shows.
_SHOWN = 5
#: Microseconds beyond every date.
_NO_TIME = 253_402_300_800_000_000
#: Links of one conversation, or of many, that one answer holds.
_MOST = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class NewLink:
    """A link as a rule, or a person, makes it."""

    source_id: str
    target_id: str
    kind: str
    weight: float
    made_by: str
    words: tuple[str, ...]
    #: Places (seq in the source, seq in the target) that show it.
    places: tuple[tuple[int, int], ...]


# Built once, because every edit, erasure and piece of a pruning asks the first, and every turn the second.
_RETRACT = delete(LinkRow).where(
    LinkRow.namespace_id == bindparam("namespace_id"),
    LinkRow.link_id.in_(
        select(LinkMessage.link_id).where(
            LinkMessage.namespace_id == bindparam("namespace_id"),
            LinkMessage.scope_id == bindparam("scope_id"),
            LinkMessage.seq.in_(bindparam("seqs", expanding=True)),
        )
    ),
)
_PAIR: Any = bindparam("pair", expanding=True)
_TOUCH = (
    update(LinkRow)
    .where(
        LinkRow.namespace_id == bindparam("of_namespace"), LinkRow.source_id.in_(_PAIR), LinkRow.target_id.in_(_PAIR)
    )
    .values(used_at=bindparam("now"))
)


def write(db: Connection, key: ScopeKey, made: Iterable[NewLink], now: int) -> set[str]:
    """Write links made by a rule, unless a person spoke about them; references add to those that are there.

    Returns:
        The threads that got a link that they did not have.
    """
    touched, joined = set(), set()
    for new in made:
        before = known(db, key, new)
        if before is None:
            insert_link(db, key, new, "made", now)
            joined |= {new.source_id, new.target_id}
        elif before.state != "made":
            continue
        elif new.kind == "reference":
            places = tuple(dict.fromkeys([*places_of(before), *new.places]))
            weight = max(number(before.weight), new.weight)
            _replace(db, key, before, replace(new, places=places, weight=weight), now)
        elif number(before.weight) < new.weight:
            _replace(db, key, before, new, now)
        touched |= {new.source_id, new.target_id}
    for thread_id in sorted(touched):
        _bound(db, key, thread_id)
    return joined


def known(db: Connection, key: ScopeKey, new: NewLink) -> Any:
    """The row of that kind between the two that is there, or None; only a reference has a direction."""
    ends = (LinkRow.source_id == new.source_id) & (LinkRow.target_id == new.target_id)
    if new.kind != "reference":
        ends |= (LinkRow.source_id == new.target_id) & (LinkRow.target_id == new.source_id)
    query = select(LinkRow).where(LinkRow.namespace_id == key.namespace_id, LinkRow.kind == new.kind, ends)
    return next(iter(readable_rows(db, query.limit(1))), None)


def write_recalled(db: Connection, key: ScopeKey, new: NewLink, often: float, now: int) -> None:
    """Note that two conversations were recalled together once more; after `often` times the weight is one half."""
    before = known(db, key, new)
    if before is None:
        insert_link(db, key, new, "made", now)
    elif before.state == "made":
        weight = min(0.99, max(0.0, number(before.weight)))
        times = round(weight * often / (1 - weight)) + 1
        if before.source_id != new.source_id:  # it was the other one that asked
            new = replace(new, source_id=new.target_id, target_id=new.source_id, places=_turned(new.places))
        places = tuple(dict.fromkeys([*new.places, *places_of(before)]))[:_SHOWN]
        _replace(db, key, before, replace(new, places=places, weight=times / (times + often)), now)


def _turned(places: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    return tuple((there, here) for here, there in places)


def touch(db: Connection, key: ScopeKey, one: str, other: str, now: int) -> None:
    """The links between these two were used."""
    db.execute(_TOUCH, {"of_namespace": key.namespace_id, "pair": [one, other], "now": now})


def _replace(db: Connection, key: ScopeKey, before: Any, new: NewLink, now: int) -> None:
    db.execute(delete(LinkRow).where(*_is(key, before.link_id)))
    insert_link(db, key, new, "made", now, before.link_id)


def insert_link(db: Connection, key: ScopeKey, new: NewLink, state: str, now: int, link_id: str | None = None) -> str:
    """Write one link and return its id, a new one unless given."""
    link_id = link_id or random_id("link")
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "link_id": link_id}
    row = {
        "source_id": new.source_id,
        "target_id": new.target_id,
        "kind": new.kind,
        "weight": new.weight,
        "made_by": new.made_by,
        "detail": {"words": list(new.words), "places": [list(pair) for pair in new.places]},
    }
    db.execute(insert(LinkRow).values(**place, **row, state=state, made_at=now, used_at=now))
    seqs = sorted({seq for pair in new.places for seq in pair})
    if seqs:
        db.execute(insert(LinkMessage), [{**place, "seq": seq} for seq in seqs])
    return link_id


def _bound(db: Connection, key: ScopeKey, thread_id: str) -> None:
    """Drop the weakest of a conversation's links beyond what it may have; references and people's links stay."""
    here = (LinkRow.namespace_id == key.namespace_id, _touches(thread_id), LinkRow.state == "made")
    query = select(LinkRow.link_id).where(*here, LinkRow.kind != "reference").order_by(LinkRow.weight.desc())
    weakest = list(db.execute(query.offset(HUB)).scalars())
    if weakest:
        db.execute(delete(LinkRow).where(LinkRow.namespace_id == key.namespace_id, LinkRow.link_id.in_(weakest)))


def set_state(db: Connection, key: ScopeKey, link_id: str, state: str, now: int) -> None:
    """Note what a person says of a link."""
    db.execute(update(LinkRow).where(*_is(key, link_id)).values(state=state, used_at=now))


def retract(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Remove the links that rest on these messages; what remains of their conversations is linked anew."""
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    for some in in_lists(seqs):
        db.execute(_RETRACT, {**here, "seqs": some})


def remove(db: Connection, key: ScopeKey, link_id: str) -> None:
    """Remove one link."""
    db.execute(delete(LinkRow).where(*_is(key, link_id)))


def remove_evidence(db: Connection, key: ScopeKey, link_id: str, detail: object) -> None:
    """Leave a link without the messages that showed it; `detail` is what it has."""
    here = (LinkMessage.namespace_id == key.namespace_id, LinkMessage.link_id == link_id)
    db.execute(delete(LinkMessage).where(*here))
    left = {"words": list(texts(mapping(detail).get("words"))), "places": []}
    db.execute(update(LinkRow).where(*_is(key, link_id)).values(detail=left))


def of_threads(
    db: Connection, key: ScopeKey, thread_ids: Sequence[str], now: int, *, with_evidence: bool = True
) -> list[Link]:
    """The links of these conversations that stand, strongest first; refused and faint ones are left out."""
    rows = _rows(db, key, thread_ids)
    standing = [row for row in rows if row.state != "refused" and is_whole(row) and _weight(row, now) >= FAINT]
    found = _links_of(db, key, standing, now, with_evidence=with_evidence)
    return sorted(found, key=lambda link: (-link.weight, link.link_id))


def find(db: Connection, key: ScopeKey, link_id: str, now: int) -> Link | None:
    """One link of the scope, whatever its state."""
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "link_id": link_id}
    rows = readable_rows(db, _ONE, here)
    return next(iter(_links_of(db, key, rows, now)), None)


def count(db: Connection, namespace_id: int) -> int:
    """How many links the namespace has."""
    return db.execute(select(func.count()).where(LinkRow.namespace_id == namespace_id)).scalar_one()


def _is(key: ScopeKey, link_id: str) -> tuple[Any, ...]:
    return (
        LinkRow.namespace_id == key.namespace_id,
        LinkRow.scope_id == key.scope_id,
        LinkRow.link_id == link_id,
    )


def _touches(thread_id: str) -> Any:
    return or_(LinkRow.source_id == thread_id, LinkRow.target_id == thread_id)


def _rows(db: Connection, key: ScopeKey, thread_ids: Sequence[str]) -> list[Any]:
    rows: dict[str, Any] = {}
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    for some in in_lists(thread_ids):
        of_these = {**here, "thread_ids": some}
        for query in (_OF_SOURCES, _OF_TARGETS):
            rows.update((row.link_id, row) for row in readable_rows(db, query, of_these))
    return list(rows.values())


def _joined() -> Any:
    source, target = aliased(AssistantThread), aliased(AssistantThread)
    ends = (source.conversation_id.label("source"), target.conversation_id.label("target"))
    joined = select(*LinkRow.__table__.columns, *ends)
    for end, column in ((source, LinkRow.source_id), (target, LinkRow.target_id)):
        joined = joined.join(end, (end.namespace_id == LinkRow.namespace_id) & (end.thread_id == column))
        joined = joined.where(end.quarantined_at.is_(None))
    here = (LinkRow.namespace_id == bindparam("namespace_id"), LinkRow.scope_id == bindparam("scope_id"))
    return joined.where(*here)


# Built once: a walk over the graph asks them at every step, and building one costs more than answering it.
_LINKS = _joined()
_THREADS: Any = bindparam("thread_ids", expanding=True)
_OF_SOURCES = _LINKS.where(LinkRow.source_id.in_(_THREADS)).order_by(LinkRow.weight.desc()).limit(_MOST)
_OF_TARGETS = _LINKS.where(LinkRow.target_id.in_(_THREADS)).order_by(LinkRow.weight.desc()).limit(_MOST)
_ONE = _LINKS.where(LinkRow.link_id == bindparam("link_id"))


def _links_of(
    db: Connection, key: ScopeKey, rows: Sequence[Any], now: int, *, with_evidence: bool = True
) -> list[Link]:
    rows = [row for row in rows if is_whole(row)]
    seqs = sorted({seq for row in rows for pair in places_of(row) for seq in pair}) if with_evidence else []
    said = by_seqs(db, key, seqs)
    return [
        Link(
            link_id=row.link_id,
            source=row.source,
            target=row.target,
            source_thread_id=row.source_id,
            target_thread_id=row.target_id,
            kind=row.kind,
            weight=_weight(row, now),
            state=row.state,
            made_by=row.made_by,
            made_at=from_micros(row.made_at),
            words=texts(row.detail["words"]),
            evidence=tuple(
                LinkEvidence(source=said[a], target=said[b]) for a, b in places_of(row) if a in said and b in said
            ),
        )
        for row in rows
    ]


def is_whole(row: Any) -> bool:
    """Whether a link's row can be read: what is damaged is passed over, until the doctor makes it again."""
    detail = mapping(row.detail)
    lists = all(isinstance(detail.get(name), list) for name in ("words", "places"))
    times = all(isinstance(value, int) and 0 <= value < _NO_TIME for value in (row.made_at, row.used_at))
    weight = isinstance(row.weight, int | float) and 0 <= row.weight <= 1
    return lists and times and weight and len(places_of(row)) == len(detail["places"])


def places_of(row: Any) -> tuple[tuple[int, int], ...]:
    """The pairs of places that show a link."""
    return pairs(mapping(row.detail).get("places"))


def _weight(row: Any, now: int) -> float:
    if row.state in ("confirmed", "added"):
        return float(row.weight)
    return float(row.weight * 0.5 ** (max(0, now - row.used_at) / _HALF_LIFE))
