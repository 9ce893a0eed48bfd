"""Which prompt is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memory_engine import Message

DEFAULT_BUDGET = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptRequest:
    """Which prompt is wanted."""

    conversation_id: str
    #: What the person says now; None assembles for the newest message of the conversation.
    message: str | None
    #: None: no system prompt, memory and message alone.
    agent: str | None
    token_budget: int = DEFAULT_BUDGET
    model: str | None = None
    as_of: datetime | None = None
    #: The id of `message`, where it is stored by then.
    message_id: str | None = None
    #: What the agent is told besides its prompt.
    instructions: str | None = None
    #: Only what stands before this place belongs to the history (the message itself is stored by then).
    before_seq: int | None = None
    #: The history, where it is not that of the conversation.
    history: Sequence[Message] | None = None
