"""SQL of the calls of tools: each is a row before it is made, so that none is made twice."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)

from assistant.storage.contexts import metadata
from memory_engine import MemoryEngine, Page, Scope
from memory_engine.models import ScopeKey

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("log_id", String(256), primary_key=True),
    Column("scope_id", Integer, nullable=False),
    Column("conversation_id", String(256), nullable=False),
    #: The assistant's message that asks for it.
    Column("message_id", String(256), nullable=False),
    #: The model's id of the call.
    Column("call_id", String(256), nullable=False),
    Column("tool", String(256), nullable=False),
    Column("agent", String(256), nullable=False),
    #: As the model wrote them.
    Column("arguments", Text, nullable=False),
    #: Of the calls of this tool in the turn, which it is.
    Column("attempt", Integer, nullable=False),
    #: started, ok or failed.
    Column("status", String(16), nullable=False),
    #: The error's code, of a failed call.
    Column("error", String(64)),
    Column("output", Text),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    UniqueConstraint("namespace_id", "message_id", "call_id"),
    Index("ix_tool_calls_time", "namespace_id", "scope_id", "started_at"),
)
_IN_LIST = 500
#: How an output names the messages that it holds.
_MESSAGE_ID = re.compile(r'"message_id": ?"([^"]+)"')


def start_call(engine: MemoryEngine, scope: Scope, row: dict[str, Any]) -> bool:
    """Note that a call is about to be made; False when it was noted before, and must not be made again."""
    with engine.database.write() as db:
        key = engine.ensure_scope(db, scope)
        here = (tool_calls.c.namespace_id == key.namespace_id, tool_calls.c.message_id == row["message_id"])
        if db.execute(select(tool_calls.c.log_id).where(*here, tool_calls.c.call_id == row["call_id"])).first():
            return False
        values = {"namespace_id": key.namespace_id, "scope_id": key.scope_id, "status": "started"}
        db.execute(insert(tool_calls).values(**values, **row))
    return True


def end_call(engine: MemoryEngine, namespace: str, log_id: str, outcome: dict[str, Any]) -> None:
    """Note how a call ended: status, error, output, ended_at (microseconds)."""
    with engine.database.write() as db:
        namespace_id = engine.find_namespace(db, namespace)
        here = (tool_calls.c.namespace_id == namespace_id, tool_calls.c.log_id == log_id)
        db.execute(update(tool_calls).where(*here).values(**outcome))


def logged_call(engine: MemoryEngine, namespace: str, message_id: str, call_id: str) -> dict[str, Any] | None:
    """The row of a call that a message asked for, or None."""
    with engine.database.read() as db:
        namespace_id = engine.find_namespace(db, namespace)
        here = (tool_calls.c.namespace_id == namespace_id, tool_calls.c.message_id == message_id)
        row = db.execute(select(tool_calls).where(*here, tool_calls.c.call_id == call_id)).mappings().first()
    return None if row is None else dict(row)


def list_calls(
    engine: MemoryEngine, scope: Scope, page: Page, **wanted: str | None
) -> tuple[list[dict[str, Any]], bool]:
    """One page of a scope's calls, by when they began, and whether more follow.

    Args:
        engine: the memory.
        scope: whose calls.
        page: the part of the list; `after` is a log_id.
        wanted: values that columns must have, such as `tool` or `status`; None for any.
    """
    with engine.database.read() as db:
        key = engine.find_scope(db, scope)
        if key is None:
            return [], False
        here = [tool_calls.c.namespace_id == key.namespace_id, tool_calls.c.scope_id == key.scope_id]
        here += [tool_calls.c[name] == value for name, value in wanted.items() if value is not None]
        order = (tool_calls.c.started_at, tool_calls.c.log_id)
        query = select(tool_calls).where(*here)
        if page.after is not None:
            last = db.execute(select(*order).where(*here, tool_calls.c.log_id == page.after)).first()
            if last is None:
                return [], False
            before = (order[0] == last.started_at) & (
                order[1] > last.log_id if page.ascending else order[1] < last.log_id
            )
            query = query.where((order[0] > last.started_at if page.ascending else order[0] < last.started_at) | before)
        ordered = query.order_by(*(column if page.ascending else column.desc() for column in order))
        rows = [dict(row) for row in db.execute(ordered.limit(page.limit + 1)).mappings()]
    return rows[: page.limit], len(rows) > page.limit


def erase_calls(db: Connection, key: ScopeKey, message_ids: Sequence[str]) -> int:
    """Remove the calls that these messages asked for, and return how many there were."""
    erased = 0
    for start in range(0, len(message_ids), _IN_LIST):
        some = tool_calls.c.message_id.in_(message_ids[start : start + _IN_LIST])
        erased += db.execute(delete(tool_calls).where(tool_calls.c.namespace_id == key.namespace_id, some)).rowcount
    return erased


def redact_calls(db: Connection, key: ScopeKey, tool: str, message_ids: Sequence[str], left: str) -> int:
    """Put `left` in place of what a tool was asked and gave, where that names one of these messages; how many."""
    here = (tool_calls.c.namespace_id == key.namespace_id, tool_calls.c.scope_id == key.scope_id)
    rows = db.execute(select(tool_calls.c.log_id, tool_calls.c.output).where(*here, tool_calls.c.tool == tool))
    wanted = set(message_ids)
    found = [log_id for log_id, output in rows if wanted.intersection(_MESSAGE_ID.findall(output or ""))]
    for start in range(0, len(found), _IN_LIST):
        some = tool_calls.c.log_id.in_(found[start : start + _IN_LIST])
        db.execute(update(tool_calls).where(*here, some).values(arguments=left, output=left))
    return len(found)


def erase_scope(db: Connection, key: ScopeKey) -> int:
    """Remove all calls of a scope, and return how many there were."""
    here = (tool_calls.c.namespace_id == key.namespace_id, tool_calls.c.scope_id == key.scope_id)
    return db.execute(delete(tool_calls).where(*here)).rowcount
