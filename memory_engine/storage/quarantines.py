"""SQL of what is kept out of recall: a mark on a message, or on a conversation for all that is said in it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select, update

from memory_engine.models import Held, Message, ScopeKey, from_micros, to_micros
from memory_engine.storage.messages import ITS_THREAD, NOT_QUARANTINED
from memory_engine.storage.schema import AssistantThread, ChatMessage, MessageQuote
from memory_engine.storage.threads import Thread


def mark_message(db: Connection, key: ScopeKey, seq: int, held: Held | None) -> None:
    """Quarantine a message, or with None take that back."""
    here = (ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id, ChatMessage.seq == seq)
    db.execute(update(ChatMessage).where(*here).values(_columns(held)))


def mark_conversation(db: Connection, thread: Thread, held: Held | None) -> None:
    """Quarantine a conversation, or with None take that back."""
    here = (AssistantThread.namespace_id == thread.key.namespace_id, AssistantThread.thread_id == thread.thread_id)
    db.execute(update(AssistantThread).where(*here).values(_columns(held)))


def held_by_quotes(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, Held]:
    """Those of a conversation's messages that repeat what is quarantined, by place, with the quarantine of that."""
    since = func.coalesce(ChatMessage.quarantined_at, AssistantThread.quarantined_at).label("since")
    reason = func.coalesce(ChatMessage.quarantine_reason, AssistantThread.quarantine_reason).label("reason")
    same = (ChatMessage.namespace_id == MessageQuote.namespace_id) & (ChatMessage.message_id == MessageQuote.quoted_id)
    query = select(MessageQuote.seq, since, reason).join(ChatMessage, same).join(AssistantThread, ITS_THREAD)
    here = (MessageQuote.namespace_id == key.namespace_id, MessageQuote.scope_id == key.scope_id)
    rows = db.execute(query.where(*here, MessageQuote.seq.in_(seqs), ~NOT_QUARANTINED))
    return {row.seq: Held(since=from_micros(row.since), reason=row.reason) for row in rows}


def with_those_they_repeat(db: Connection, key: ScopeKey, found: list[Message]) -> list[Message]:
    """These messages of a conversation; what repeats a quarantined message has its quarantine here."""
    repeating = [message.seq for message in found if not message.recallable]  # only such messages quote others
    held = held_by_quotes(db, key, repeating) if repeating else {}
    return [replace(m, quarantine=held[m.seq]) if m.seq in held and not m.quarantined else m for m in found]


def _columns(held: Held | None) -> dict[str, Any]:
    if held is None:
        return {"quarantined_at": None, "quarantine_reason": None}
    return {"quarantined_at": to_micros(held.since), "quarantine_reason": held.reason}
