"""one queue for the stages after consolidation, in place of one table for each."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

NAME = sa.String(256)


def upgrade() -> None:
    op.create_table(
        "derivation_queue",
        sa.Column("namespace_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("scope_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("thread_id", NAME, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "thread_id", "stage"),
        sa.ForeignKeyConstraint(
            ("namespace_id", "thread_id"),
            ["assistant_threads.namespace_id", "assistant_threads.thread_id"],
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_derivation_queue_stage", "derivation_queue", ["stage"])
    for table, stage in (("link_queue", "links"), ("pattern_queue", "patterns")):
        columns = "namespace_id, scope_id, thread_id"
        op.execute(
            f"INSERT INTO derivation_queue ({columns}, stage, first_seq, times) "
            f"SELECT {columns}, '{stage}', first_seq, 1 FROM {table}"
        )
        op.drop_table(table)
