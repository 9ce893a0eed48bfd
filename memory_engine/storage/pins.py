"""SQL of what no policy touches: a mark on a message, or on a conversation for all that is said in it."""

from sqlalchemy import Connection, bindparam, select, update

from memory_engine.models import ScopeKey
from memory_engine.storage.schema import AssistantThread, ChatMessage
from memory_engine.storage.threads import Thread

# Asked at every recall, so built once.
_PINNED = (
    select(ChatMessage.seq)
    .where(ChatMessage.namespace_id == bindparam("namespace_id"), ChatMessage.scope_id == bindparam("scope_id"))
    .where(ChatMessage.pinned_at.is_not(None))
)


def pin(db: Connection, key: ScopeKey, seq: int, at: int | None) -> None:
    """Pin a message since a time in microseconds, or with None take that back."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, ChatMessage.seq == seq)
    db.execute(update(ChatMessage).where(*here).values(pinned_at=at))


def hold(db: Connection, thread: Thread, at: int | None) -> None:
    """Hold a conversation since a time in microseconds, or with None take that back."""
    here = (AssistantThread.namespace_id == thread.key.namespace_id, AssistantThread.thread_id == thread.thread_id)
    db.execute(update(AssistantThread).where(*here).values(held_at=at))


def pinned(db: Connection, key: ScopeKey) -> list[int]:
    """The places of a scope's pinned messages."""
    return list(db.execute(_PINNED, {"namespace_id": key.namespace_id, "scope_id": key.scope_id}).scalars())
