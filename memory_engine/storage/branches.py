"""SQL of branches: where a conversation forks, which messages are on a branch, and which branches are live.

A branch's path is its own messages, then those of the branch that it comes from up to the fork, and so on to the trunk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, false, func, insert, or_, select, update

from memory_engine.models import Message, ScopeKey
from memory_engine.storage.schema import AssistantThread, BranchRow, ChatMessage
from memory_engine.storage.threads import Thread

#: No place is as late.
_FOR_EVER = 2**62
#: Values in one IN list.
_IN_LIST = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """A branch besides the trunk."""

    number: int
    #: The branch that it comes from.
    parent: int
    #: The place of the last message that both share; 0 where they share none.
    fork_seq: int


class Span(NamedTuple):
    """A part of a path: the messages of one branch up to a place, inclusive."""

    branch: int
    until: int


class Placed(NamedTuple):
    """A message as far as branches are concerned."""

    seq: int
    branch: int
    role: str
    is_active: bool


def of_thread(db: Connection, thread: Thread) -> dict[int, Branch]:
    """The conversation's branches besides its trunk, by number."""
    if not thread.branches:
        return {}
    rows = db.execute(select(BranchRow).where(*_of_thread(BranchRow, thread)))
    return {row.branch: Branch(number=row.branch, parent=row.parent, fork_seq=row.fork_seq) for row in rows}


def path(branches: Mapping[int, Branch], number: int, until: int = _FOR_EVER) -> list[Span]:
    """The spans of a branch, its own messages first."""
    spans = [Span(number, until)]
    while number in branches:
        branch = branches[number]
        until = min(until, branch.fork_seq)
        spans.append(Span(branch.parent, until))
        number = branch.parent
    return spans


def on_path(spans: Sequence[Span]) -> ColumnElement[bool]:
    """That a message is on the path."""
    return or_(false(), *(and_(ChatMessage.branch == span.branch, ChatMessage.seq <= span.until) for span in spans))


_FORKS = select(BranchRow.thread_id, BranchRow.branch, BranchRow.fork_seq).where(
    BranchRow.namespace_id == bindparam("namespace_id"), BranchRow.scope_id == bindparam("scope_id")
)


def forks(db: Connection, key: ScopeKey) -> dict[tuple[str, int], int]:
    """Where each branch of the scope's conversations forks, by thread and number."""
    rows = db.execute(_FORKS, {"namespace_id": key.namespace_id, "scope_id": key.scope_id})
    return {(row.thread_id, row.branch): row.fork_seq for row in rows}


def placed(db: Connection, thread: Thread) -> list[Placed]:
    """Every message of the conversation, in order."""
    columns = (ChatMessage.seq, ChatMessage.branch, ChatMessage.role, ChatMessage.inactive_at)
    rows = db.execute(select(*columns).where(*_of_thread(ChatMessage, thread)).order_by(ChatMessage.seq))
    return [Placed(row.seq, row.branch, row.role, row.inactive_at is None) for row in rows]


def last_seq(db: Connection, thread: Thread, branch: int | None = None) -> int:
    """The place of the newest message of the conversation, or of one of its branches; 0 where there is none."""
    query = select(func.max(ChatMessage.seq)).where(*_of_thread(ChatMessage, thread))
    return db.execute(query if branch is None else query.where(ChatMessage.branch == branch)).scalar() or 0


def open_branch(db: Connection, thread: Thread, *, parent: int, fork_seq: int) -> int:
    """Open a branch and return its number."""
    number = thread.branches + 1
    here = {"namespace_id": thread.key.namespace_id, "scope_id": thread.key.scope_id, "thread_id": thread.thread_id}
    db.execute(insert(BranchRow).values(**here, branch=number, parent=parent, fork_seq=fork_seq))
    db.execute(update(AssistantThread).where(*_of_thread(AssistantThread, thread)).values(branches=number))
    return number


def set_head(db: Connection, thread: Thread, number: int) -> None:
    """Note which branch was spoken on last."""
    db.execute(update(AssistantThread).where(*_of_thread(AssistantThread, thread)).values(head=number))


def mark(db: Connection, key: ScopeKey, seqs: Sequence[int], inactive_at: int | None) -> None:
    """Say since when these messages are on an abandoned branch (microseconds), or with None that they are live."""
    for start in range(0, len(seqs), _IN_LIST):
        some = ChatMessage.seq.in_(seqs[start : start + _IN_LIST])
        here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, some)
        db.execute(update(ChatMessage).where(*here).values(inactive_at=inactive_at))


def parents(db: Connection, namespace_id: int, found: Sequence[Message]) -> dict[int, str | None]:
    """The id of the message before each of these on its branch, by place; they may be of several conversations."""
    before = _seqs_before(db, namespace_id, found)
    ids: dict[int, str] = {message.seq: message.message_id for message in found}
    # Places are of one scope, as the messages are.
    lacking = sorted({seq for seq in before.values() if seq} - ids.keys())
    scope_of = select(ChatMessage.scope_id).where(
        ChatMessage.namespace_id == namespace_id, ChatMessage.message_id == (found[0].message_id if found else "")
    )
    for start in range(0, len(lacking), _IN_LIST):
        some = ChatMessage.seq.in_(lacking[start : start + _IN_LIST])
        query = select(ChatMessage.seq, ChatMessage.message_id).where(
            ChatMessage.namespace_id == namespace_id, ChatMessage.scope_id == scope_of.scalar_subquery(), some
        )
        ids.update((row.seq, row.message_id) for row in db.execute(query))
    return {seq: ids.get(place) for seq, place in before.items()}


def _seqs_before(db: Connection, namespace_id: int, found: Sequence[Message]) -> dict[int, int]:
    """The place before each of these messages on its branch; 0 for the first of a conversation."""
    earlier = ChatMessage.__table__.alias("earlier")
    previous = (
        select(earlier.c.seq)
        .where(
            earlier.c.namespace_id == ChatMessage.namespace_id, earlier.c.thread_id == ChatMessage.thread_id,
            earlier.c.branch == ChatMessage.branch, earlier.c.seq < ChatMessage.seq, earlier.c.pruned_at.is_(None),
        )
        .order_by(earlier.c.seq.desc()).limit(1).scalar_subquery()
    )  # fmt: skip
    fork = (
        select(BranchRow.fork_seq)
        .where(
            BranchRow.namespace_id == ChatMessage.namespace_id, BranchRow.thread_id == ChatMessage.thread_id,
            BranchRow.branch == ChatMessage.branch,
        ).scalar_subquery()
    )  # fmt: skip
    before: dict[int, int] = {}
    ids = [message.message_id for message in found]
    for start in range(0, len(ids), _IN_LIST):
        some = ChatMessage.message_id.in_(ids[start : start + _IN_LIST])
        query = select(ChatMessage.seq, func.coalesce(previous, fork, 0).label("before"))
        rows = db.execute(query.where(ChatMessage.namespace_id == namespace_id, some))
        before.update((row.seq, row.before) for row in rows)
    return before


def _of_thread(table: Any, thread: Thread) -> tuple[ColumnElement[bool], ...]:
    return (table.namespace_id == thread.key.namespace_id, table.thread_id == thread.thread_id)
