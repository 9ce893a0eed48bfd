"""SQL of the policies that somebody wrote, one for a namespace."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from memory_engine.models import from_micros
from memory_engine.retention import Policy, read_policy
from memory_engine.storage.schema import RetentionPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A policy, and since when it is in force; None for the default policy, which nobody wrote."""

    policy: Policy
    written_at: datetime | None


def find(db: Connection, namespace_id: int | None) -> Written | None:
    """The policy that was written for the namespace, or None."""
    row = db.execute(select(RetentionPolicy).where(RetentionPolicy.namespace_id == namespace_id)).first()
    return None if row is None else Written(policy=read_policy(row.policy), written_at=from_micros(row.written_at))


def put(db: Connection, namespace_id: int, policy: Policy, now: int) -> None:
    """Write the namespace's policy in place of the one before; `now` in microseconds."""
    forget(db, namespace_id)
    row = {"namespace_id": namespace_id, "policy": policy.as_json(), "written_at": now}
    db.execute(insert(RetentionPolicy).values(**row))


def forget(db: Connection, namespace_id: int) -> None:
    """Remove the namespace's policy."""
    db.execute(delete(RetentionPolicy).where(RetentionPolicy.namespace_id == namespace_id))
