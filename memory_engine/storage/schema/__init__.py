"""The tables. Every key begins with the namespace; a scope's rows go on with the scope (ADR 2).

Times are integer microseconds since the Unix epoch, UTC. Large columns stand last, so that reading the small
ones does not touch the pages of the texts.
"""

from memory_engine.storage.schema.base import NAME, Base
from memory_engine.storage.schema.derived import (
    ConsolidationRow,
    DerivationRow,
    LinkMessage,
    LinkRow,
    NoteMessage,
    NoteRow,
    PatternMessage,
    PatternRow,
    SetAsideRow,
    SummaryCitation,
    SummaryRow,
    SummarySentence,
)
from memory_engine.storage.schema.erasures import ErasedName, ErasureCanaries, ErasureReceipt, Suppression
from memory_engine.storage.schema.messages import (
    AssistantThread,
    BranchRow,
    ChatMessage,
    EmbeddingSpace,
    MessageChange,
    MessageEmbedding,
    MessageQuote,
    MessageTerms,
    MessageVersion,
    OutboxRow,
)
from memory_engine.storage.schema.store import Namespace, RetentionPolicy, ScopeRow, StoreSetting

__all__ = [
    "NAME",
    "AssistantThread",
    "Base",
    "BranchRow",
    "ChatMessage",
    "ConsolidationRow",
    "DerivationRow",
    "EmbeddingSpace",
    "ErasedName",
    "ErasureCanaries",
    "ErasureReceipt",
    "LinkMessage",
    "LinkRow",
    "MessageChange",
    "MessageEmbedding",
    "MessageQuote",
    "MessageTerms",
    "MessageVersion",
    "Namespace",
    "NoteMessage",
    "NoteRow",
    "OutboxRow",
    "PatternMessage",
    "PatternRow",
    "RetentionPolicy",
    "ScopeRow",
    "SetAsideRow",
    "StoreSetting",
    "SummaryCitation",
    "SummaryRow",
    "SummarySentence",
    "Suppression",
]
