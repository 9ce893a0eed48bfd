"""SQL of what is kept out of recall: a mark on a message, or on a conversation for all that is said in it."""

from typing import Any

from sqlalchemy import Connection, update

from memory_engine.models import Held, ScopeKey, to_micros
from memory_engine.storage.schema import AssistantThread, ChatMessage
from memory_engine.storage.threads import Thread


def mark_message(db: Connection, key: ScopeKey, seq: int, held: Held | None) -> None:
    """Quarantine a message, or with None take that back."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, ChatMessage.seq == seq)
    db.execute(update(ChatMessage).where(*here).values(_columns(held)))


def mark_conversation(db: Connection, thread: Thread, held: Held | None) -> None:
    """Quarantine a conversation, or with None take that back."""
    here = (AssistantThread.namespace_id == thread.key.namespace_id, AssistantThread.thread_id == thread.thread_id)
    db.execute(update(AssistantThread).where(*here).values(_columns(held)))


def _columns(held: Held | None) -> dict[str, Any]:
    if held is None:
        return {"quarantined_at": None, "quarantine_reason": None}
    return {"quarantined_at": to_micros(held.since), "quarantine_reason": held.reason}
