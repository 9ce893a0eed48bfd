"""What the prompts of a turn rest on, and whether they hold text of others than the person and the assistant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.packing import Choice, Parts
from memory_engine import Message, RecallHit

#: Tools whose answers hold nothing but what the model wrote itself.
_OWN_ANSWERS = frozenset({"write_note"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What the prompts of a turn rest on."""

    message_ids: frozenset[str] = frozenset()
    #: Notes that were made of messages.
    note_ids: frozenset[str] = frozenset()
    #: Whether they hold text of tools, of other conversations, or of other people.
    is_foreign: bool = False

    def __or__(self, other: "Provenance") -> "Provenance":
        """What both rest on together."""
        return Provenance(
            message_ids=self.message_ids | other.message_ids,
            note_ids=self.note_ids | other.note_ids,
            is_foreign=self.is_foreign or other.is_foreign,
        )


NOTHING = Provenance()


def provenance_of(
    items: Sequence[Mapping[str, Any]], parts: Parts, choice: Choice, said: Message, *, happened: Sequence[Any]
) -> Provenance:
    """Return what one prompt rests on.

    Args:
        items: those of its manifest.
        parts: what it was packed from. Its whole history counts, because replies in it may repeat what has no room. A
            call of a tool stands for its answer: neither is sent without the other.
        choice: what of the parts is in it.
        said: the message that it answers.
        happened: calls of tools and their answers in this turn, in the shape of Chat Completions.
    """
    history = [message for unit in parts.history for message in unit.messages]
    calls = [call for message in history for call in message.tool_calls or ()]
    calls += [call for chat in happened for call in chat.get("tool_calls") or ()]
    return Provenance(
        message_ids=frozenset(name for item in items for name in item["message_ids"]),
        note_ids=frozenset(item["note_id"] for item in items if "note_id" in item),
        is_foreign=any(_tool_of(call) not in _OWN_ANSWERS for call in calls)
        or any(_is_anothers(message, said) for message in history)
        or any(_is_anothers(parts.hits[number], said) for number in choice.hits)
        or any(parts.background[number].is_foreign for number in choice.background),
    )


def _tool_of(call: Mapping[str, Any]) -> object:
    """The name of the tool; None for a call of another shape."""
    function = call.get("function")
    return function.get("name") if isinstance(function, Mapping) else None


def _is_anothers(shown: Message | RecallHit, said: Message) -> bool:
    """Whether neither the person nor the assistant said it in this conversation."""
    if shown.conversation_id != said.conversation_id or shown.role == "system":
        return True
    if isinstance(shown, RecallHit) and shown.role == "tool":
        return True
    return shown.role == "user" and shown.name not in (None, said.name)
