"""A conversation turn by turn: its messages go to the memory, its history comes from there."""

from collections.abc import Sequence
from typing import Any

from memory_engine import MemoryEngine, Message, NewMessage, Page, Scope
from memory_engine.checks import check_text
from memory_engine.errors import InvalidInput

#: Newest messages among which calls without an answer are looked for.
_NEWEST = 40
_LOST = '{"error": "The call was begun and its outcome is not known; it is not made again.", "code": "tool_failed"}'


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
        if not text.strip():
            raise InvalidInput("The message is empty.", param="message")
        said = NewMessage(role="user", text=check_text(text, "message"))
        kept = self._engine.remember(conversation_id, [said], scope=scope, agent=agent)
        return self._engine.history.message(kept.message_ids[0], scope=scope)

    def newest_user_message(self, conversation_id: str, scope: Scope) -> Message:
        """The last that the person said.

        Raises:
            InvalidInput: they said nothing yet.
        """
        newest = self._engine.history.newest(conversation_id, _NEWEST, scope=scope)
        said = [message for message in newest if message.role == "user" and message.text.strip()]
        if not said:
            raise InvalidInput("Nothing was said in this conversation yet.", param="conversation_id")
        return said[-1]

    def add(self, conversation_id: str, said: Sequence[NewMessage], agent: str | None, scope: Scope) -> tuple[str, ...]:
        """Keep what the assistant or its tools said, and return the messages' ids."""
        return self._engine.remember(conversation_id, said, scope=scope, agent=agent).message_ids

    def end_open_calls(self, conversation_id: str, scope: Scope) -> int:
        """Answer calls of tools that have no answer, because the process ended in the middle; how many there were.

        What such a call did is not known, and it is not made again.
        """
        last = self._engine.history.newest(conversation_id, 1, scope=scope)
        if not last or not (last[0].role == "tool" or last[0].tool_calls):
            return 0  # as nearly always
        newest = self._engine.history.newest(conversation_id, _NEWEST, scope=scope)
        asking = next((n for n in reversed(range(len(newest))) if newest[n].tool_calls), None)
        if asking is None or any(message.role != "tool" for message in newest[asking + 1 :]):
            return 0
        answered = {message.tool_call_id for message in newest[asking + 1 :]}
        lost = [call for call in newest[asking].tool_calls or () if call.get("id") not in answered]
        named = [str(call["id"]) for call in lost if call.get("id")]
        answers = [NewMessage(role="tool", text=_LOST, tool_call_id=name, recallable=False) for name in named]
        if answers:
            self.add(conversation_id, answers, newest[asking].agent, scope)
        return len(answers)

    def history(self, conversation_id: str, scope: Scope, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest messages in the shape of Chat Completions, oldest first."""
        rows, _ = self._engine.history.messages(conversation_id, Page(limit=limit), scope=scope)
        return [{"role": message.role, "content": message.content} for message in reversed(rows)]

    def current_agent(self, conversation_id: str, scope: Scope) -> str | None:
        """The agent that spoke last in the conversation, if there is one."""
        return self._engine.history.current_agent(conversation_id, scope=scope)
