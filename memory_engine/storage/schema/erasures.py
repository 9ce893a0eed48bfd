"""The tables of what was erased: receipts, and hashes of what must not come back."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, PrimaryKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from memory_engine.storage.schema.base import NAME, Base
from memory_engine.storage.schema.columns import Blob, DerivedJson


class ErasureReceipt(Base):
    """What was erased, and how far that is proved. It names nothing that went: identifiers stand as keyed hashes."""

    __tablename__ = "erasure_receipts"
    receipt_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    #: Keyed hash of the namespace, which may be gone itself.
    owner: Mapped[str] = mapped_column(String(64))
    #: messages, conversation, user or namespace.
    kind: Mapped[str] = mapped_column(String(16))
    #: pending or done.
    state: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(NAME)
    requested_at: Mapped[int] = mapped_column(BigInteger)
    completed_at: Mapped[int | None] = mapped_column(BigInteger)
    #: Rows that went, by place.
    counts: Mapped[dict[str, int]] = mapped_column(DerivedJson)
    #: Pairs (namespace_id, scope_id) in which something went.
    scopes: Mapped[list[list[int]]] = mapped_column(DerivedJson)
    #: What the scan of the data directory found.
    scan: Mapped[dict[str, Any] | None] = mapped_column(DerivedJson(none_as_null=True))

    __table_args__ = (Index("ix_erasure_receipts_state", "state"),)


class ErasureCanaries(Base):
    """By what the things that a receipt stands for are looked for."""

    __tablename__ = "erasure_canaries"
    receipt_id: Mapped[str] = mapped_column(NAME)
    part: Mapped[int]
    #: Keyed 64-bit hashes of pieces of what went, little-endian.
    hashes: Mapped[bytes] = mapped_column(Blob)

    __table_args__ = (
        PrimaryKeyConstraint("receipt_id", "part"),
        ForeignKeyConstraint(["receipt_id"], ["erasure_receipts.receipt_id"], ondelete="CASCADE"),
    )


class Suppression(Base):
    """A keyed hash of namespace, message id and text: what a backup must not bring back."""

    __tablename__ = "suppressions"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    receipt_id: Mapped[str] = mapped_column(NAME)

    __table_args__ = (Index("ix_suppressions_receipt", "receipt_id"),)


class ErasedName(Base):
    """A keyed hash of a scope and an id in it that was erased: asking for it answers "gone", not "never there"."""

    __tablename__ = "erased_names"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    receipt_id: Mapped[str] = mapped_column(NAME)

    __table_args__ = (Index("ix_erased_names_receipt", "receipt_id"),)
