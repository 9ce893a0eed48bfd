"""SQL of the holds and quarantines of a whole store, whatever its schema: what a restore carries along."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, inspect, select

from memory_engine.models import Held, Scope, ScopeKey, from_micros
from memory_engine.storage.schema import AssistantThread, ChatMessage
from memory_engine.storage.threads import Thread


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """The hold or quarantine of a conversation, or the quarantine of a message."""

    scope: Scope
    #: The conversation's or the message's id.
    name: str
    #: Microseconds.
    held_at: int | None = None
    quarantine: Held | None = None


def of_conversations(db: Connection, named: Mapping[ScopeKey, Scope]) -> list[Mark]:
    """Return the holds and quarantines of conversations in these scopes."""
    if not _has_columns(db, "assistant_threads", "held_at", "quarantined_at", "quarantine_reason"):
        return []
    table = AssistantThread
    columns = (table.conversation_id, table.held_at, table.quarantined_at, table.quarantine_reason)
    query = select(table.namespace_id, table.scope_id, *columns)
    rows = db.execute(query.where(table.held_at.is_not(None) | table.quarantined_at.is_not(None)))
    return [
        Mark(scope=named[key], name=name, held_at=held_at, quarantine=_held(since, reason))
        for namespace_id, scope_id, name, held_at, since, reason in rows
        if (key := ScopeKey(namespace_id, scope_id)) in named
    ]


def of_messages(db: Connection, named: Mapping[ScopeKey, Scope]) -> list[Mark]:
    """Return the quarantines of single messages in these scopes."""
    if not _has_columns(db, "chat_messages", "quarantined_at", "quarantine_reason"):
        return []
    table = ChatMessage
    query = select(table.namespace_id, table.scope_id, table.message_id, table.quarantined_at, table.quarantine_reason)
    return [
        Mark(scope=named[key], name=name, quarantine=_held(since, reason))
        for namespace_id, scope_id, name, since, reason in db.execute(query.where(table.quarantined_at.is_not(None)))
        if (key := ScopeKey(namespace_id, scope_id)) in named
    ]


def is_held(db: Connection, thread: Thread) -> bool:
    """Whether the conversation is on hold."""
    here = (AssistantThread.namespace_id == thread.key.namespace_id, AssistantThread.thread_id == thread.thread_id)
    return db.execute(select(AssistantThread.held_at).where(*here)).scalar() is not None


def is_quarantined(db: Connection, key: ScopeKey, seq: int) -> bool:
    """Whether the message itself is quarantined; its conversation is not asked."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, ChatMessage.seq == seq)
    return db.execute(select(ChatMessage.quarantined_at).where(*here)).scalar() is not None


def _held(since: int | None, reason: str | None) -> Held | None:
    return None if since is None else Held(since=from_micros(since), reason=reason)


def _has_columns(db: Connection, table: str, *names: str) -> bool:
    database = inspect(db)
    return database.has_table(table) and set(names) <= {column["name"] for column in database.get_columns(table)}
