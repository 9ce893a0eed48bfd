"""namespaces, scopes, threads, messages, terms, embeddings, outbox, contexts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.String(256)
_SCOPE = ("namespace_id", "scope_id")
_MESSAGE = (*_SCOPE, "seq")


def upgrade() -> None:
    _scopes()
    _messages()
    _derived()
    _contexts()


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, autoincrement=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)


def _references(columns: tuple[str, ...], table: str, **options: Any) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(columns, [f"{table}.{column}" for column in columns], **options)


def _scopes() -> None:
    op.create_table(
        "store_settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "namespaces",
        sa.Column("namespace_id", sa.Integer, primary_key=True),
        sa.Column("name", NAME, nullable=False, unique=True),
        _integer("last_scope"),
        _big("created_at"),
    )
    op.create_table(
        "scopes",
        *(_integer(column) for column in _SCOPE),
        sa.Column("user_name", NAME, nullable=False),
        _big("last_seq"),
        _big("created_at"),
        sa.PrimaryKeyConstraint(*_SCOPE),
        sa.UniqueConstraint("namespace_id", "user_name"),
        _references(("namespace_id",), "namespaces"),
    )
    op.create_table(
        "assistant_threads",
        _integer("namespace_id"),
        sa.Column("thread_id", NAME, nullable=False),
        sa.Column("conversation_id", NAME, nullable=False),
        _integer("scope_id"),
        _big("opened_seq"),
        sa.Column("agent", NAME),
        _big("created_at"),
        _big("recorded_at"),
        sa.PrimaryKeyConstraint("namespace_id", "thread_id"),
        sa.UniqueConstraint("namespace_id", "conversation_id"),
        sa.UniqueConstraint("namespace_id", "scope_id", "opened_seq"),
        _references(_SCOPE, "scopes"),
    )


def _messages() -> None:
    op.create_table(
        "chat_messages",
        *(_integer(column) for column in _SCOPE),
        _big("seq"),
        sa.Column("message_id", NAME, nullable=False),
        sa.Column("thread_id", NAME, nullable=False),
        _integer("version"),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", NAME),
        sa.Column("agent", NAME),
        sa.Column("tool_call_id", NAME),
        _big("created_at"),
        _big("recorded_at"),
        sa.Column("recallable", sa.Boolean, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("tool_calls", sa.JSON),
        sa.Column("parts", sa.JSON),
        sa.Column("content", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*_MESSAGE),
        sa.UniqueConstraint("namespace_id", "message_id"),
        _references(("namespace_id", "thread_id"), "assistant_threads"),
    )
    op.create_index("ix_chat_messages_thread", "chat_messages", ["namespace_id", "thread_id", "seq"])


def _derived() -> None:
    op.create_table(
        "message_terms",
        *(_integer(column) for column in _SCOPE),
        _big("seq"),
        _integer("version"),
        _integer("words"),
        sa.Column("asks", sa.Boolean, nullable=False),
        sa.Column("terms", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_MESSAGE, "version"),
        _references(_MESSAGE, "chat_messages", ondelete="CASCADE"),
    )
    op.create_table(
        "embedding_spaces",
        sa.Column("space_id", sa.Integer, primary_key=True),
        sa.Column("name", NAME, nullable=False, unique=True),
    )
    op.create_table(
        "message_embeddings",
        *(_integer(column) for column in _SCOPE),
        _big("seq"),
        _integer("version"),
        _integer("space_id"),
        _integer("chunk"),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_MESSAGE, "version", "space_id", "chunk"),
        _references(_MESSAGE, "chat_messages", ondelete="CASCADE"),
        _references(("space_id",), "embedding_spaces"),
    )
    op.create_table(
        "outbox",
        *(_integer(column) for column in _SCOPE),
        _big("first_seq"),
        _big("last_seq"),
        _big("created_at"),
        sa.PrimaryKeyConstraint(*_SCOPE, "first_seq"),
        _references(_SCOPE, "scopes"),
    )


def _contexts() -> None:
    op.create_table(
        "contexts",
        _integer("namespace_id"),
        sa.Column("context_id", NAME, nullable=False),
        _integer("scope_id"),
        sa.Column("conversation_id", NAME, nullable=False),
        _big("created_at"),
        _integer("tokens"),
        sa.Column("manifest", sa.JSON, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "context_id"),
        _references(_SCOPE, "scopes"),
    )
