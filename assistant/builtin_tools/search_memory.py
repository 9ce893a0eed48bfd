"""search_memory: looks into earlier conversations."""

from typing import Annotated, Any, Literal

from pydantic import Field

from assistant.lanes import Lane
from assistant.recalled_block import speaker
from assistant.tools import ToolContext
from memory_engine import MemoryEngine, RecallQuery
from memory_engine.times import parse_time

#: Messages of the turn itself that may be among the best; they are no news.
_OF_THIS_TURN = 4


class SearchMemory:
    """Searches what was said to the person who asks, and to nobody else."""

    def __init__(self, engine: MemoryEngine, compute: Lane) -> None:
        self._engine = engine
        self._compute = compute

    def __call__(
        self,
        context: ToolContext,
        query: Annotated[str, Field(min_length=1)],
        k: Annotated[int, Field(ge=1, le=50)] = 8,
        after: str | None = None,
        before: str | None = None,
        said_by: Literal["user", "assistant"] | None = None,
    ) -> dict[str, Any]:
        """Search everything that was said in earlier conversations, and find the messages that speak to a question.

        Args:
            context: whose memory it is.
            query: a question or some words, in any language.
            k: how many messages at most.
            after: only what was said at or after this time (ISO 8601).
            before: only what was said before this time (ISO 8601).
            said_by: only what the person, or the assistant, said.
        """
        asked = RecallQuery(
            text=query,
            k=k + _OF_THIS_TURN,
            after=None if after is None else parse_time(after, "after"),
            before=None if before is None else parse_time(before, "before"),
            roles=() if said_by is None else (said_by,),
        )
        searched = self._compute.submit(
            lambda: self._engine.search(asked, scope=context.scope), context.scope.namespace
        )
        hits = [hit for hit in searched.result().hits if context.before_seq is None or hit.seq < context.before_seq][:k]
        return {
            "found": [
                {
                    "said_at": hit.created_at.isoformat(timespec="seconds"),
                    "by": speaker(hit),
                    "conversation": hit.conversation_id,
                    "text": hit.text,
                    "message_id": hit.message_id,
                }
                for hit in hits
            ]
        }
