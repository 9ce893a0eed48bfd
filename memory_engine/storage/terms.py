"""SQL of the term ids, from which a scope's lexical index and catalogue are built."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from memory_engine.models import Message, ScopeKey
from memory_engine.storage.messages import (
    ITS_THREAD,
    NOT_PRUNED,
    NOT_QUARANTINED,
    Derived,
    by_seqs,
    its_message,
    term_columns,
)
from memory_engine.storage.schema import AssistantThread, ChatMessage, MessageTerms

_CURRENT = its_message(MessageTerms) & (MessageTerms.version == ChatMessage.version)
_READ_AFTER = (
    select(
        ChatMessage.seq,
        ChatMessage.thread_id,
        AssistantThread.conversation_id,
        ChatMessage.role,
        ChatMessage.name,
        ChatMessage.agent,
        ChatMessage.created_at,
        MessageTerms.words,
        MessageTerms.asks,
        MessageTerms.terms,
    )
    .join(MessageTerms, _CURRENT)
    .join(AssistantThread, ITS_THREAD)
    .where(ChatMessage.namespace_id == bindparam("namespace_id"), ChatMessage.scope_id == bindparam("scope_id"))
    .where(ChatMessage.seq > bindparam("after"), NOT_PRUNED)
    .order_by(ChatMessage.seq)
    .execution_options(yield_per=5_000)
)


def read_after(db: Connection, key: ScopeKey, seq: int) -> Iterator[Row[*tuple[Any, ...]]]:
    """The indexed messages after `seq`, in order.

    Each row has seq, thread_id, conversation_id, role, name, agent, created_at (microseconds), words, asks, terms.
    """
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    return iter(db.execute(_READ_AFTER, {**here, "after": seq}))


def without_terms(db: Connection, key: ScopeKey) -> list[Message]:
    """The messages that recall should find and that have no term row."""
    query = (
        select(ChatMessage.seq)
        .join(AssistantThread, ITS_THREAD)
        .outerjoin(MessageTerms, _CURRENT)
        .where(NOT_QUARANTINED, ChatMessage.namespace_id == key.namespace_id, ChatMessage.scope_id == key.scope_id)
        .where(ChatMessage.recallable, ChatMessage.content != "", MessageTerms.seq.is_(None))
        .order_by(ChatMessage.seq)
    )
    found = by_seqs(db, key, list(db.execute(query).scalars()))
    return [message for message in found.values() if message.text.strip()]


def insert_terms(db: Connection, key: ScopeKey, rows: Sequence[tuple[Message, Derived]]) -> None:
    """Write the rows of these messages anew."""
    place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    for message, derived in rows:
        here = (MessageTerms.namespace_id == key.namespace_id, MessageTerms.scope_id == key.scope_id)
        db.execute(delete(MessageTerms).where(*here, MessageTerms.seq == message.seq))
        columns = {**place, "seq": message.seq, "version": message.version, **term_columns(derived)}
        db.execute(insert(MessageTerms).values(**columns))
