"""patterns with the messages that show them, what is to be learned from, and notes with their versions."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NAME = sa.String(256)
_SCOPE = ("namespace_id", "scope_id")
_PATTERN = ("namespace_id", "pattern_id")
_MESSAGE = (*_SCOPE, "seq")


def upgrade() -> None:
    op.create_table(
        "patterns",
        *(_whole(column) for column in _SCOPE),
        sa.Column("pattern_id", NAME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("slot", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("superseded_by", NAME),
        sa.Column("made_by", NAME, nullable=False),
        *(_whole(column, sa.BigInteger) for column in ("first_at", "last_at")),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint(*_PATTERN),
        sa.ForeignKeyConstraint(_SCOPE, [f"scopes.{name}" for name in _SCOPE]),
    )
    op.create_index("ix_patterns_slot", "patterns", [*_SCOPE, "kind", "slot"])
    op.create_table(
        "pattern_messages",
        *(_whole(column) for column in _SCOPE),
        _whole("seq", sa.BigInteger),
        sa.Column("pattern_id", NAME, nullable=False),
        *(_whole(column) for column in ("start", "end")),
        sa.PrimaryKeyConstraint(*_PATTERN, "seq"),
        sa.ForeignKeyConstraint(_PATTERN, [f"patterns.{name}" for name in _PATTERN], ondelete="CASCADE"),
        # No cascade: a message cannot go while a pattern rests on it.
        sa.ForeignKeyConstraint(_MESSAGE, [f"chat_messages.{name}" for name in _MESSAGE]),
    )
    op.create_index("ix_pattern_messages_message", "pattern_messages", list(_MESSAGE))
    thread = ("namespace_id", "thread_id")
    op.create_table(
        "pattern_queue",
        *(_whole(column) for column in _SCOPE),
        sa.Column("thread_id", NAME, nullable=False),
        _whole("first_seq", sa.BigInteger),
        sa.PrimaryKeyConstraint(*thread),
        sa.ForeignKeyConstraint(thread, [f"assistant_threads.{name}" for name in thread], ondelete="CASCADE"),
    )
    op.create_table(
        "notes",
        *(_whole(column) for column in _SCOPE),
        sa.Column("name", NAME, nullable=False),
        _whole("version"),
        sa.Column("agent", NAME),
        sa.Column("written_by", NAME, nullable=False),
        _whole("written_at", sa.BigInteger),
        sa.Column("content", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*_SCOPE, "name", "version"),
        sa.ForeignKeyConstraint(_SCOPE, [f"scopes.{name}" for name in _SCOPE]),
    )


def _whole(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)
