"""write_note: keeps a small text that always stands in the prompt."""

from typing import Annotated, Any

from pydantic import Field

from assistant.tools import ToolContext
from memory_engine import MemoryEngine


class WriteNote:
    """Writes notes as the agent that asks; each writing is a version, and people can change or remove it.

    A note rests on the messages of the prompt in which it was written: it is held and erased with them.
    """

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def __call__(
        self,
        context: ToolContext,
        name: Annotated[str, Field(min_length=1, max_length=64)],
        text: Annotated[str, Field(min_length=1, max_length=2000)],
    ) -> dict[str, Any]:
        """Write down, under a name, what should always be before your eyes in talks with this person.

        Writing under a name that is there replaces what stood there. Use it only for what the person wants kept.

        Args:
            context: whose prompt it is to stand in.
            name: what the note is about, in a word or two.
            text: the note itself, short.
        """
        by = f"agent {context.agent}"
        note = self._engine.notes.put(context.scope, name, text, agent=context.agent, by=by, sources=context.sources)
        return {"note": note.name, "version": note.version}
