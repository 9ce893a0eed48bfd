"""A conversation turn by turn: its messages go to the memory, its history comes from there."""

from typing import Any

from memory_engine import MemoryEngine, Message, NewMessage, Page, Scope
from memory_engine.checks import check_text


class ConversationManager:
    """Threads and their history."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def add_user_message(self, conversation_id: str, text: str, agent: str | None, scope: Scope) -> Message:
        """Keep what the person said; durable when it returns.

        Raises:
            InvalidInput: the text is empty or cannot be kept.
            ConversationNotFound: the conversation is another user's.
        """
        kept = self._engine.remember(
            conversation_id,
            [{"role": "user", "content": check_text(text, "message")}],
            scope=scope,
            agent=agent,
        )
        return self._engine.history.message(kept.message_ids[0], scope=scope)

    def add_reply(self, conversation_id: str, reply: NewMessage, agent: str | None, scope: Scope) -> str:
        """Keep what the assistant said and return the message's id."""
        return self._engine.remember(conversation_id, [reply], scope=scope, agent=agent).message_ids[0]

    def history(self, conversation_id: str, scope: Scope, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest messages in the shape of Chat Completions, oldest first."""
        rows, _ = self._engine.history.messages(conversation_id, Page(limit=limit), scope=scope)
        return [{"role": message.role, "content": message.content} for message in reversed(rows)]

    def current_agent(self, conversation_id: str, scope: Scope) -> str | None:
        """The agent that spoke last in the conversation, if there is one."""
        return self._engine.history.current_agent(conversation_id, scope=scope)
