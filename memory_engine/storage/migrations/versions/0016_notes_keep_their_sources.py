"""notes know the messages that they were made of; rules that were learned wait for a person."""

import sqlalchemy as sa
from alembic import op

from memory_engine.storage.migrations import row_security

revision = "0016"
down_revision = "0015"

NAME = sa.String(256)
_SCOPE = ("namespace_id", "scope_id")
_NOTE = (*_SCOPE, "name", "version")
_MESSAGE = (*_SCOPE, "seq")
_LEARNED_RULES = "kind = 'statement' AND state = 'learned' AND (slot LIKE 'rule:%' OR slot LIKE '%|rule:%')"


def upgrade() -> None:
    op.add_column("notes", sa.Column("note_id", NAME))
    op.create_table(
        "note_messages",
        *(_whole(column) for column in _SCOPE),
        sa.Column("name", NAME, nullable=False),
        _whole("version"),
        _whole("seq", sa.BigInteger),
        sa.PrimaryKeyConstraint(*_NOTE, "seq"),
        sa.ForeignKeyConstraint(_NOTE, [f"notes.{name}" for name in _NOTE], ondelete="CASCADE"),
        # No cascade: a message cannot go while a note rests on it.
        sa.ForeignKeyConstraint(_MESSAGE, [f"chat_messages.{name}" for name in _MESSAGE]),
    )
    op.create_index("ix_note_messages_message", "note_messages", list(_MESSAGE))
    row_security.enable("note_messages")
    op.execute(
        "UPDATE patterns SET superseded_by = NULL"
        f" WHERE superseded_by IN (SELECT pattern_id FROM patterns WHERE {_LEARNED_RULES})"
    )
    op.execute(f"UPDATE patterns SET state = 'proposed' WHERE {_LEARNED_RULES}")


def _whole(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)
