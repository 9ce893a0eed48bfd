"""SQL of what policies remove of the assistant's tables: prompts, and the logs of tools and models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, Text, cast, delete, func, select

from assistant.storage.contexts import context_messages, contexts
from assistant.storage.model_log import model_calls
from assistant.storage.tool_log import tool_calls
from memory_engine.models import ScopeKey
from memory_engine.retention import Columns, Rows
from memory_engine.storage.prunes import Activities, size_of


@dataclass(frozen=True, kw_only=True, slots=True)
class TableStratum:
    """A table whose rows belong to conversations."""

    table: Table
    #: What names a row within its namespace.
    name: Column[Any]
    #: When it was made; microseconds.
    made_at: Column[Any]
    texts: tuple[Column[Any], ...]
    #: A further table whose rows belong to those of this one.
    with_it: Table | None = None

    def rows(self, db: Connection, key: ScopeKey, agent: str | None, active: Activities) -> Rows:
        """The scope's rows, or those of one agent."""
        rows = Columns()
        size = size_of(db, *(cast(column, Text) for column in self.texts)).label("size")
        columns = (self.name.label("name"), self.made_at.label("at"), self.table.c.conversation_id, size)
        query = select(*columns).where(*self._here(key))
        if agent is not None:
            query = query.where(self.table.c.agent == agent)
        for row in db.execute(query):
            conversation = active.get(row.conversation_id)  # a prompt may be of one that was never opened
            rows.add(
                row.name, at=row.at, size=row.size, used_at=row.at,
                active_at=row.at if conversation is None else conversation.active_at,
                protected=conversation is not None and conversation.on_hold,
            )  # fmt: skip
        return Rows.of(rows)

    def remove(self, db: Connection, key: ScopeKey, ids: Sequence[str]) -> int:
        """Remove rows by their names, and return how many were there."""
        if self.with_it is not None:
            theirs = self.with_it.c[self.name.name].in_(ids)
            db.execute(delete(self.with_it).where(self.with_it.c.namespace_id == key.namespace_id, theirs))
        return db.execute(delete(self.table).where(*self._here(key), self.name.in_(ids))).rowcount

    def _here(self, key: ScopeKey) -> tuple[ColumnElement[bool], ...]:
        return (self.table.c.namespace_id == key.namespace_id, self.table.c.scope_id == key.scope_id)


STRATA = {
    "contexts": TableStratum(
        table=contexts, name=contexts.c.context_id, made_at=contexts.c.created_at,
        texts=(contexts.c.messages, contexts.c.manifest), with_it=context_messages,
    ),
    "tool_calls": TableStratum(
        table=tool_calls, name=tool_calls.c.log_id, made_at=tool_calls.c.started_at,
        texts=(tool_calls.c.arguments, tool_calls.c.output),
    ),
    "model_calls": TableStratum(
        table=model_calls, name=model_calls.c.log_id, made_at=model_calls.c.started_at,
        texts=(model_calls.c.log_id, model_calls.c.conversation_id, model_calls.c.message_id),
    ),
}  # fmt: skip


def last_in_prompts(db: Connection, key: ScopeKey) -> dict[str, int]:
    """When each message of the scope last stood in a prompt that is kept, by its id; microseconds."""
    same = (contexts.c.namespace_id == context_messages.c.namespace_id) & (
        contexts.c.context_id == context_messages.c.context_id
    )
    newest = func.max(contexts.c.created_at).label("at")
    query = select(context_messages.c.message_id, newest).join(contexts, same).group_by(context_messages.c.message_id)
    here = (contexts.c.namespace_id == key.namespace_id, contexts.c.scope_id == key.scope_id)
    return {row.message_id: row.at for row in db.execute(query.where(*here))}
