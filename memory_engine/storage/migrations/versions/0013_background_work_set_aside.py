"""background work that failed: what is tried again, and what was set aside."""

import sqlalchemy as sa
from alembic import op

from memory_engine.storage.migrations import row_security

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "set_aside",
        sa.Column("namespace_id", sa.Integer, nullable=False),
        sa.Column("scope_id", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("item", sa.String(256), nullable=False),
        sa.Column("thread_id", sa.String(256)),
        sa.Column("error", sa.String(500), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("failed_at", sa.BigInteger, nullable=False),
        sa.Column("retry_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "scope_id", "stage", "item"),
        sa.ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_set_aside_thread", "set_aside", ["namespace_id", "thread_id"])
    row_security.enable("set_aside")
