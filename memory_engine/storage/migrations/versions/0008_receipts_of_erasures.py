"""receipts of erasures, what must not come back, and who quotes whom."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NAME = sa.String(256)


def upgrade() -> None:
    op.create_table(
        "erasure_receipts",
        sa.Column("receipt_id", NAME, primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_by", NAME, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("scan", sa.JSON(none_as_null=True)),
    )
    op.create_index("ix_erasure_receipts_state", "erasure_receipts", ["state"])
    op.create_table(
        "erasure_canaries",
        sa.Column("receipt_id", NAME, sa.ForeignKey("erasure_receipts.receipt_id", ondelete="CASCADE")),
        sa.Column("part", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", "part"),
    )
    for table in ("suppressions", "erased_names"):
        op.create_table(
            table,
            sa.Column("digest", sa.String(64), primary_key=True),
            sa.Column("receipt_id", NAME, nullable=False),
        )
        op.create_index(f"ix_{table}_receipt", table, ["receipt_id"])
    op.create_table(
        "message_quotes",
        sa.Column("namespace_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("scope_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("quoted_id", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("namespace_id", "scope_id", "quoted_id", "seq"),
        sa.ForeignKeyConstraint(
            ["namespace_id", "scope_id", "seq"],
            ["chat_messages.namespace_id", "chat_messages.scope_id", "chat_messages.seq"],
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_message_quotes_seq", "message_quotes", ["namespace_id", "scope_id", "seq"])
    op.add_column("contexts", sa.Column("receipt_id", NAME))
