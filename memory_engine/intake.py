"""Stores the messages of one call: all of them or none, or those that can be stored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from memory_engine.errors import IdConflict, InvalidInput, WrongMessage
from memory_engine.models import NewMessage, OnInvalid, Remembered, Scope
from memory_engine.parsing import parse_messages
from memory_engine.remembering import Rememberer


def remember_call(
    rememberer: Rememberer,
    scope: Scope,
    conversation_id: str,
    raw: Sequence[Mapping[str, Any] | NewMessage],
    *,
    agent: str | None,
    on_invalid: OnInvalid,
) -> Remembered:
    """Commit the messages of a call.

    Args:
        rememberer: what commits them.
        scope: whose memory it is.
        conversation_id: the conversation.
        raw: the messages as they were sent.
        agent: the agent that speaks in them.
        on_invalid: `refuse` stores nothing where a message is wrong; `skip` stores the others.

    Raises:
        InvalidInput: a message is wrong, or there are none or too many; nothing was written. Its details have every
            wrong message, or every id that is taken where no message is wrong of itself.
        ConversationNotFound: the conversation is another scope's.
        StoreError: the store does not answer; nothing was written.
    """
    if on_invalid not in ("refuse", "skip"):
        raise InvalidInput("on_invalid must be 'refuse' or 'skip'.", param="on_invalid")
    read = parse_messages(raw)
    if read.wrong and on_invalid == "refuse":
        raise read.refusal()
    good, skipped = list(read.good), list(read.details)
    while good:
        try:
            kept = rememberer.remember(scope, conversation_id, [message for _, message in good], agent)
        except IdConflict as exc:
            if on_invalid == "refuse":
                raise
            taken = {wrong.index: wrong for wrong in exc.details}
            skipped += [_placed(wrong, good[place][0]) for place, wrong in taken.items()]
            good = [each for place, each in enumerate(good) if place not in taken]
        else:
            return replace(kept, skipped=_in_order(skipped))
    return Remembered(conversation_id=conversation_id, thread_id=None, message_ids=(), skipped=_in_order(skipped))


def _placed(wrong: WrongMessage, number: int) -> WrongMessage:
    return WrongMessage(number, f"messages[{number}].id", wrong.message)


def _in_order(skipped: Sequence[WrongMessage]) -> tuple[WrongMessage, ...]:
    return tuple(sorted(skipped, key=lambda wrong: wrong.index))
