"""SQL of assembled prompts: the bytes that were sent, and the account of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from assistant.errors import ContextErased, ContextNotFound
from assistant.packing import Block
from memory_engine import MemoryEngine, Message, Scope
from memory_engine.models import ScopeKey

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
    #: When something in it was erased, and it with that; microseconds.
    Column("erased_at", BigInteger),
    Column("receipt_id", String(256)),
)
#: Which messages each prompt holds, and which notes that were made of messages.
context_messages = Table(
    "context_messages",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("message_id", String(256), primary_key=True),
    Column("context_id", String(256), primary_key=True),
)
#: Ids that one statement takes.
_IN_LIST = 500
#: What is left of a prompt that held what was erased.
_NOTHING: dict[str, Any] = {"messages": "", "manifest": {"items": []}}


def save_context(engine: MemoryEngine, scope: Scope, row: dict[str, Any]) -> None:
    """Keep a prompt: context_id, conversation_id, created_at (microseconds), tokens, manifest, messages."""
    with engine.database.write() as db:
        key = engine.ensure_scope(db, scope)
        db.execute(insert(contexts).values(namespace_id=key.namespace_id, scope_id=key.scope_id, **row))
        items = row["manifest"]["items"]
        held = {name for item in items for name in item["message_ids"]}
        held |= {item["note_id"] for item in items if "note_id" in item}
        place = {"namespace_id": key.namespace_id, "context_id": row["context_id"]}
        if held:
            db.execute(insert(context_messages), [{**place, "message_id": name} for name in held])


def load_context(engine: MemoryEngine, scope: Scope, context_id: str) -> dict[str, Any]:
    """A kept prompt of the scope.

    Raises:
        ContextNotFound: there is none of that id.
        ContextErased: something in it was erased.
    """
    with engine.database.read() as db:
        key = engine.find_scope(db, scope)
        row = None if key is None else _find(db, key, context_id)
    if row is None:
        raise ContextNotFound(f"There is no context {context_id!r}.", param="manifest_id")
    if row["erased_at"] is not None:
        receipt = "by a retention policy" if row["receipt_id"] is None else f"with the receipt {row['receipt_id']}"
        text = f"Something in the context {context_id!r} was removed {receipt}."
        raise ContextErased(text, param="manifest_id")
    return dict(row)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptPrompt:
    """A kept prompt, as far as a turn that goes on uses it."""

    context_id: str
    messages: list[dict[str, Any]]
    block: Block | None


def newest_for(engine: MemoryEngine, scope: Scope, said: Message) -> KeptPrompt | None:
    """The newest prompt that was assembled to answer this message; None where there is none, or it was erased."""
    with engine.database.read() as db:
        key = engine.find_scope(db, scope)
        if key is None:
            return None
        holding = (
            context_messages.c.namespace_id == key.namespace_id,
            context_messages.c.message_id == said.message_id,
        )
        same = (contexts.c.namespace_id == context_messages.c.namespace_id) & (
            contexts.c.context_id == context_messages.c.context_id
        )
        query = select(contexts.c.context_id, contexts.c.manifest, contexts.c.messages).join(context_messages, same)
        here = (contexts.c.scope_id == key.scope_id, contexts.c.erased_at.is_(None))
        rows = db.execute(query.where(*holding, *here).order_by(contexts.c.created_at.desc())).mappings().all()
    for row in rows:
        asked = [item["message_ids"] for item in row["manifest"]["items"] if item["kind"] == "user"]
        if asked == [[said.message_id]]:
            block = row["manifest"]["block"]
            shown = None if block is None else Block(**block)
            return KeptPrompt(context_id=row["context_id"], messages=json.loads(row["messages"]), block=shown)
    return None


def empty(db: Connection, namespace_id: int, context_id: str, now: int) -> None:
    """Empty one prompt, because something in it is gone; `now` in microseconds."""
    here = (contexts.c.namespace_id == namespace_id, contexts.c.context_id == context_id)
    db.execute(update(contexts).where(*here).values(**_NOTHING, erased_at=now))


def _find(db: Connection, key: ScopeKey, context_id: str) -> RowMapping | None:
    here = (contexts.c.namespace_id == key.namespace_id, contexts.c.scope_id == key.scope_id)
    return db.execute(select(contexts).where(*here, contexts.c.context_id == context_id)).mappings().first()


def erase_contexts(
    db: Connection, key: ScopeKey, message_ids: Sequence[str], *, receipt_id: str | None, now: int
) -> int:
    """Empty the prompts that hold one of these messages or notes, and return how many; `now` in microseconds."""
    emptied = 0
    for start in range(0, len(message_ids), _IN_LIST):
        some = context_messages.c.message_id.in_(message_ids[start : start + _IN_LIST])
        here = context_messages.c.namespace_id == key.namespace_id
        holding = select(context_messages.c.context_id).where(here, some)
        these = (contexts.c.namespace_id == key.namespace_id, contexts.c.context_id.in_(holding))
        gone = {**_NOTHING, "erased_at": now, "receipt_id": receipt_id}
        emptied += db.execute(update(contexts).where(*these, contexts.c.erased_at.is_(None)).values(**gone)).rowcount
    return emptied


def erase_scope(db: Connection, key: ScopeKey) -> int:
    """Remove all prompts of a scope, and return how many there were."""
    here = (contexts.c.namespace_id == key.namespace_id, contexts.c.scope_id == key.scope_id)
    of_scope = select(contexts.c.context_id).where(*here)
    held = (context_messages.c.namespace_id == key.namespace_id, context_messages.c.context_id.in_(of_scope))
    db.execute(delete(context_messages).where(*held))
    return db.execute(delete(contexts).where(*here)).rowcount
