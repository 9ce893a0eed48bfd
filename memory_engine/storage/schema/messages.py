"""The tables of what was said: conversations, messages, and what stands beside each message so that it is found."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from memory_engine.storage.schema.base import MESSAGE_KEY, NAME, Base
from memory_engine.storage.schema.columns import Blob, DerivedJson


class AssistantThread(Base):
    """A conversation: the application's conversation_id and our thread_id, one to one."""

    __tablename__ = "assistant_threads"
    namespace_id: Mapped[int]
    thread_id: Mapped[str] = mapped_column(NAME)
    conversation_id: Mapped[str] = mapped_column(NAME)
    scope_id: Mapped[int]
    #: Its place in the order of the scope.
    opened_seq: Mapped[int] = mapped_column(BigInteger)
    #: The agent that spoke last.
    agent: Mapped[str | None] = mapped_column(NAME)
    created_at: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    #: Since when all that is said in it is kept out of recall, and why; None where it is not.
    quarantined_at: Mapped[int | None] = mapped_column(BigInteger)
    quarantine_reason: Mapped[str | None] = mapped_column(String(500))
    #: Since when no policy touches what is said in it; None where policies rule.
    held_at: Mapped[int | None] = mapped_column(BigInteger)
    #: The branch that was spoken on last, and how many there are besides the trunk, which is branch 0.
    head: Mapped[int] = mapped_column(default=0)
    branches: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "thread_id"),
        UniqueConstraint("namespace_id", "conversation_id"),
        UniqueConstraint("namespace_id", "scope_id", "opened_seq"),
        ForeignKeyConstraint(["namespace_id", "scope_id"], ["scopes.namespace_id", "scopes.scope_id"]),
    )


def _index_of_marked(what: str) -> Index:
    """Only the rows that are marked are in it: they are few, and are looked for at every question."""
    marked = text(f"{what}_at IS NOT NULL")
    columns = ("namespace_id", "scope_id", "seq")
    return Index(f"ix_chat_messages_{what}", *columns, sqlite_where=marked, postgresql_where=marked)


class ChatMessage(Base):
    """A message: the raw stratum, which nothing replaces."""

    __tablename__ = "chat_messages"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    message_id: Mapped[str] = mapped_column(NAME)
    thread_id: Mapped[str] = mapped_column(NAME)
    version: Mapped[int] = mapped_column(default=1)
    role: Mapped[str] = mapped_column(String(16))
    name: Mapped[str | None] = mapped_column(NAME)
    agent: Mapped[str | None] = mapped_column(NAME)
    tool_call_id: Mapped[str | None] = mapped_column(NAME)
    created_at: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    #: False for what only repeats recalled text: kept in the history, never recalled.
    recallable: Mapped[bool]
    #: Since when it is kept out of recall by itself, and why; None where it is not.
    quarantined_at: Mapped[int | None] = mapped_column(BigInteger)
    quarantine_reason: Mapped[str | None] = mapped_column(String(500))
    #: Since when no policy touches it; None where policies rule.
    pinned_at: Mapped[int | None] = mapped_column(BigInteger)
    #: Since when it waits for its removal, out of everything but a restore, and the rule that says so.
    pruned_at: Mapped[int | None] = mapped_column(BigInteger)
    pruned_by: Mapped[str | None] = mapped_column(NAME)
    #: Which branch of its conversation it was said on, and since when that is abandoned from here on; None while live.
    branch: Mapped[int] = mapped_column(default=0)
    inactive_at: Mapped[int | None] = mapped_column(BigInteger)
    message_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    tool_calls: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    parts: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    content: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq"),
        UniqueConstraint("namespace_id", "message_id"),
        ForeignKeyConstraint(
            ["namespace_id", "thread_id"], ["assistant_threads.namespace_id", "assistant_threads.thread_id"]
        ),
        Index("ix_chat_messages_thread", "namespace_id", "thread_id", "seq"),
        _index_of_marked("pinned"),
        _index_of_marked("pruned"),
    )


class BranchRow(Base):
    """A branch of a conversation besides its trunk: where it leaves the branch that it comes from."""

    __tablename__ = "thread_branches"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    thread_id: Mapped[str] = mapped_column(NAME)
    branch: Mapped[int]
    #: The branch that it comes from, and the place of the last message that both share; 0 where they share none.
    parent: Mapped[int]
    fork_seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "thread_id", "branch"),
        ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
        Index("ix_thread_branches_scope", "namespace_id", "scope_id"),
    )


class MessageVersion(Base):
    """What a message said before it was edited."""

    __tablename__ = "message_versions"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    #: When the next version took its place.
    replaced_at: Mapped[int] = mapped_column(BigInteger)
    message_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", DerivedJson)
    parts: Mapped[list[dict[str, Any]] | None] = mapped_column(DerivedJson(none_as_null=True))
    content: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq", "version"),
        ForeignKeyConstraint(*MESSAGE_KEY, ondelete="CASCADE"),
    )


class MessageChange(Base):
    """An edit or an erasure that an index outside SQL has still to follow."""

    __tablename__ = "message_changes"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    change_seq: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "change_seq"),
        ForeignKeyConstraint(["namespace_id", "scope_id"], ["scopes.namespace_id", "scopes.scope_id"]),
    )


class MessageTerms(Base):
    """What the lexical index is built from: a message's stemmed terms as keyed 32-bit ids."""

    __tablename__ = "message_terms"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    #: Words of the text, stop words included.
    words: Mapped[int]
    #: Whether it ends with a question.
    asks: Mapped[bool]
    #: Little-endian uint32, in the order of the text, repeated as often as said.
    terms: Mapped[bytes] = mapped_column(Blob)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq", "version"),
        ForeignKeyConstraint(*MESSAGE_KEY, ondelete="CASCADE"),
    )


class EmbeddingSpace(Base):
    """A space that vectors of this store belong to."""

    __tablename__ = "embedding_spaces"
    space_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)


class MessageEmbedding(Base):
    """The embedding stratum: a vector for each chunk of a message, in each space it was embedded in."""

    __tablename__ = "message_embeddings"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    space_id: Mapped[int]
    chunk: Mapped[int]
    #: Little-endian float16 (ADR 4).
    vector: Mapped[bytes] = mapped_column(Blob)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq", "version", "space_id", "chunk"),
        ForeignKeyConstraint(*MESSAGE_KEY, ondelete="CASCADE"),
        ForeignKeyConstraint(["space_id"], ["embedding_spaces.space_id"]),
    )


class OutboxRow(Base):
    """Committed messages whose derived forms are still to be brought to an index outside SQL."""

    __tablename__ = "outbox"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    first_seq: Mapped[int] = mapped_column(BigInteger)
    last_seq: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "first_seq"),
        ForeignKeyConstraint(["namespace_id", "scope_id"], ["scopes.namespace_id", "scopes.scope_id"]),
    )


class MessageQuote(Base):
    """A message whose text repeats another's: it cannot stay as it is when that one is erased."""

    __tablename__ = "message_quotes"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    quoted_id: Mapped[str] = mapped_column(NAME)
    #: The message that quotes.
    seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "quoted_id", "seq"),
        ForeignKeyConstraint(*MESSAGE_KEY, ondelete="CASCADE"),
        Index("ix_message_quotes_seq", "namespace_id", "scope_id", "seq"),
    )
