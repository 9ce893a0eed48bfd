"""branches of conversations: regenerated replies, edited messages, two devices; estimated counts of model calls."""

import sqlalchemy as sa
from alembic import op

from memory_engine.storage.migrations import row_security

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("assistant_threads", sa.Column("head", sa.Integer, nullable=False, server_default="0"))
    op.add_column("assistant_threads", sa.Column("branches", sa.Integer, nullable=False, server_default="0"))
    op.add_column("chat_messages", sa.Column("branch", sa.Integer, nullable=False, server_default="0"))
    op.add_column("chat_messages", sa.Column("inactive_at", sa.BigInteger))
    op.create_table(
        "thread_branches",
        sa.Column("namespace_id", sa.Integer, nullable=False),
        sa.Column("scope_id", sa.Integer, nullable=False),
        sa.Column("thread_id", sa.String(256), nullable=False),
        sa.Column("branch", sa.Integer, nullable=False),
        sa.Column("parent", sa.Integer, nullable=False),
        sa.Column("fork_seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "thread_id", "branch"),
        sa.ForeignKeyConstraint(
            ["namespace_id", "thread_id"],
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_thread_branches_scope", "thread_branches", ["namespace_id", "scope_id"])
    row_security.enable("thread_branches")
    op.add_column("model_calls", sa.Column("estimated", sa.Boolean, nullable=False, server_default=sa.false()))
