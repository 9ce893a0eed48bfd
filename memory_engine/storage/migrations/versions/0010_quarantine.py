"""messages and conversations that are kept out of recall, since when and why."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for table in ("chat_messages", "assistant_threads"):
        op.add_column(table, sa.Column("quarantined_at", sa.BigInteger))
        op.add_column(table, sa.Column("quarantine_reason", sa.String(500)))
