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
        parts: what it was packed from. Its whole history counts, because replies in it may repeat what has no room.
        choice: what of the parts is in it.
        said: the message that it answers.
        happened: calls of tools and their answers in this turn, in the shape of Chat Completions.
    """
    history = [message for unit in parts.history for message in unit.messages]
    asking = [call for message in history for call in message.tool_calls or ()]
    asking += [call for chat in happened for call in chat.get("tool_calls") or ()]
    answered = [message.tool_call_id for message in history if message.role == "tool"]
    answered += [chat["tool_call_id"] for chat in happened if chat["role"] == "tool"]
    return Provenance(
        message_ids=frozenset(name for item in items for name in item["message_ids"]),
        note_ids=frozenset(item["note_id"] for item in items if "note_id" in item),
        is_foreign=_holds_tools_text(asking, answered)
        or any(_is_anothers(message, said) for message in history)
        or any(_is_anothers(parts.hits[number], said) for number in choice.hits)
        or any(parts.background[number].is_foreign for number in choice.background),
    )


def _holds_tools_text(asking: Sequence[Mapping[str, Any]], answered: Sequence[str | None]) -> bool:
    names = {call.get("id"): (call.get("function") or {}).get("name") for call in asking}
    return any(names.get(call_id) not in _OWN_ANSWERS for call_id in answered)


def _is_anothers(shown: Message | RecallHit, said: Message) -> bool:
    """Whether neither the person nor the assistant said it in this conversation."""
    if shown.conversation_id != said.conversation_id or shown.role == "system":
        return True
    if isinstance(shown, RecallHit) and shown.role == "tool":
        return True
    return shown.role == "user" and shown.name not in (None, said.name)
