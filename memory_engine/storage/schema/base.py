"""What the tables have in common: their metadata, the length of names, and the key of a message."""

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase

from memory_engine.checks import MAX_NAME_LENGTH

NAME = String(MAX_NAME_LENGTH)
#: Columns that refer to a message, and those that they refer to.
MESSAGE_KEY = (
    ["namespace_id", "scope_id", "seq"],
    ["chat_messages.namespace_id", "chat_messages.scope_id", "chat_messages.seq"],
)


class Base(DeclarativeBase):
    """The tables of the memory."""
