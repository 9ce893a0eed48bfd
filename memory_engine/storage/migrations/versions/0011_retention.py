"""retention: policies, pins, holds, messages that are marked as pruned, summaries that outlive them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("chat_messages", sa.Column("pinned_at", sa.BigInteger))
    op.add_column("chat_messages", sa.Column("pruned_at", sa.BigInteger))
    op.add_column("chat_messages", sa.Column("pruned_by", sa.String(256)))
    op.add_column("assistant_threads", sa.Column("held_at", sa.BigInteger))
    op.add_column("summaries", sa.Column("outlived_at", sa.BigInteger))
    for name in ("pinned", "pruned"):
        marked = sa.text(f"{name}_at IS NOT NULL")
        op.create_index(
            f"ix_chat_messages_{name}", "chat_messages", ["namespace_id", "scope_id", "seq"],
            sqlite_where=marked, postgresql_where=marked,
        )  # fmt: skip
    op.create_table(
        "retention_policies",
        sa.Column("namespace_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("policy", sa.JSON, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.namespace_id"]),
    )
