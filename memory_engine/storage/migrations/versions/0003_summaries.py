"""summaries with their sentences and citations, and which conversations are to be consolidated."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME = sa.String(256)
_SCOPE = ("namespace_id", "scope_id")
_THREAD = ("namespace_id", "thread_id")
_SUMMARY = ("namespace_id", "summary_id")
_MESSAGE = (*_SCOPE, "seq")


def upgrade() -> None:
    op.create_table(
        "summaries",
        *(_whole(column) for column in _SCOPE),
        sa.Column("summary_id", NAME, nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("thread_id", NAME, nullable=False),
        *(_whole(column, sa.BigInteger) for column in ("first_seq", "last_seq", "first_at", "last_at")),
        sa.Column("made_by", NAME, nullable=False),
        _whole("made_at", sa.BigInteger),
        sa.PrimaryKeyConstraint(*_SUMMARY),
        _references(_THREAD, "assistant_threads", ondelete="CASCADE"),
    )
    op.create_index("ix_summaries_thread", "summaries", ["namespace_id", "thread_id", "level", "first_seq"])
    op.create_table(
        "summary_sentences",
        _whole("namespace_id"),
        sa.Column("summary_id", NAME, nullable=False),
        _whole("position"),
        sa.Column("text", sa.Text),
        sa.PrimaryKeyConstraint(*_SUMMARY, "position"),
        _references(_SUMMARY, "summaries", ondelete="CASCADE"),
    )
    op.create_table(
        "summary_citations",
        *(_whole(column) for column in _SCOPE),
        _whole("seq", sa.BigInteger),
        sa.Column("summary_id", NAME, nullable=False),
        *(_whole(column) for column in ("position", "start", "end")),
        sa.PrimaryKeyConstraint(*_SUMMARY, "position", "seq", "start"),
        _references((*_SUMMARY, "position"), "summary_sentences", ondelete="CASCADE"),
        # No cascade: a message cannot go while a summary rests on it.
        _references(_MESSAGE, "chat_messages"),
    )
    op.create_index("ix_summary_citations_message", "summary_citations", list(_MESSAGE))
    op.create_table(
        "consolidation_queue",
        *(_whole(column) for column in _SCOPE),
        sa.Column("thread_id", NAME, nullable=False),
        _whole("messages"),
        _whole("newest_at", sa.BigInteger),
        sa.PrimaryKeyConstraint(*_THREAD),
        _references(_THREAD, "assistant_threads", ondelete="CASCADE"),
    )
    op.create_index("ix_consolidation_queue_age", "consolidation_queue", ["newest_at"])
    op.get_bind().execute(
        sa.text(
            "INSERT INTO consolidation_queue (namespace_id, scope_id, thread_id, messages, newest_at)"
            " SELECT namespace_id, scope_id, thread_id, 1, 0 FROM assistant_threads"
        )
    )


def _whole(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def _references(columns: tuple[str, ...], table: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(columns, [f"{table}.{column}" for column in columns], ondelete=ondelete)
