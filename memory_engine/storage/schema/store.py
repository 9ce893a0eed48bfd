"""The tables of a store as a whole: its settings, its namespaces with their policies, its scopes."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKeyConstraint, PrimaryKeyConstraint, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from memory_engine.storage.schema.base import NAME, Base


class StoreSetting(Base):
    """What is fixed for this store, such as the key of the term ids."""

    __tablename__ = "store_settings"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Namespace(Base):
    """An application."""

    __tablename__ = "namespaces"
    namespace_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    #: The last scope_id given out within it.
    last_scope: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)


class ScopeRow(Base):
    """A person within an application, and the counter that orders all that is said there."""

    __tablename__ = "scopes"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    #: The empty text is the namespace's default user, which no client can name.
    user_name: Mapped[str] = mapped_column(NAME)
    #: The last seq given out: updated in the transaction of the rows, so that seq order is commit order.
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    #: Counts edits and erasures likewise: whoever keeps something derived compares it with its own.
    last_change: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id"),
        UniqueConstraint("namespace_id", "user_name"),
        ForeignKeyConstraint(["namespace_id"], ["namespaces.namespace_id"]),
    )


class RetentionPolicy(Base):
    """What somebody wrote for a namespace in place of the default policy."""

    __tablename__ = "retention_policies"
    namespace_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: As `memory_engine.retention.Policy` is written as JSON.
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    written_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (ForeignKeyConstraint(["namespace_id"], ["namespaces.namespace_id"]),)
