"""versions of edited messages, changes that indexes follow, and which messages each kept prompt holds."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NAME = sa.String(256)
_SCOPE = ("namespace_id", "scope_id")
_MESSAGE = (*_SCOPE, "seq")


def upgrade() -> None:
    op.add_column("scopes", sa.Column("last_change", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "message_versions",
        *(_whole(column) for column in _SCOPE),
        _whole("seq", sa.BigInteger),
        _whole("version"),
        _whole("replaced_at", sa.BigInteger),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("parts", sa.JSON),
        sa.Column("content", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*_MESSAGE, "version"),
        sa.ForeignKeyConstraint(_MESSAGE, [f"chat_messages.{name}" for name in _MESSAGE], ondelete="CASCADE"),
    )
    op.create_table(
        "message_changes",
        *(_whole(column) for column in _SCOPE),
        _whole("change_seq", sa.BigInteger),
        _whole("seq", sa.BigInteger),
        sa.PrimaryKeyConstraint(*_SCOPE, "change_seq"),
        sa.ForeignKeyConstraint(_SCOPE, [f"scopes.{name}" for name in _SCOPE]),
    )
    op.add_column("contexts", sa.Column("erased_at", sa.BigInteger))
    op.create_table(
        "context_messages",
        _whole("namespace_id"),
        sa.Column("message_id", NAME, nullable=False),
        sa.Column("context_id", NAME, nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "message_id", "context_id"),
    )
    _fill_context_messages(op.get_bind())


def _whole(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def _fill_context_messages(db: sa.Connection) -> None:
    kept = db.execute(sa.text("SELECT namespace_id, context_id, manifest FROM contexts")).all()
    for namespace_id, context_id, raw in kept:
        manifest = json.loads(raw) if isinstance(raw, str) else raw
        for name in {name for item in manifest["items"] for name in item["message_ids"]}:
            row = {"namespace_id": namespace_id, "message_id": name, "context_id": context_id}
            db.execute(sa.text("INSERT INTO context_messages VALUES (:namespace_id, :message_id, :context_id)"), row)
