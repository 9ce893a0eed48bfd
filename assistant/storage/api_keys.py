"""SQL of API keys: the hash of each, whose memory it opens, and until when."""

from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, insert, select, update

from assistant.storage.contexts import metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(64), primary_key=True),
    #: SHA-256 of the whole key, in hexadecimal.
    Column("hash", String(64), nullable=False, unique=True),
    #: By name, because a key may be made before anything was said there.
    Column("namespace", String(256), nullable=False),
    Column("name", String(256), nullable=False),
    Column("prefix", String(16), nullable=False),
    #: Joined by commas.
    Column("rights", String(64), nullable=False),
    #: None for what the settings say.
    Column("requests_per_minute", Integer),
    #: Microseconds.
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("ix_api_keys_namespace", "namespace", "created_at"),
)
_SHOWN = [column for column in api_keys.c if column.name != "hash"]


def save(db: Connection, row: dict[str, Any]) -> None:
    """Keep a key."""
    db.execute(insert(api_keys).values(**row))


def by_hash(db: Connection, digest: str) -> dict[str, Any] | None:
    """The key of that hash, whatever became of it, or None."""
    row = db.execute(select(*_SHOWN).where(api_keys.c.hash == digest)).mappings().first()
    return None if row is None else dict(row)


def of_namespace(db: Connection, namespace: str | None) -> list[dict[str, Any]]:
    """The keys of a namespace, or of all, oldest first."""
    query = select(*_SHOWN).order_by(api_keys.c.created_at, api_keys.c.key_id)
    if namespace is not None:
        query = query.where(api_keys.c.namespace == namespace)
    return [dict(row) for row in db.execute(query).mappings()]


def revoke(db: Connection, key_id: str, namespace: str | None, now: int) -> dict[str, Any] | None:
    """Note that a key is no longer to be taken, and return it; None where the namespace has none of that id.

    Args:
        db: an open transaction.
        key_id: the key.
        namespace: only a key of this one; None for any.
        now: microseconds; a key that was revoked before keeps its time.
    """
    here = [api_keys.c.key_id == key_id]
    if namespace is not None:
        here.append(api_keys.c.namespace == namespace)
    db.execute(update(api_keys).where(*here, api_keys.c.revoked_at.is_(None)).values(revoked_at=now))
    row = db.execute(select(*_SHOWN).where(*here)).mappings().first()
    return None if row is None else dict(row)
