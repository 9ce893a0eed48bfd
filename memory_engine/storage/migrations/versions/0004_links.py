"""links between conversations, the messages that show them, and which conversations are to be linked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAME = sa.String(256)
_SCOPE = ("namespace_id", "scope_id")
_LINK = ("namespace_id", "link_id")
_MESSAGE = (*_SCOPE, "seq")


def upgrade() -> None:
    op.create_table(
        "links",
        *(_whole(column) for column in _SCOPE),
        sa.Column("link_id", NAME, nullable=False),
        *(sa.Column(column, NAME, nullable=False) for column in ("source_id", "target_id")),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("made_by", NAME, nullable=False),
        *(_whole(column, sa.BigInteger) for column in ("made_at", "used_at")),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint(*_LINK),
        sa.UniqueConstraint("namespace_id", "source_id", "target_id", "kind"),
        _references(("namespace_id", "source_id"), "assistant_threads", ("namespace_id", "thread_id")),
        _references(("namespace_id", "target_id"), "assistant_threads", ("namespace_id", "thread_id")),
    )
    op.create_index("ix_links_target", "links", ["namespace_id", "target_id"])
    op.create_table(
        "link_messages",
        *(_whole(column) for column in _SCOPE),
        _whole("seq", sa.BigInteger),
        sa.Column("link_id", NAME, nullable=False),
        sa.PrimaryKeyConstraint(*_LINK, "seq"),
        _references(_LINK, "links", _LINK),
        # No cascade: a message cannot go while a link rests on it.
        sa.ForeignKeyConstraint(_MESSAGE, [f"chat_messages.{name}" for name in _MESSAGE]),
    )
    op.create_index("ix_link_messages_message", "link_messages", list(_MESSAGE))
    op.create_table(
        "link_queue",
        *(_whole(column) for column in _SCOPE),
        sa.Column("thread_id", NAME, nullable=False),
        _whole("first_seq", sa.BigInteger),
        sa.PrimaryKeyConstraint("namespace_id", "thread_id"),
        _references(("namespace_id", "thread_id"), "assistant_threads", ("namespace_id", "thread_id")),
    )


def _whole(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def _references(columns: tuple[str, ...], table: str, others: tuple[str, ...]) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(columns, [f"{table}.{column}" for column in others], ondelete="CASCADE")
