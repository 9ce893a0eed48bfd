"""SQL of what has to hold between the assistant's tables and the memory's, which no key joins."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, column, delete, exists, select, table

from assistant.storage.contexts import context_messages, contexts, empty
from assistant.storage.model_log import model_calls
from assistant.storage.tool_log import tool_calls
from memory_engine.storage.invariants import Mend, Rule

_messages = table("chat_messages", column("namespace_id"), column("message_id"))
#: Calls that an application makes by itself, outside of a turn, name no message.
_DIRECT = "direct/%"


def _gone(of: Table) -> ColumnElement[bool]:
    """The message that a row names is not there."""
    same = (_messages.c.namespace_id == of.c.namespace_id, _messages.c.message_id == of.c.message_id)
    return ~exists().where(*same)


def _holding_gone() -> Select[*tuple[Any, ...]]:
    same = and_(
        contexts.c.namespace_id == context_messages.c.namespace_id,
        contexts.c.context_id == context_messages.c.context_id,
    )
    query = select(contexts.c.namespace_id, contexts.c.context_id).join(context_messages, same)
    # A person may remove a note: the prompts that held it stay as they were sent.
    is_note = context_messages.c.message_id.startswith("note_", autoescape=True)
    return query.where(contexts.c.erased_at.is_(None), _gone(context_messages), ~is_note).distinct()


def _delete(of: Table, *names: str) -> Mend:
    def mend(db: Connection, rows: Sequence[Any], _now: int) -> None:
        for row in rows:
            columns: list[Column[Any]] = [of.c[name] for name in names]
            db.execute(delete(of).where(*(each == getattr(row, each.name) for each in columns)))

    return mend


def _empty(db: Connection, rows: Sequence[Any], now: int) -> None:
    for row in rows:
        empty(db, row.namespace_id, row.context_id, now)


def _log(name: str, of: Table) -> Rule:
    return Rule(
        name=name,
        holds="every logged call belongs to a message",
        wrong="logged calls belong to messages that are gone",
        query=select(of.c.namespace_id, of.c.log_id).where(_gone(of), of.c.message_id.not_like(_DIRECT)),
        mend=_delete(of, "namespace_id", "log_id"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        name="prompts",
        holds="no kept prompt holds a message that is gone",
        wrong="kept prompts hold messages that are gone",
        query=_holding_gone(),
        mend=_empty,
    ),
    Rule(
        name="prompt-messages",
        holds="every message of a prompt belongs to one that is kept",
        wrong="rows name prompts that are gone",
        query=select(
            context_messages.c.namespace_id, context_messages.c.message_id, context_messages.c.context_id
        ).where(
            ~exists().where(
                contexts.c.namespace_id == context_messages.c.namespace_id,
                contexts.c.context_id == context_messages.c.context_id,
            )
        ),
        mend=_delete(context_messages, "namespace_id", "message_id", "context_id"),
    ),
    _log("tool-log", tool_calls),
    _log("model-log", model_calls),
)
