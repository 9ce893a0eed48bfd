"""The tables. Every key begins with the namespace; a scope's rows go on with the scope (ADR 2).

Times are integer microseconds since the Unix epoch, UTC. Large columns stand last, so that reading the small
ones does not touch the pages of the texts.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from memory_engine.checks import MAX_NAME_LENGTH

NAME = String(MAX_NAME_LENGTH)


class Base(DeclarativeBase):
    """The tables of the memory."""


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


_MESSAGE_KEY = (
    ["namespace_id", "scope_id", "seq"],
    ["chat_messages.namespace_id", "chat_messages.scope_id", "chat_messages.seq"],
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
    message_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    parts: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    content: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq", "version"),
        ForeignKeyConstraint(*_MESSAGE_KEY, ondelete="CASCADE"),
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
    terms: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq", "version"),
        ForeignKeyConstraint(*_MESSAGE_KEY, ondelete="CASCADE"),
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
    vector: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "seq", "version", "space_id", "chunk"),
        ForeignKeyConstraint(*_MESSAGE_KEY, ondelete="CASCADE"),
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


class SummaryRow(Base):
    """A summary of a stretch of one conversation."""

    __tablename__ = "summaries"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    summary_id: Mapped[str] = mapped_column(NAME)
    #: segment or conversation.
    level: Mapped[str] = mapped_column(String(16))
    thread_id: Mapped[str] = mapped_column(NAME)
    #: The messages that it sums up, and when these were said.
    first_seq: Mapped[int] = mapped_column(BigInteger)
    last_seq: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)
    #: The rule and its version, or the model.
    made_by: Mapped[str] = mapped_column(NAME)
    made_at: Mapped[int] = mapped_column(BigInteger)
    #: Since when messages that it rested on are gone by a policy that let it stay; None where all are there.
    outlived_at: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "summary_id"),
        ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
        Index("ix_summaries_thread", "namespace_id", "thread_id", "level", "first_seq"),
    )


class SummarySentence(Base):
    """A sentence of a summary."""

    __tablename__ = "summary_sentences"
    namespace_id: Mapped[int]
    summary_id: Mapped[str] = mapped_column(NAME)
    position: Mapped[int]
    #: None for a quotation: its words stand in the message alone.
    text: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "summary_id", "position"),
        ForeignKeyConstraint(
            ["namespace_id", "summary_id"], ["summaries.namespace_id", "summaries.summary_id"], ondelete="CASCADE"
        ),
    )


class SummaryCitation(Base):
    """What a sentence of a summary rests on: a span of a message."""

    __tablename__ = "summary_citations"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    summary_id: Mapped[str] = mapped_column(NAME)
    position: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "summary_id", "position", "seq", "start"),
        ForeignKeyConstraint(
            ["namespace_id", "summary_id", "position"],
            ["summary_sentences.namespace_id", "summary_sentences.summary_id", "summary_sentences.position"],
            ondelete="CASCADE",
        ),
        # No cascade: a message cannot go while a summary rests on it.
        ForeignKeyConstraint(*_MESSAGE_KEY),
        Index("ix_summary_citations_message", "namespace_id", "scope_id", "seq"),
    )


class ConsolidationRow(Base):
    """A conversation in which something was said, or changed, since it was last consolidated."""

    __tablename__ = "consolidation_queue"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    thread_id: Mapped[str] = mapped_column(NAME)
    messages: Mapped[int]
    newest_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "thread_id"),
        ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
        Index("ix_consolidation_queue_age", "newest_at"),
    )


class DerivationRow(Base):
    """A conversation that was consolidated and waits for a further stage."""

    __tablename__ = "derivation_queue"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    thread_id: Mapped[str] = mapped_column(NAME)
    #: links, patterns, group or writing.
    stage: Mapped[str] = mapped_column(String(16))
    #: What it says from here on has not been looked at.
    first_seq: Mapped[int] = mapped_column(BigInteger)
    #: How often it was queued: who did the work of an earlier time does not take it out.
    times: Mapped[int]

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "thread_id", "stage"),
        ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
        Index("ix_derivation_queue_stage", "stage"),
    )


_SOURCE = (["namespace_id", "source_id"], ["assistant_threads.namespace_id", "assistant_threads.thread_id"])
_TARGET = (["namespace_id", "target_id"], ["assistant_threads.namespace_id", "assistant_threads.thread_id"])


class LinkRow(Base):
    """A link between two conversations, with how strong it is and who made it."""

    __tablename__ = "links"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    link_id: Mapped[str] = mapped_column(NAME)
    #: Threads. A reference leads from who refers; every other kind from the thread that was linked.
    source_id: Mapped[str] = mapped_column(NAME)
    target_id: Mapped[str] = mapped_column(NAME)
    kind: Mapped[str] = mapped_column(String(16))
    #: 0..1, as it was when it was made or last used.
    weight: Mapped[float]
    #: made, confirmed, refused or added.
    state: Mapped[str] = mapped_column(String(16))
    #: The rule and its version, or "person".
    made_by: Mapped[str] = mapped_column(NAME)
    made_at: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[int] = mapped_column(BigInteger)
    #: What shows it: words, and pairs of places (seq in the source, seq in the target).
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "link_id"),
        UniqueConstraint("namespace_id", "source_id", "target_id", "kind"),
        ForeignKeyConstraint(*_SOURCE, ondelete="CASCADE"),
        ForeignKeyConstraint(*_TARGET, ondelete="CASCADE"),
        Index("ix_links_target", "namespace_id", "target_id"),
    )


class LinkMessage(Base):
    """A message that a link rests on."""

    __tablename__ = "link_messages"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    link_id: Mapped[str] = mapped_column(NAME)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "link_id", "seq"),
        ForeignKeyConstraint(["namespace_id", "link_id"], ["links.namespace_id", "links.link_id"], ondelete="CASCADE"),
        # No cascade: a message cannot go while a link rests on it.
        ForeignKeyConstraint(*_MESSAGE_KEY),
        Index("ix_link_messages_message", "namespace_id", "scope_id", "seq"),
    )


class PatternRow(Base):
    """What repeats, or what a person states of themself."""

    __tablename__ = "patterns"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    pattern_id: Mapped[str] = mapped_column(NAME)
    #: statement, question, topic, tool_sequence, tool_argument, tool_failure.
    kind: Mapped[str] = mapped_column(String(16))
    #: What it is about: a newer statement about the same supersedes an older one.
    slot: Mapped[str] = mapped_column(NAME)
    #: learned, confirmed, corrected or dismissed.
    state: Mapped[str] = mapped_column(String(16))
    superseded_by: Mapped[str | None] = mapped_column(NAME)
    #: The rule and its version.
    made_by: Mapped[str] = mapped_column(NAME)
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)
    #: What it says besides quoting messages: names of tools, arguments, a person's correction.
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "pattern_id"),
        ForeignKeyConstraint(["namespace_id", "scope_id"], ["scopes.namespace_id", "scopes.scope_id"]),
        Index("ix_patterns_slot", "namespace_id", "scope_id", "kind", "slot"),
    )


class PatternMessage(Base):
    """A span of a message that shows a pattern."""

    __tablename__ = "pattern_messages"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)
    pattern_id: Mapped[str] = mapped_column(NAME)
    start: Mapped[int]
    end: Mapped[int]

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "pattern_id", "seq"),
        ForeignKeyConstraint(
            ["namespace_id", "pattern_id"], ["patterns.namespace_id", "patterns.pattern_id"], ondelete="CASCADE"
        ),
        # No cascade: a message cannot go while a pattern rests on it.
        ForeignKeyConstraint(*_MESSAGE_KEY),
        Index("ix_pattern_messages_message", "namespace_id", "scope_id", "seq"),
    )


class NoteRow(Base):
    """A version of a note; the highest is the one in force."""

    __tablename__ = "notes"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    name: Mapped[str] = mapped_column(NAME)
    version: Mapped[int]
    #: Whose prompt it stands in; None for every agent's.
    agent: Mapped[str | None] = mapped_column(NAME)
    written_by: Mapped[str] = mapped_column(NAME)
    written_at: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "name", "version"),
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
        ForeignKeyConstraint(*_MESSAGE_KEY, ondelete="CASCADE"),
        Index("ix_message_quotes_seq", "namespace_id", "scope_id", "seq"),
    )


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
    counts: Mapped[dict[str, int]] = mapped_column(JSON)
    #: Pairs (namespace_id, scope_id) in which something went.
    scopes: Mapped[list[list[int]]] = mapped_column(JSON)
    #: What the scan of the data directory found.
    scan: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (Index("ix_erasure_receipts_state", "state"),)


class ErasureCanaries(Base):
    """By what the things that a receipt stands for are looked for."""

    __tablename__ = "erasure_canaries"
    receipt_id: Mapped[str] = mapped_column(NAME)
    part: Mapped[int]
    #: Keyed 64-bit hashes of pieces of what went, little-endian.
    hashes: Mapped[bytes] = mapped_column(LargeBinary)

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


class RetentionPolicy(Base):
    """What somebody wrote for a namespace in place of the default policy."""

    __tablename__ = "retention_policies"
    namespace_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: As `memory_engine.retention.Policy` is written as JSON.
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    written_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (ForeignKeyConstraint(["namespace_id"], ["namespaces.namespace_id"]),)
