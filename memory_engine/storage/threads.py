"""SQL of conversations: the application's conversation_id and our thread_id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, delete, func, insert, select, update

from memory_engine.errors import ConversationNotFound
from memory_engine.models import Conversation, Held, Page, Scope, ScopeKey, from_micros
from memory_engine.storage.schema import AssistantThread, ChatMessage
from memory_engine.storage.scopes import NOBODY, find_namespace, find_scope, take_seqs


@dataclass(frozen=True, kw_only=True, slots=True)
class Thread:
    """The ids of a conversation and the scope that it belongs to."""

    thread_id: str
    conversation_id: str
    key: ScopeKey
    agent: str | None
    quarantined: bool = False
    #: The branch that was spoken on last, and how many there are besides the trunk.
    head: int = 0
    branches: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationFilter:
    """Which conversations of a scope are listed."""

    agent: str | None = None
    #: Only those with this in their conversation_id, or named in `besides`; None lists all.
    name_part: str | None = None
    besides: Sequence[str] = ()


# Asked several times in every turn, so built once.
_FIND = select(
    AssistantThread.thread_id,
    AssistantThread.scope_id,
    AssistantThread.agent,
    AssistantThread.quarantined_at,
    AssistantThread.head,
    AssistantThread.branches,
).where(
    AssistantThread.namespace_id == bindparam("namespace_id"),
    AssistantThread.conversation_id == bindparam("conversation_id"),
)


def find_thread(db: Connection, key: ScopeKey, conversation_id: str, param: str = "conversation_id") -> Thread | None:
    """The conversation's thread, or None when the namespace has no such conversation.

    Raises:
        ConversationNotFound: the conversation is another scope's; to this one it does not exist.
    """
    row = db.execute(_FIND, {"namespace_id": key.namespace_id, "conversation_id": conversation_id}).first()
    if row is None:
        return None
    if row.scope_id != key.scope_id:
        raise ConversationNotFound.of(conversation_id, param)
    return Thread(
        thread_id=row.thread_id, conversation_id=conversation_id, key=key, agent=row.agent,
        quarantined=row.quarantined_at is not None, head=row.head, branches=row.branches,
    )  # fmt: skip


def id_of(db: Connection, namespace_id: int, conversation_id: str) -> str | None:
    """The thread of a conversation of the namespace, whosever it is, or None."""
    row = db.execute(_FIND, {"namespace_id": namespace_id, "conversation_id": conversation_id}).first()
    return None if row is None else row.thread_id


def find_in(db: Connection, scope: Scope, conversation_id: str) -> Thread | None:
    """The thread of a scope's conversation, or None when the namespace has no such conversation.

    Raises:
        ConversationNotFound: the conversation is another scope's; to this one it does not exist.
    """
    key = find_scope(db, scope)
    if key is None:
        namespace_id = find_namespace(db, scope.namespace)
        if namespace_id is None:
            return None
        key = ScopeKey(namespace_id, NOBODY)
    return find_thread(db, key, conversation_id)


def owner_of(db: Connection, namespace_id: int, conversation_id: str) -> ScopeKey | None:
    """The scope that a conversation of the namespace belongs to, or None."""
    row = db.execute(_FIND, {"namespace_id": namespace_id, "conversation_id": conversation_id}).first()
    return None if row is None else ScopeKey(namespace_id, row.scope_id)


def by_id(db: Connection, key: ScopeKey, thread_id: str) -> Thread | None:
    """The scope's thread of that id, or None."""
    here = (*_in_scope(key), AssistantThread.thread_id == thread_id)
    columns = (
        AssistantThread.conversation_id, AssistantThread.agent, AssistantThread.quarantined_at, AssistantThread.head,
        AssistantThread.branches,
    )  # fmt: skip
    row = db.execute(select(*columns).where(*here)).first()
    if row is None:
        return None
    return Thread(
        thread_id=thread_id, conversation_id=row.conversation_id, key=key, agent=row.agent,
        quarantined=row.quarantined_at is not None, head=row.head, branches=row.branches,
    )  # fmt: skip


def open_thread(db: Connection, key: ScopeKey, row: dict[str, Any]) -> Thread:
    """Open a conversation; the row names its conversation_id, thread_id, agent, created_at, recorded_at."""
    opened = take_seqs(db, key, 1, of_messages=False)
    values = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "opened_seq": opened}
    db.execute(insert(AssistantThread).values(**values, **row))
    ids = {"thread_id": row["thread_id"], "conversation_id": row["conversation_id"]}
    return Thread(**ids, key=key, agent=row["agent"])


def set_agent(db: Connection, thread: Thread, agent: str) -> None:
    """Note which agent spoke last."""
    here = (
        AssistantThread.namespace_id == thread.key.namespace_id,
        AssistantThread.thread_id == thread.thread_id,
    )
    db.execute(update(AssistantThread).where(*here).values(agent=agent))


def of_scope(db: Connection, key: ScopeKey) -> list[Thread]:
    """The scope's conversations."""
    columns = (AssistantThread.thread_id, AssistantThread.conversation_id, AssistantThread.agent)
    rows = db.execute(select(*columns).where(*_in_scope(key)))
    return [
        Thread(thread_id=row.thread_id, conversation_id=row.conversation_id, key=key, agent=row.agent) for row in rows
    ]


def delete_thread(db: Connection, thread: Thread) -> None:
    """Remove a conversation whose messages are gone."""
    here = (
        AssistantThread.namespace_id == thread.key.namespace_id,
        AssistantThread.thread_id == thread.thread_id,
    )
    db.execute(delete(AssistantThread).where(*here))


def get_conversation(db: Connection, key: ScopeKey, conversation_id: str) -> Conversation:
    """One conversation of the scope.

    Raises:
        ConversationNotFound: there is none of that id in this scope.
    """
    query = _conversations(key).where(AssistantThread.conversation_id == conversation_id)
    row = db.execute(query).first()
    if row is None:
        raise ConversationNotFound.of(conversation_id)
    return _conversation(row)


def list_conversations(
    db: Connection, key: ScopeKey, page: Page, wanted: ConversationFilter
) -> tuple[list[Conversation], bool]:
    """One page in the order in which conversations were opened, and whether more follow.

    Raises:
        ConversationNotFound: `page.after` is none of the scope's.
    """
    order = AssistantThread.opened_seq
    query = _conversations(key).order_by(order if page.ascending else order.desc()).limit(page.limit + 1)
    if wanted.agent is not None:
        query = query.where(AssistantThread.agent == wanted.agent)
    if wanted.name_part is not None:
        by_name = AssistantThread.conversation_id.icontains(wanted.name_part, autoescape=True)
        query = query.where(by_name | AssistantThread.conversation_id.in_(wanted.besides))
    if page.after is not None:
        here = _in_scope(key)
        start = select(order).where(*here, AssistantThread.conversation_id == page.after)
        start_seq = db.execute(start).scalar()
        if start_seq is None:
            raise ConversationNotFound.of(page.after, "after")
        query = query.where(order > start_seq if page.ascending else order < start_seq)
    rows = [_conversation(row) for row in db.execute(query)]
    return rows[: page.limit], len(rows) > page.limit


def _in_scope(key: ScopeKey) -> tuple[ColumnElement[bool], ...]:
    return (AssistantThread.namespace_id == key.namespace_id, AssistantThread.scope_id == key.scope_id)


def _conversations(key: ScopeKey) -> Select[*tuple[Any, ...]]:
    said = (
        ChatMessage.namespace_id == AssistantThread.namespace_id,
        ChatMessage.thread_id == AssistantThread.thread_id,
        ChatMessage.pruned_at.is_(None),
        ChatMessage.inactive_at.is_(None),
    )
    count = select(func.count()).select_from(ChatMessage).where(*said).scalar_subquery()
    newest = select(func.max(ChatMessage.created_at)).where(*said).scalar_subquery()
    return select(
        AssistantThread.conversation_id,
        AssistantThread.thread_id,
        AssistantThread.agent,
        AssistantThread.created_at,
        AssistantThread.quarantined_at,
        AssistantThread.quarantine_reason,
        AssistantThread.held_at,
        count.label("messages"),
        newest.label("newest"),
    ).where(*_in_scope(key))


def _conversation(row: Row[*tuple[Any, ...]]) -> Conversation:
    return Conversation(
        conversation_id=row.conversation_id,
        thread_id=row.thread_id,
        agent=row.agent,
        created_at=from_micros(row.created_at),
        messages=row.messages,
        last_message_at=None if row.newest is None else from_micros(row.newest),
        quarantine=held(row.quarantined_at, row.quarantine_reason),
        on_hold=row.held_at is not None,
    )


def held(quarantined_at: int | None, reason: str | None) -> Held | None:
    """The quarantine that columns of a row tell of; the time in microseconds."""
    return None if quarantined_at is None else Held(since=from_micros(quarantined_at), reason=reason)
