"""calls of tools and of models, and the versions of agents."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

NAME = sa.String(256)


def upgrade() -> None:
    op.create_table(
        "tool_calls",
        _whole("namespace_id"),
        _text("log_id"),
        _whole("scope_id"),
        *(_text(name) for name in ("conversation_id", "message_id", "call_id", "tool", "agent")),
        sa.Column("arguments", sa.Text, nullable=False),
        _whole("attempt"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("output", sa.Text),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("namespace_id", "log_id"),
        sa.UniqueConstraint("namespace_id", "message_id", "call_id"),
    )
    op.create_index("ix_tool_calls_time", "tool_calls", ["namespace_id", "scope_id", "started_at"])
    op.create_table(
        "model_calls",
        _whole("namespace_id"),
        _text("log_id"),
        _whole("scope_id"),
        *(_text(name) for name in ("conversation_id", "message_id", "agent", "model")),
        sa.Column("error", sa.String(64)),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("started_at", "latency")),
        *(_whole(name) for name in ("prompt_tokens", "completion_tokens")),
        sa.Column("cost", sa.BigInteger),
        sa.Column("history_tokens", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "log_id"),
    )
    op.create_index("ix_model_calls_time", "model_calls", ["namespace_id", "started_at"])
    op.create_index("ix_model_calls_conversation", "model_calls", ["namespace_id", "conversation_id"])
    op.create_index("ix_model_calls_message", "model_calls", ["namespace_id", "message_id"])
    op.create_table(
        "agent_versions",
        _text("agent"),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("first_used_at", sa.BigInteger, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("agent", "version"),
    )


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, autoincrement=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, NAME, nullable=False)
