"""SQL of edits and erasures: the old versions, and what indexes have still to follow."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from memory_engine.models import Message, ScopeKey
from memory_engine.storage import links, notes, patterns, summaries
from memory_engine.storage.messages import Derived, derived_rows, in_lists
from memory_engine.storage.odd_values import is_whole_number, whole_number
from memory_engine.storage.schema import ChatMessage, MessageChange, MessageEmbedding, MessageTerms, MessageVersion
from memory_engine.storage.scopes import take_changes


def note(db: Connection, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    """Tell the indexes that the messages at these places change or go, and retract what rests on them.

    It is called first in a transaction that edits or erases, because it locks the scope; `now` in microseconds.
    """
    tell_indexes(db, key, seqs)
    summaries.retract(db, key, seqs, now)
    links.retract(db, key, seqs)
    patterns.retract(db, key, seqs)


def tell_indexes(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Have the indexes look at the messages at these places again; it locks the scope."""
    first = take_changes(db, key, len(seqs))
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    rows = [{**place, "change_seq": number, "seq": seq} for number, seq in enumerate(seqs, first)]
    if rows:
        db.execute(insert(MessageChange), rows)


def waiting(
    db: Connection, limit: int, *, but: Collection[ScopeKey] = ()
) -> list[tuple[ScopeKey, int | None, int | None]]:
    """Changes that are to be followed, oldest first, as (scope, change_seq, seq); None where a row is damaged.

    Scopes in `but` are left out.
    """
    columns = (MessageChange.namespace_id, MessageChange.scope_id, MessageChange.change_seq)
    places = (whole_number(MessageChange.change_seq), whole_number(MessageChange.seq))
    of_scopes = (is_whole_number(MessageChange.namespace_id), is_whole_number(MessageChange.scope_id))
    others = [~_of(key) for key in but]
    rows = db.execute(select(*columns[:2], *places).where(*of_scopes, *others).order_by(*columns).limit(limit))
    return [(ScopeKey(row.namespace_id, row.scope_id), row.change_seq, row.seq) for row in rows]


def count(db: Connection) -> int:
    """How many changes are to be followed."""
    return db.execute(select(func.count()).select_from(MessageChange)).scalar_one()


def count_of_scope(db: Connection, key: ScopeKey) -> int:
    """How many changes of a scope are to be followed."""
    return db.execute(select(func.count()).select_from(MessageChange).where(_of(key))).scalar_one()


def count_of_namespace(db: Connection, namespace_id: int) -> int:
    """How many changes of a namespace are to be followed."""
    here = MessageChange.namespace_id == namespace_id
    return db.execute(select(func.count()).select_from(MessageChange).where(here)).scalar_one()


def followed(db: Connection, key: ScopeKey, change_seq: int) -> None:
    """Every change up to this one has been followed."""
    here = (MessageChange.namespace_id == key.namespace_id, MessageChange.scope_id == key.scope_id)
    db.execute(delete(MessageChange).where(*here, MessageChange.change_seq <= change_seq))


def drop_damaged(db: Connection, key: ScopeKey) -> None:
    """Remove the changes that have no place among the others."""
    here = (MessageChange.namespace_id == key.namespace_id, MessageChange.scope_id == key.scope_id)
    db.execute(delete(MessageChange).where(*here, ~is_whole_number(MessageChange.change_seq)))


def write_version(db: Connection, key: ScopeKey, seq: int, *, version: int, now: int, values: dict[str, Any]) -> bool:
    """Put the message's next version in place of `version`, and keep that; False when another edit was faster.

    Args:
        db: the transaction.
        key: the scope.
        seq: the message's place in it.
        version: the version that the edit was made on.
        now: microseconds.
        values: content, parts and metadata of the next one.
    """
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, ChatMessage.seq == seq)
    columns = (ChatMessage.content, ChatMessage.parts, ChatMessage.message_metadata)
    before = db.execute(select(*columns).where(*here, ChatMessage.version == version)).first()
    if before is None:
        return False
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "seq": seq, "version": version}
    old = {"content": before.content, "parts": before.parts, "metadata": before.metadata}
    db.execute(insert(MessageVersion).values(**place, **old, replaced_at=now))
    db.execute(update(ChatMessage).where(*here).values(version=version + 1, **values))
    return True


def replace_derived(db: Connection, key: ScopeKey, seq: int, version: int, derived: Derived | None) -> None:
    """Put what is derived from the new version in place of what was derived from the old one, in every space."""
    delete_derived(db, key, [seq])
    insert_derived(db, key, [(seq, version, derived)])


def delete_derived(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Remove what was derived from these messages, in every space."""
    for table in (MessageTerms, MessageEmbedding):
        here = (table.namespace_id == key.namespace_id, table.scope_id == key.scope_id)
        for some in in_lists(seqs):
            db.execute(delete(table).where(*here, table.seq.in_(some)))


def insert_derived(db: Connection, key: ScopeKey, rows: Sequence[tuple[int, int, Derived | None]]) -> None:
    """Write what was derived from messages that have nothing derived, each with its seq and version."""
    made = [derived_rows(key, seq, version, derived) for seq, version, derived in rows if derived is not None]
    if made:
        db.execute(insert(MessageTerms), [terms for terms, _ in made])
    if vectors := [vector for _, some in made for vector in some]:
        db.execute(insert(MessageEmbedding), vectors)


def as_they_were(db: Connection, key: ScopeKey, kept: Mapping[int, Message], moment: int) -> dict[int, Message]:
    """These messages, by seq, with what they said at `moment` (microseconds) where they were edited since."""
    found = dict(kept)
    seqs = list(kept)
    for some in in_lists(seqs):
        query = select(MessageVersion).where(
            MessageVersion.namespace_id == key.namespace_id,
            MessageVersion.scope_id == key.scope_id,
            MessageVersion.seq.in_(some),
            MessageVersion.replaced_at > moment,
        )
        for row in db.execute(query.order_by(MessageVersion.version.desc())):  # the oldest of them comes last
            parts = None if row.parts is None else tuple(row.parts)
            found[row.seq] = replace(
                found[row.seq], text=row.content, parts=parts, metadata=row.metadata, version=row.version
            )
    return found


def _of(key: ScopeKey) -> ColumnElement[bool]:
    return and_(MessageChange.namespace_id == key.namespace_id, MessageChange.scope_id == key.scope_id)


def delete_messages(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> None:
    """Remove messages with everything that hangs on their rows, and the notes that were made of them."""
    notes.retract(db, key, seqs)
    for some in in_lists(seqs):
        here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id)
        db.execute(delete(ChatMessage).where(*here, ChatMessage.seq.in_(some)))
