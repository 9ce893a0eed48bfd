"""SQL of messages for an erasure, which may pass over none of them, whatever is in their rows."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Connection, Text, bindparam, select, type_coerce
from sqlalchemy.exc import DBAPIError

from memory_engine.models import Message, ScopeKey, from_micros
from memory_engine.storage.database import is_of_row, reading_any_text
from memory_engine.storage.messages import ITS_THREAD, by_seqs, in_lists
from memory_engine.storage.odd_values import number
from memory_engine.storage.schema import AssistantThread, ChatMessage

#: Microseconds of the last moment that is a date, rounded down.
_LAST = 253_000_000_000_000_000
_AS_TEXT = (
    select(
        *(
            type_coerce(column, Text).label(column.name) if isinstance(column.type, JSON) else column
            for column in ChatMessage.__table__.columns
        ),
        AssistantThread.conversation_id,
    )
    .join(AssistantThread, ITS_THREAD)
    .where(ChatMessage.namespace_id == bindparam("namespace_id"), ChatMessage.scope_id == bindparam("scope_id"))
    .where(ChatMessage.seq.in_(bindparam("seqs", expanding=True)))
)


def as_kept(db: Connection, key: ScopeKey, seqs: Sequence[int]) -> dict[int, Message]:
    """Return the messages at these places; what cannot be read in the row of a damaged one is given as a text."""
    try:
        return by_seqs(db, key, seqs)
    except Exception as exc:  # a damaged row raises anything
        if isinstance(exc, DBAPIError) and not is_of_row(exc):
            raise
    found: dict[int, Message] = {}
    here = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
    with reading_any_text(db):
        for some in in_lists(seqs):
            found.update((row.seq, _message(row)) for row in db.execute(_AS_TEXT, {**here, "seqs": some}))
    return found


def _message(row: Any) -> Message:
    return Message(
        message_id=row.message_id,
        version=int(number(row.version)),
        conversation_id=row.conversation_id,
        thread_id=row.thread_id,
        seq=row.seq,
        role=row.role,
        text=_text(row.content),
        parts=(_value(row.parts),),
        name=None if row.name is None else _text(row.name),
        agent=row.agent,
        tool_calls=(_value(row.tool_calls),),
        tool_call_id=row.tool_call_id,
        created_at=from_micros(int(min(_LAST, max(0, number(row.created_at))))),
        recorded_at=from_micros(int(min(_LAST, max(0, number(row.recorded_at))))),
        metadata={"": _value(row.metadata)},
        recallable=bool(row.recallable),
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _value(raw: Any) -> Any:
    try:
        return json.loads(raw) if isinstance(raw, str | bytes) else raw
    except (ValueError, RecursionError):
        return _text(raw)
