"""SQL of which consolidated conversations a further stage is to look at: for links, patterns, groups, better words."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import BigInteger, ColumnElement, Connection, bindparam, delete, insert, select, update

from memory_engine.models import ScopeKey
from memory_engine.storage import set_aside
from memory_engine.storage.odd_values import same_whole_number, whole_number
from memory_engine.storage.schema import AssistantThread, DerivationRow, SetAsideRow
from memory_engine.storage.set_aside import Item

Stage = Literal["links", "patterns", "group", "writing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A conversation that waits for a stage, and from which place on this has not looked at it."""

    key: ScopeKey
    thread_id: str
    stage: Stage
    first_seq: int
    #: How often it was queued when it was read; None where the row is damaged.
    times: int | None
    #: Whether its work failed before.
    has_failed: bool = False

    @property
    def item(self) -> Item:
        """What its attempts are counted by."""
        return Item(
            key=self.key, stage=self.stage, name=self.thread_id, thread_id=self.thread_id, seen=self.times or 0,
            has_failed=self.has_failed,
        )  # fmt: skip


# Built once, because every edit, erasure and piece of a pruning asks them.
_HERE = (
    DerivationRow.namespace_id == bindparam("of_namespace"),
    DerivationRow.thread_id == bindparam("of_thread"),
    DerivationRow.stage == bindparam("of_stage"),
)
_KNOWN = select(DerivationRow.stage, whole_number(DerivationRow.first_seq)).where(*_HERE)
_QUEUE = insert(DerivationRow)
_QUEUE_AGAIN = update(DerivationRow).where(*_HERE).values(first_seq=bindparam("first"), times=DerivationRow.times + 1)


def enqueue(db: Connection, key: ScopeKey, thread_id: str, stage: Stage, first_seq: int = 0) -> None:
    """Note that a stage is to look at a conversation from this place on; the scope's row is locked by then."""
    here = {"of_namespace": key.namespace_id, "of_thread": thread_id, "of_stage": stage}
    known = db.execute(_KNOWN, here).first()
    if known is None:
        place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "thread_id": thread_id}
        db.execute(_QUEUE, {**place, "stage": stage, "first_seq": first_seq, "times": 1})
    else:
        db.execute(_QUEUE_AGAIN, {**here, "first": min(first_seq, known.first_seq or 0)})


_NOW = bindparam("now", type_=BigInteger)
_NEXT = (
    select(
        DerivationRow.namespace_id,
        DerivationRow.scope_id,
        DerivationRow.thread_id,
        whole_number(DerivationRow.first_seq),
        whole_number(DerivationRow.times),
        SetAsideRow.attempts.label("attempts"),
    )
    # A row that names no conversation of its scope is left for the doctor.
    .join(
        AssistantThread,
        (AssistantThread.namespace_id == DerivationRow.namespace_id)
        & (AssistantThread.thread_id == DerivationRow.thread_id)
        & (AssistantThread.scope_id == DerivationRow.scope_id),
    )
    .outerjoin(SetAsideRow, set_aside.same_item(DerivationRow.stage, DerivationRow))
    .where(DerivationRow.stage == bindparam("of_stage"), set_aside.may_be_tried(_NOW, DerivationRow.times))
    .limit(1)
)


def next_for(db: Connection, stage: Stage, now: int) -> Waiting | None:
    """A conversation that waits for the stage, or None; `now` in microseconds.

    One whose work failed is passed over until it is to be tried again, or is queued again.
    """
    row = db.execute(_NEXT, {"of_stage": stage, "now": now}).first()
    if row is None:
        return None
    return Waiting(
        key=ScopeKey(row.namespace_id, row.scope_id), thread_id=row.thread_id, stage=stage,
        first_seq=row.first_seq or 0,
        times=row.times, has_failed=row.attempts is not None,
    )  # fmt: skip


def take(db: Connection, waiting: Waiting) -> bool:
    """Take the conversation from the queue unless it was queued again since it was read."""
    here = _is(waiting.key, waiting.thread_id, waiting.stage)
    return (
        db.execute(delete(DerivationRow).where(*here, same_whole_number(DerivationRow.times, waiting.times))).rowcount
        == 1
    )


def _is(key: ScopeKey, thread_id: str, stage: Stage) -> tuple[ColumnElement[bool], ...]:
    return (
        DerivationRow.namespace_id == key.namespace_id,
        DerivationRow.thread_id == thread_id,
        DerivationRow.stage == stage,
    )
