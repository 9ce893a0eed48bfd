"""SQL of API keys: the hash of each, whose memory it opens, and until when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, insert, inspect, select, update

from assistant.storage.contexts import metadata
from memory_engine.storage.messages import in_lists

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
    #: The key that made this one. None where a command made it.
    Column("made_by", String(64)),
    Index("ix_api_keys_namespace", "namespace", "created_at"),
)
_SHOWN = [column for column in api_keys.c if column.name != "hash"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Validity:
    """Until when a key is valid (microseconds), and for what."""

    revoked_at: int | None
    expires_at: int | None
    #: The key's hash, namespace and rights.
    opens: tuple[str, str, str]
    requests_per_minute: int | None

    def is_valid(self, now: int) -> bool:
        """Whether the key opens its namespace at that time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def save(db: Connection, row: dict[str, Any]) -> None:
    """Keep a key."""
    db.execute(insert(api_keys).values(**row))


def by_hash(db: Connection, digest: str) -> dict[str, Any] | None:
    """The key of that hash, whatever became of it, or None."""
    row = db.execute(select(*_SHOWN).where(api_keys.c.hash == digest)).mappings().first()
    return None if row is None else dict(row)


def by_id(db: Connection, key_id: str) -> dict[str, Any] | None:
    """Return the key of that id, valid or not, or None."""
    row = db.execute(select(*_SHOWN).where(api_keys.c.key_id == key_id)).mappings().first()
    return None if row is None else dict(row)


def of_namespace(db: Connection, namespace: str | None) -> list[dict[str, Any]]:
    """The keys of a namespace, or of all, oldest first."""
    query = select(*_SHOWN).order_by(api_keys.c.created_at, api_keys.c.key_id)
    if namespace is not None:
        query = query.where(api_keys.c.namespace == namespace)
    return [dict(row) for row in db.execute(query).mappings()]


def revoke(db: Connection, key_id: str, namespace: str | None, now: int) -> dict[str, Any] | None:
    """Revoke a key and every key that it made, and return it. None where the namespace has no key of that id.

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
    if row is None:
        return None
    _revoke_made_by(db, [key_id], now)
    return dict(row)


def _revoke_made_by(db: Connection, makers: Sequence[str], now: int) -> None:
    """Revoke the keys that these keys made, the keys that those made, and so on."""
    while makers:
        made: list[str] = []
        for some in in_lists(makers):
            here = (api_keys.c.made_by.in_(some), api_keys.c.revoked_at.is_(None))
            made += db.execute(
                update(api_keys).where(*here).values(revoked_at=now).returning(api_keys.c.key_id)
            ).scalars()
        makers = made


def validities(db: Connection) -> dict[str, Validity] | None:
    """Return the validity of every key, by id. None where the database has no table of keys."""
    if not inspect(db).has_table(api_keys.name):
        return None
    table = api_keys.c  # without `made_by`, which a store of an earlier schema does not have
    columns = (table.hash, table.namespace, table.rights, table.requests_per_minute)
    rows = db.execute(select(table.key_id, table.revoked_at, table.expires_at, *columns))
    return {
        row.key_id: Validity(
            revoked_at=row.revoked_at, expires_at=row.expires_at, opens=(row.hash, row.namespace, row.rights),
            requests_per_minute=row.requests_per_minute,
        )
        for row in rows
    }  # fmt: skip


def restrict(db: Connection, before: Mapping[str, Validity], now: int) -> dict[str, int]:
    """Let restored keys open no more than they did in the store before, and return what changed.

    Args:
        db: the restore's transaction.
        before: the keys of the store before. A restored key that is not one of them, or that opens something else, is
            revoked.
        now: microseconds.
    """
    restored = validities(db) or {}
    counts = {"keys_revoked": 0, "keys_expire_earlier": 0, "keys_deleted": 0}
    for key_id, validity in restored.items():
        known = before.get(key_id)
        known = known if known is not None and known.opens == validity.opens else None
        lasting = _stricter(validity, known, now)
        values = {name: getattr(lasting, name) for name in ("revoked_at", "expires_at", "requests_per_minute")}
        db.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(**values))
        if lasting.revoked_at != validity.revoked_at:
            counts["keys_deleted" if known is None else "keys_revoked"] += 1
        elif lasting.expires_at != validity.expires_at:
            counts["keys_expire_earlier"] += 1
    _revoke_made_by(db, [key_id for key_id, each in (validities(db) or {}).items() if each.revoked_at is not None], now)
    missing = sum(each.is_valid(now) for key_id, each in before.items() if key_id not in restored)
    return {**counts, "keys_missing": missing}


def _stricter(restored: Validity, before: Validity | None, now: int) -> Validity:
    if before is None:
        return restored if restored.revoked_at is not None else replace(restored, revoked_at=now)
    ends = [at for at in (restored.expires_at, before.expires_at) if at is not None]
    revoked_at = before.revoked_at if restored.revoked_at is None else restored.revoked_at
    return replace(
        restored, revoked_at=revoked_at, expires_at=min(ends, default=None),
        requests_per_minute=before.requests_per_minute,
    )  # fmt: skip
