"""The tables of what is derived: summaries, links and patterns with the messages that they rest on, queues, notes."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from memory_engine.storage.schema.base import MESSAGE_KEY, NAME, Base
from memory_engine.storage.schema.columns import DerivedJson


class SummaryRow(Base):
    """A summary of a stretch of one conversation."""

    __tablename__ = "summaries"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    summary_id: Mapped[str] = mapped_column(NAME)
    #: segment, conversation or group.
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
        ForeignKeyConstraint(*MESSAGE_KEY),
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


class SetAsideRow(Base):
    """An item of background work that failed: it is tried again later, or was set aside."""

    __tablename__ = "set_aside"
    #: 0 with scope 0 for what belongs to the store as a whole.
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    #: summaries, links, patterns, group, writing, connections, indexing, pruning or proving.
    stage: Mapped[str] = mapped_column(String(16))
    #: What failed, by the name that the stage gives it: a thread, the place of a message, a receipt.
    item: Mapped[str] = mapped_column(NAME)
    #: The conversation, where the item is of one that exists.
    thread_id: Mapped[str | None] = mapped_column(NAME)
    #: The error's class and where it was raised; none of its words, which may quote a message.
    error: Mapped[str] = mapped_column(String(500))
    attempts: Mapped[int]
    #: The counter of the item's queue row when it failed: another one is a new chance.
    seen: Mapped[int] = mapped_column(BigInteger)
    failed_at: Mapped[int] = mapped_column(BigInteger)
    #: From when on it is tried again; far beyond every clock once it is set aside.
    retry_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "stage", "item"),
        ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
        Index("ix_set_aside_thread", "namespace_id", "thread_id"),
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
    detail: Mapped[dict[str, Any]] = mapped_column(DerivedJson)

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
        ForeignKeyConstraint(*MESSAGE_KEY),
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
    #: learned, proposed, confirmed, corrected or dismissed.
    state: Mapped[str] = mapped_column(String(16))
    superseded_by: Mapped[str | None] = mapped_column(NAME)
    #: The rule and its version.
    made_by: Mapped[str] = mapped_column(NAME)
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)
    #: What it says besides quoting messages: names of tools, arguments, a person's correction.
    detail: Mapped[dict[str, Any]] = mapped_column(DerivedJson)

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
        ForeignKeyConstraint(*MESSAGE_KEY),
        Index("ix_pattern_messages_message", "namespace_id", "scope_id", "seq"),
    )


class NoteRow(Base):
    """A version of a note; the highest that is not held is in force."""

    __tablename__ = "notes"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    name: Mapped[str] = mapped_column(NAME)
    version: Mapped[int]
    #: Whose prompt it stands in; None for every agent's.
    agent: Mapped[str | None] = mapped_column(NAME)
    written_by: Mapped[str] = mapped_column(NAME)
    written_at: Mapped[int] = mapped_column(BigInteger)
    #: By which kept prompts name this version; None where it rests on no message.
    note_id: Mapped[str | None] = mapped_column(NAME)
    content: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "name", "version"),
        ForeignKeyConstraint(["namespace_id", "scope_id"], ["scopes.namespace_id", "scopes.scope_id"]),
    )


class NoteMessage(Base):
    """A message that a version of a note was made of."""

    __tablename__ = "note_messages"
    namespace_id: Mapped[int]
    scope_id: Mapped[int]
    name: Mapped[str] = mapped_column(NAME)
    version: Mapped[int]
    seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("namespace_id", "scope_id", "name", "version", "seq"),
        ForeignKeyConstraint(
            ["namespace_id", "scope_id", "name", "version"],
            ["notes.namespace_id", "notes.scope_id", "notes.name", "notes.version"],
            ondelete="CASCADE",
        ),
        # No cascade: a message cannot go while a note rests on it.
        ForeignKeyConstraint(*MESSAGE_KEY),
        Index("ix_note_messages_message", "namespace_id", "scope_id", "seq"),
    )
