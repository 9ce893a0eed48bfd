"""SQL of the outbox: what is committed and still to be brought to an index outside SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from memory_engine.models import ScopeKey
from memory_engine.storage.odd_values import is_whole_number, same_whole_number, whole_number
from memory_engine.storage.schema import OutboxRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """Messages of a scope, from first to last seq, that an index has not been told of."""

    key: ScopeKey
    first_seq: int
    last_seq: int


# Built once, because every commit asks them.
_INSERT = insert(OutboxRow)
_HERE = (OutboxRow.namespace_id == bindparam("of_namespace"), OutboxRow.scope_id == bindparam("of_scope"))
_PLACES = (whole_number(OutboxRow.first_seq), whole_number(OutboxRow.last_seq))
_OLDEST = (
    select(OutboxRow.namespace_id, OutboxRow.scope_id, *_PLACES)
    # A row that names no scope is left for the doctor.
    .where(is_whole_number(OutboxRow.namespace_id), is_whole_number(OutboxRow.scope_id))
    .order_by(OutboxRow.created_at, OutboxRow.first_seq)
    .limit(bindparam("most"))
)
_FIRST_WAITING = select(func.min(OutboxRow.first_seq)).where(*_HERE)
_DELETE_UNTIL = delete(OutboxRow).where(*_HERE, OutboxRow.last_seq <= bindparam("until"))


def insert_pending(db: Connection, pending: Pending, now: int) -> None:
    """Note that these messages are to be indexed; `now` in microseconds."""
    key = pending.key
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    seqs = {"first_seq": pending.first_seq, "last_seq": pending.last_seq}
    db.execute(_INSERT, {**place, **seqs, "created_at": now})


def oldest(db: Connection, limit: int) -> list[Pending]:
    """The oldest rows."""
    return [
        Pending(key=ScopeKey(row.namespace_id, row.scope_id), first_seq=row.first_seq, last_seq=row.last_seq)
        for row in db.execute(_OLDEST, {"most": limit})
    ]


def first_waiting(db: Connection, key: ScopeKey) -> int | None:
    """The `seq` of the scope's first message that waits, or None when none does."""
    return db.execute(_FIRST_WAITING, {"of_namespace": key.namespace_id, "of_scope": key.scope_id}).scalar()


def delete_until(db: Connection, key: ScopeKey, seq: int) -> None:
    """Remove the scope's rows whose messages all stand at or before `seq`."""
    db.execute(_DELETE_UNTIL, {"of_namespace": key.namespace_id, "of_scope": key.scope_id, "until": seq})


def delete_rows(db: Connection, rows: Sequence[Pending]) -> None:
    """Remove these rows, whatever is in them."""
    for row in rows:
        here = {"of_namespace": row.key.namespace_id, "of_scope": row.key.scope_id}
        db.execute(delete(OutboxRow).where(*_HERE, same_whole_number(OutboxRow.first_seq, row.first_seq)), here)


def lag(db: Connection) -> tuple[int, int | None]:
    """How many rows wait, and since when the oldest does (microseconds)."""
    count, since = db.execute(select(func.count(), func.min(whole_number(OutboxRow.created_at)))).one()
    return count, since
