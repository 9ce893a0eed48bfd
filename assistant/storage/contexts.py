"""SQL of assembled prompts: the bytes that were sent, and the account of them."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table, Text, insert, select

from assistant.errors import ContextNotFound
from memory_engine import MemoryEngine, Scope

metadata = MetaData()
contexts = Table(
    "contexts",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("context_id", String(256), primary_key=True),
    Column("scope_id", Integer, nullable=False),
    Column("conversation_id", String(256), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("manifest", JSON, nullable=False),
    #: The serialised messages, byte for byte.
    Column("messages", Text, nullable=False),
)


def save_context(engine: MemoryEngine, scope: Scope, row: dict[str, Any]) -> None:
    """Keep a prompt: context_id, conversation_id, created_at (microseconds), tokens, manifest, messages."""
    with engine.database.write() as db:
        key = engine.ensure_scope(db, scope)
        db.execute(insert(contexts).values(namespace_id=key.namespace_id, scope_id=key.scope_id, **row))


def load_context(engine: MemoryEngine, namespace: str, context_id: str) -> dict[str, Any]:
    """A kept prompt of the namespace.

    Raises:
        ContextNotFound: there is none of that id.
    """
    with engine.database.read() as db:
        namespace_id = engine.find_namespace(db, namespace)
        here = (contexts.c.namespace_id == namespace_id, contexts.c.context_id == context_id)
        row = db.execute(select(contexts).where(*here)).mappings().first()
    if row is None:
        raise ContextNotFound(f"There is no context {context_id!r}.", param="manifest_id")
    return dict(row)
