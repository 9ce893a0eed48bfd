"""SQL of the calls of models: what each took and cost, and of the versions of agents that made them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    cast,
    delete,
    false,
    func,
    insert,
    select,
)

from assistant.storage.contexts import metadata
from memory_engine import MemoryEngine, Scope
from memory_engine.models import ScopeKey

model_calls = Table(
    "model_calls",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("log_id", String(256), primary_key=True),
    Column("scope_id", Integer, nullable=False),
    Column("conversation_id", String(256), nullable=False),
    #: What the person said that began the turn.
    Column("message_id", String(256), nullable=False),
    Column("agent", String(256), nullable=False),
    Column("model", String(256), nullable=False),
    #: The error's code, or None when it answered.
    Column("error", String(64)),
    #: Microseconds.
    Column("started_at", BigInteger, nullable=False),
    Column("latency", BigInteger, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    #: Millionths of a dollar; None where the price is not known.
    Column("cost", BigInteger),
    #: What the whole history would have taken in its place.
    Column("history_tokens", BigInteger, nullable=False),
    #: Whether the tokens were counted here, because the server did not say them.
    Column("estimated", Boolean, nullable=False, server_default=false()),
    Index("ix_model_calls_time", "namespace_id", "started_at"),
    Index("ix_model_calls_conversation", "namespace_id", "conversation_id"),
    Index("ix_model_calls_message", "namespace_id", "message_id"),
)
agent_versions = Table(
    "agent_versions",
    metadata,
    Column("agent", String(256), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("first_used_at", BigInteger, nullable=False),
    Column("prompt", Text, nullable=False),
)
_IN_LIST = 500
#: What the rows of a report of costs can stand for.
GROUPS = ("agent", "model", "conversation", "day")
_DAY = 24 * 3600 * 1_000_000


def save_calls(engine: MemoryEngine, scope: Scope, rows: Sequence[dict[str, Any]]) -> None:
    """Keep what calls of models took."""
    if not rows:
        return
    with engine.database.write() as db:
        key = engine.ensure_scope(db, scope)
        place = {"namespace_id": key.namespace_id, "scope_id": key.scope_id}
        db.execute(insert(model_calls), [{**place, **row} for row in rows])


def spent(engine: MemoryEngine, scope: Scope, since: int) -> tuple[int, int]:
    """Millionths of a dollar since a time (microseconds): of the namespace, and of the scope alone."""
    with engine.database.read() as db:
        key = engine.find_scope(db, scope)
        namespace_id = engine.find_namespace(db, scope.namespace)
        here = (model_calls.c.namespace_id == namespace_id, model_calls.c.started_at >= since)
        query = select(func.coalesce(func.sum(model_calls.c.cost), 0)).where(*here)
        of_all = db.execute(query).scalar_one()
        of_scope = 0 if key is None else db.execute(query.where(model_calls.c.scope_id == key.scope_id)).scalar_one()
    return int(of_all), int(of_scope)


def last_history_tokens(engine: MemoryEngine, scope: Scope, conversation_id: str) -> int | None:
    """What the whole history took when the conversation's last call was made, or None before the first."""
    with engine.database.read() as db:
        key = engine.find_scope(db, scope)
        if key is None:
            return None
        here = (model_calls.c.namespace_id == key.namespace_id, model_calls.c.conversation_id == conversation_id)
        query = select(func.max(model_calls.c.history_tokens)).where(*here, model_calls.c.scope_id == key.scope_id)
        return db.execute(query).scalar()


def costs(engine: MemoryEngine, scope: Scope, start: int | None, end: int | None, by: str) -> list[dict[str, Any]]:
    """Calls, those that failed or were estimated, tokens and cost of a scope, by one of GROUPS.

    Args:
        engine: the memory.
        scope: whose calls.
        start: microseconds; from then on.
        end: microseconds; before then.
        by: one of GROUPS.
    """
    group: Any = {
        "agent": model_calls.c.agent,
        "model": model_calls.c.model,
        "conversation": model_calls.c.conversation_id,
        "day": model_calls.c.started_at - model_calls.c.started_at % _DAY,
    }[by]
    names = ("prompt_tokens", "completion_tokens", "cost", "history_tokens")
    total = [func.sum(model_calls.c[name]).label(name) for name in names]
    counts = [
        func.count().label("calls"),
        func.count(model_calls.c.error).label("failed"),
        func.sum(cast(model_calls.c.estimated, Integer)).label("estimated"),
    ]
    with engine.database.read() as db:
        key = engine.find_scope(db, scope)
        if key is None:
            return []
        here = [model_calls.c.namespace_id == key.namespace_id, model_calls.c.scope_id == key.scope_id]
        here += [] if start is None else [model_calls.c.started_at >= start]
        here += [] if end is None else [model_calls.c.started_at < end]
        query = select(group.label("key"), *counts, *total).where(*here).group_by(group).order_by(group)
        return [dict(row) for row in db.execute(query).mappings()]


def note_version(engine: MemoryEngine, agent: str, version: str, prompt: str, now: int) -> None:
    """Keep an agent's version when it is first used; `now` in microseconds."""
    with engine.database.read() as db:
        if db.execute(_version(agent, version)).first() is not None:
            return
    with engine.database.write() as db:
        if db.execute(_version(agent, version)).first() is None:
            row = {"agent": agent, "version": version, "first_used_at": now, "prompt": prompt}
            db.execute(insert(agent_versions).values(**row))


def versions(engine: MemoryEngine, agent: str) -> list[dict[str, Any]]:
    """The versions of an agent that were used, newest first."""
    with engine.database.read() as db:
        query = select(agent_versions).where(agent_versions.c.agent == agent)
        return [dict(row) for row in db.execute(query.order_by(agent_versions.c.first_used_at.desc())).mappings()]


def erase_model_calls(db: Connection, key: ScopeKey, message_ids: Sequence[str]) -> int:
    """Remove what was noted of the turns that these messages began, and return how many calls there were."""
    erased = 0
    for start in range(0, len(message_ids), _IN_LIST):
        some = model_calls.c.message_id.in_(message_ids[start : start + _IN_LIST])
        erased += db.execute(delete(model_calls).where(model_calls.c.namespace_id == key.namespace_id, some)).rowcount
    return erased


def _version(agent: str, version: str) -> Any:
    return select(agent_versions.c.agent).where(agent_versions.c.agent == agent, agent_versions.c.version == version)


def erase_scope(db: Connection, key: ScopeKey) -> int:
    """Remove all calls of a scope, and return how many there were."""
    here = (model_calls.c.namespace_id == key.namespace_id, model_calls.c.scope_id == key.scope_id)
    return db.execute(delete(model_calls).where(*here)).rowcount
