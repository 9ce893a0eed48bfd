"""The memory: knows nothing of HTTP, prompts or chat models. These are its public names."""

from memory_engine.embedding import EmbedderOptions
from memory_engine.engine import MemoryEngine
from memory_engine.errors import MemoryEngineError
from memory_engine.following import Followed, Whose
from memory_engine.history import DEFAULT_SCOPE
from memory_engine.models import (
    Conversation,
    Fate,
    Link,
    Message,
    NewMessage,
    Note,
    Page,
    Pattern,
    RecallHit,
    RecallQuery,
    Recollection,
    Remembered,
    Scope,
    Stats,
    Summary,
)
from memory_engine.status import PartStatus
from memory_engine.storage.receipts import Receipt

__all__ = [
    "DEFAULT_SCOPE",
    "Conversation",
    "EmbedderOptions",
    "Fate",
    "Followed",
    "Link",
    "MemoryEngine",
    "MemoryEngineError",
    "Message",
    "NewMessage",
    "Note",
    "Page",
    "PartStatus",
    "Pattern",
    "RecallHit",
    "RecallQuery",
    "Receipt",
    "Recollection",
    "Remembered",
    "Scope",
    "Stats",
    "Summary",
    "Whose",
]
