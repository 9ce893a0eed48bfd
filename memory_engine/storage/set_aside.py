"""SQL of background work that failed: how often, when it is tried again, and what was set aside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from memory_engine.models import ScopeKey
from memory_engine.storage.odd_values import number
from memory_engine.storage.schema import AssistantThread, Namespace, ScopeRow, SetAsideRow

#: What has no scope of its own, such as the receipt of an erasure.
OF_STORE = ScopeKey(0, 0)
#: Stages whose items wait in this table alone, so that `requeue` leaves them here to be tried.
_WAIT_HERE = ("indexing", "pruning")
#: When what is set aside is tried again: never, on any clock.
_NEVER = 2**62
#: Microseconds between attempts. After the last of them an item is set aside.
_DELAYS = (5_000_000, 15_000_000)
#: Microseconds that no delay takes: what waits for longer waits because the clock was set back.
_LONGEST = 60_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A piece of background work that can fail by itself."""

    key: ScopeKey
    stage: str
    name: str
    thread_id: str | None = None
    #: The counter of its queue row.
    seen: int = 0
    #: Whether it is in the table.
    has_failed: bool = field(default=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """An item that was set aside."""

    stage: str
    item: str
    #: None where the item is not of one conversation.
    thread_id: str | None
    #: The error's class and where it was raised.
    error: str
    attempts: int
    #: Microseconds.
    failed_at: int
    #: Names, for admins; None for what belongs to the store as a whole.
    namespace: str | None
    user: str | None
    conversation_id: str | None


def same_item(stage: Any, queue: Any) -> ColumnElement[bool]:
    """The failures of a stage at the conversation of a queue's row."""
    return and_(
        SetAsideRow.namespace_id == queue.namespace_id,
        SetAsideRow.scope_id == queue.scope_id,
        SetAsideRow.stage == stage,
        SetAsideRow.item == queue.thread_id,
    )


def may_be_tried(now: ColumnElement[int] | int, counter: Any = None) -> ColumnElement[bool]:
    """Rows that never failed, that waited long enough at `now` (microseconds), or whose queue row changed."""
    late = or_(SetAsideRow.retry_at <= now, SetAsideRow.retry_at.between(now + _LONGEST, _NEVER - 1))
    changed = () if counter is None else (SetAsideRow.seen != counter,)
    return or_(SetAsideRow.item.is_(None), late, *changed)


def note(db: Connection, item: Item, error: str, now: int) -> int | None:
    """Note that an item failed; returns when it is tried again (microseconds), or None where it is not.

    Nothing is noted of a scope that was erased meanwhile.
    """
    if item.key != OF_STORE and not _has_scope(db, item.key):
        return None
    # What was set aside stays so, and named, until an attempt at its changed conversation succeeds.
    attempts = int(number(db.execute(select(SetAsideRow.attempts).where(*_is(item))).scalar())) + 1
    retry_at = now + _DELAYS[attempts - 1] if 1 <= attempts <= len(_DELAYS) else None
    clear(db, item)
    row = {
        "namespace_id": item.key.namespace_id, "scope_id": item.key.scope_id, "stage": item.stage, "item": item.name,
        "thread_id": _existing(db, item), "error": error[:500], "attempts": attempts, "seen": item.seen,
        "failed_at": now, "retry_at": _NEVER if retry_at is None else retry_at,
    }  # fmt: skip
    db.execute(insert(SetAsideRow).values(**row))
    return retry_at


def _has_scope(db: Connection, key: ScopeKey) -> bool:
    here = (ScopeRow.namespace_id == key.namespace_id, ScopeRow.scope_id == key.scope_id)
    return db.execute(select(ScopeRow.scope_id).where(*here)).first() is not None


def _existing(db: Connection, item: Item) -> str | None:
    here = (AssistantThread.namespace_id == item.key.namespace_id, AssistantThread.thread_id == item.thread_id)
    found: str | None = db.execute(select(AssistantThread.thread_id).where(*here)).scalar()
    return found


def clear(db: Connection, item: Item) -> None:
    """Forget that an item failed."""
    db.execute(delete(SetAsideRow).where(*_is(item)))


def clear_names(db: Connection, key: ScopeKey, stage: str, names: Sequence[str]) -> None:
    """Forget that these items of a scope failed."""
    here = (SetAsideRow.namespace_id == key.namespace_id, SetAsideRow.scope_id == key.scope_id)
    db.execute(delete(SetAsideRow).where(*here, SetAsideRow.stage == stage, SetAsideRow.item.in_(names)))


def failed(db: Connection, stage: str) -> list[tuple[Item, int]]:
    """The items of a stage that failed, each with when it is tried again (microseconds)."""
    rows = db.execute(select(SetAsideRow).where(SetAsideRow.stage == stage))
    return [
        (
            Item(
                key=ScopeKey(row.namespace_id, row.scope_id), stage=row.stage, name=row.item, thread_id=row.thread_id,
                seen=row.seen, has_failed=True,
            ),
            int(number(row.retry_at)),
        )
        for row in rows
    ]  # fmt: skip


def is_due(retry_at: int, now: int) -> bool:
    """Whether an item that failed is to be tried at `now`; microseconds."""
    return retry_at <= now or now + _LONGEST <= retry_at < _NEVER


def listed(db: Connection, *, limit: int, namespace: str | None = None) -> list[SetAside]:
    """What was set aside, newest first, in a namespace or in all."""
    thread = and_(
        AssistantThread.namespace_id == SetAsideRow.namespace_id, AssistantThread.thread_id == SetAsideRow.thread_id
    )
    scope = and_(ScopeRow.namespace_id == SetAsideRow.namespace_id, ScopeRow.scope_id == SetAsideRow.scope_id)
    query = (
        select(*SetAsideRow.__table__.columns, AssistantThread.conversation_id, Namespace.name, ScopeRow.user_name)
        .outerjoin(AssistantThread, thread)
        .outerjoin(Namespace, Namespace.namespace_id == SetAsideRow.namespace_id)
        .outerjoin(ScopeRow, scope)
        .where(SetAsideRow.retry_at >= _NEVER)
        .order_by(SetAsideRow.failed_at.desc(), SetAsideRow.stage, SetAsideRow.item)
    )
    if namespace is not None:
        query = query.where(Namespace.name == namespace)
    return [
        SetAside(
            stage=row.stage, item=row.item, thread_id=row.thread_id, error=row.error,
            attempts=int(number(row.attempts)), failed_at=int(number(row.failed_at)),
            namespace=row.name, user=row.user_name or None, conversation_id=row.conversation_id,
        )
        for row in db.execute(query.limit(limit))
    ]  # fmt: skip


def count(db: Connection, namespace: str | None = None) -> int:
    """How many items were set aside, in a namespace or in all."""
    query = select(func.count()).select_from(SetAsideRow).where(SetAsideRow.retry_at >= _NEVER)
    if namespace is not None:
        query = query.join(Namespace, Namespace.namespace_id == SetAsideRow.namespace_id)
        query = query.where(Namespace.name == namespace)
    return db.execute(query).scalar_one()


def requeue(db: Connection) -> int:
    """Have everything that was set aside tried again; returns how many items that is."""
    set_aside = SetAsideRow.retry_at >= _NEVER
    here = SetAsideRow.stage.in_(_WAIT_HERE)
    kept = db.execute(update(SetAsideRow).where(set_aside, here).values(retry_at=0, attempts=0)).rowcount
    return kept + db.execute(delete(SetAsideRow).where(set_aside)).rowcount


def _is(item: Item) -> tuple[ColumnElement[bool], ...]:
    return (
        SetAsideRow.namespace_id == item.key.namespace_id,
        SetAsideRow.scope_id == item.key.scope_id,
        SetAsideRow.stage == item.stage,
        SetAsideRow.item == item.name,
    )
