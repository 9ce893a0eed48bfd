"""SQL of pruning: the rows that policies speak of, the mark on messages, and their removal when its window is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from memory_engine.models import ScopeKey
from memory_engine.retention import Columns, Rows
from memory_engine.storage.messages import its_message, of_these
from memory_engine.storage.schema import AssistantThread, ChatMessage, MessageVersion, SummaryRow, SummarySentence

#: Rows that are read at once.
_BATCH = 5_000
#: When each message last stood in a prompt, by its id; microseconds.
Recalled = Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What policies ask of a conversation."""

    #: When it was last spoken in, or opened; microseconds.
    active_at: int
    #: No policy touches it.
    on_hold: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """That a message waits for its removal."""

    #: Since when; microseconds.
    at: int
    #: By which rule.
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Former:
    """What a message said before an edit."""

    text: str
    parts: Sequence[Mapping[str, Any]] | None
    metadata: Mapping[str, Any]
    #: Microseconds.
    replaced_at: int


#: A scope's conversations, by thread_id and by conversation_id.
Activities = Mapping[str, Activity]


def activities(db: Connection, key: ScopeKey) -> Activities:
    """The scope's conversations, by thread_id and by conversation_id."""
    newest = (
        select(ChatMessage.thread_id, func.max(ChatMessage.created_at).label("at"))
        .where(*_here(ChatMessage, key))
        .group_by(ChatMessage.thread_id)
    )
    spoken = {row.thread_id: row.at for row in db.execute(newest)}
    columns = (
        AssistantThread.thread_id, AssistantThread.conversation_id, AssistantThread.created_at, AssistantThread.held_at
    )  # fmt: skip
    found = {}
    for row in db.execute(select(*columns).where(*_here(AssistantThread, key))):
        activity = Activity(active_at=spoken.get(row.thread_id, row.created_at), on_hold=row.held_at is not None)
        found[row.thread_id] = found[row.conversation_id] = activity
    return found


def size_of(db: Connection, *texts: Any) -> ColumnElement[int]:
    """The bytes of these columns of a row together."""
    # SQLite before 3.43 has no octet_length, and its length() of a text counts characters.
    on_server = db.dialect.name == "postgresql"
    lengths = [func.octet_length(text) if on_server else func.length(cast(text, LargeBinary)) for text in texts]
    return sum((func.coalesce(length, 0) for length in lengths), literal(0))


def message_rows(db: Connection, key: ScopeKey, agent: str | None, active: Activities, recalled: Recalled) -> Rows:
    """The messages that are not marked yet; their ids are seqs."""
    rows = Columns()
    query = select(
        ChatMessage.seq, ChatMessage.message_id, ChatMessage.thread_id, ChatMessage.created_at,
        ChatMessage.pinned_at, size_of(db, ChatMessage.content).label("size"),
    ).where(*_here(ChatMessage, key), ChatMessage.pruned_at.is_(None))  # fmt: skip
    if agent is not None:
        query = query.where(ChatMessage.agent == agent)
    for row in db.execute(query.execution_options(yield_per=_BATCH)):
        thread = active[row.thread_id]
        rows.add(
            row.seq, at=row.created_at, size=row.size, active_at=thread.active_at,
            used_at=max(row.created_at, recalled.get(row.message_id, 0)),
            protected=row.pinned_at is not None or thread.on_hold,
        )  # fmt: skip
    return Rows.of(rows)


def version_rows(db: Connection, key: ScopeKey, agent: str | None, active: Activities) -> Rows:
    """What messages said before they were edited; their ids are pairs of seq and version."""
    rows = Columns()
    columns = (MessageVersion.seq, MessageVersion.version, MessageVersion.replaced_at)
    size = size_of(db, MessageVersion.content).label("size")
    query = select(*columns, ChatMessage.thread_id, ChatMessage.pinned_at, size).where(*_here(MessageVersion, key))
    query = query.join(ChatMessage, its_message(MessageVersion))
    if agent is not None:
        query = query.where(ChatMessage.agent == agent)
    for row in db.execute(query):
        thread = active[row.thread_id]
        rows.add(
            (row.seq, row.version), at=row.replaced_at, size=row.size, active_at=thread.active_at,
            used_at=row.replaced_at, protected=row.pinned_at is not None or thread.on_hold,
        )  # fmt: skip
    return Rows.of(rows)


def delete_versions(db: Connection, key: ScopeKey, ids: Sequence[tuple[int, int]]) -> int:
    """Remove these versions, and return how many were there."""
    these = [(MessageVersion.seq == seq) & (MessageVersion.version == version) for seq, version in ids]
    return db.execute(delete(MessageVersion).where(*_here(MessageVersion, key), or_(*these))).rowcount


def summary_rows(db: Connection, key: ScopeKey, active: Activities) -> Rows:
    """The summaries that have outlived their messages."""
    rows = Columns()
    words = (
        select(func.coalesce(func.sum(size_of(db, SummarySentence.text)), 0))
        .where(SummarySentence.namespace_id == SummaryRow.namespace_id)
        .where(SummarySentence.summary_id == SummaryRow.summary_id)
    )
    columns = (SummaryRow.summary_id, SummaryRow.thread_id, SummaryRow.outlived_at)
    query = select(*columns, words.scalar_subquery().label("size"))
    for row in db.execute(query.where(*_here(SummaryRow, key), SummaryRow.outlived_at.is_not(None))):
        thread = active[row.thread_id]
        rows.add(
            row.summary_id, at=row.outlived_at, size=int(row.size), active_at=thread.active_at,
            used_at=row.outlived_at, protected=thread.on_hold,
        )  # fmt: skip
    return Rows.of(rows)


def delete_summaries(db: Connection, key: ScopeKey, ids: Sequence[str]) -> int:
    """Remove these summaries, and return how many were there."""
    return db.execute(delete(SummaryRow).where(*_here(SummaryRow, key), SummaryRow.summary_id.in_(ids))).rowcount


_NOT_HELD = ~exists().where(
    AssistantThread.namespace_id == ChatMessage.namespace_id,
    AssistantThread.thread_id == ChatMessage.thread_id,
    AssistantThread.held_at.is_not(None),
)
# Built once, because every piece of a pruning asks them.
_THESE = (
    ChatMessage.namespace_id == bindparam("of_namespace"),
    ChatMessage.scope_id == bindparam("of_scope"),
    ChatMessage.seq.in_(bindparam("seqs", expanding=True)),
)
_MARK = (
    update(ChatMessage)
    .where(*_THESE, ChatMessage.pruned_at.is_(None), ChatMessage.pinned_at.is_(None), _NOT_HELD)
    .values(pruned_at=bindparam("now"), pruned_by=bindparam("by"))
    .returning(ChatMessage.seq)
)
_UNMARK = (
    update(ChatMessage)
    .where(*_THESE, ChatMessage.pruned_at.is_not(None))
    .values(pruned_at=None, pruned_by=None)
    .returning(ChatMessage.seq)
)
_STILL_EXPIRED = select(ChatMessage.seq, ChatMessage.message_id).where(
    *_THESE, ChatMessage.pruned_at.is_not(None), _NOT_HELD
)


def mark(db: Connection, key: ScopeKey, seqs: Sequence[int], *, by: str, now: int) -> list[int]:
    """Mark those of the messages that no pin, hold or mark keeps from it, and return their places.

    Args:
        db: the transaction.
        key: the scope.
        seqs: the messages' places.
        by: the rule.
        now: microseconds.
    """
    return sorted(db.execute(_MARK, {**of_these(key, seqs), "now": now, "by": by}).scalars())


def unmark(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> list[int]:
    """Take the mark from these messages, and return the places of those that had one."""
    return sorted(db.execute(_UNMARK, of_these(key, seqs)).scalars())


def expired(db: Connection, key: ScopeKey, until: int) -> tuple[list[int], int]:
    """The places of the messages marked until then (microseconds), and the bytes that they take."""
    here = (*_here(ChatMessage, key), ChatMessage.pruned_at.is_not(None), ChatMessage.pruned_at <= until, _NOT_HELD)
    query = select(ChatMessage.seq, size_of(db, ChatMessage.content).label("size")).where(*here)
    rows = db.execute(query.order_by(ChatMessage.seq)).all()
    return [row.seq for row in rows], sum(row.size for row in rows)


def still_expired(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, str]:
    """Those of the messages that are marked and not held, by place, with their ids."""
    return {row.seq: row.message_id for row in db.execute(_STILL_EXPIRED, of_these(key, seqs))}


def marked_since(db: Connection, key: ScopeKey, since: int) -> list[int]:
    """The places of the messages marked from then on; microseconds."""
    here = (*_here(ChatMessage, key), ChatMessage.pruned_at.is_not(None), ChatMessage.pruned_at >= since)
    return list(db.execute(select(ChatMessage.seq).where(*here).order_by(ChatMessage.seq)).scalars())


def marks(db: Connection, key: ScopeKey) -> dict[int, Mark]:
    """The marked messages of a scope, by place and in its order."""
    columns = (ChatMessage.seq, ChatMessage.pruned_at, ChatMessage.pruned_by)
    query = select(*columns).where(*_here(ChatMessage, key), ChatMessage.pruned_at.is_not(None))
    return {
        row.seq: Mark(at=row.pruned_at, by=row.pruned_by or "") for row in db.execute(query.order_by(ChatMessage.seq))
    }


def former(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, list[Former]]:
    """What these messages said before their edits, oldest first; those that were never edited are not in it."""
    query = select(*MessageVersion.__table__.columns).where(*_here(MessageVersion, key), MessageVersion.seq.in_(seqs))
    found: dict[int, list[Former]] = {}
    for row in db.execute(query.order_by(MessageVersion.seq, MessageVersion.version)):
        of_row = Former(text=row.content, parts=row.parts, metadata=row.metadata, replaced_at=row.replaced_at)
        found.setdefault(row.seq, []).append(of_row)
    return found


def marked_in(db: Connection, key: ScopeKey, thread_id: str) -> list[int]:
    """The places of a conversation's marked messages."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.thread_id == thread_id)
    query = select(ChatMessage.seq).where(*here, ChatMessage.pruned_at.is_not(None))
    return list(db.execute(query.order_by(ChatMessage.seq)).scalars())


def _here(table: Any, key: ScopeKey) -> tuple[ColumnElement[bool], ...]:
    return (table.namespace_id == key.namespace_id, table.scope_id == key.scope_id)
