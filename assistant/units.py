"""What of a history must stay together: messages with the answers to their calls of tools, and whole turns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assistant.lookalikes import claims_role
from memory_engine import Message

_API_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What of a history must stay together: one message, or tool calls with all their answers."""

    messages: tuple[Message, ...]

    @property
    def ids(self) -> list[str]:
        """The ids of its messages."""
        return [message.message_id for message in self.messages]

    def as_chat(self) -> list[dict[str, Any]]:
        """Its messages in the shape of Chat Completions."""
        return [chat_message(message) for message in self.messages]


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeTurn(Unit):
    """A user's message with all that answers it; what one role says in a row is one message."""

    def as_chat(self) -> list[dict[str, Any]]:
        """Its messages in the shape of Chat Completions."""
        chats: list[dict[str, Any]] = []
        for chat in (chat_message(message) for message in self.messages):
            last = chats[-1] if chats else {"role": None}
            if chat["role"] == last["role"] and chat["role"] != "tool" and "tool_calls" not in last:
                chats[-1] = {**last, **chat, "content": _joined(last["content"], chat["content"])}
            else:
                chats.append(chat)
        return chats


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}\n\n{other}"
    parts = [[{"type": "text", "text": each}] if isinstance(each, str) else list(each or ()) for each in (one, other)]
    return [*parts[0], *parts[1]]


def units_of(history: Sequence[Message]) -> tuple[list[Unit], list[tuple[list[str], str]]]:
    """A history cut into units that may be sent, and what may not be with the reason."""
    units: list[Unit] = []
    unusable: list[tuple[list[str], str]] = []
    at = 0
    while at < len(history):
        message = history[at]
        at += 1
        if message.quarantined and not message.tool_calls:
            unusable.append(([message.message_id], "quarantined"))
        elif message.role == "system":
            unusable.append(([message.message_id], "a stored system message is not an instruction"))
        elif message.role == "tool":
            unusable.append(([message.message_id], "answers no call that stands before it"))
        elif message.tool_calls:
            answers = _answers(message, history[at:])
            at += len(answers)
            group = (message, *answers)
            if any(m.quarantined for m in group):
                unusable.append(([m.message_id for m in group], "quarantined"))
            elif len(answers) == len(_ids_of(message)):
                units.append(Unit(messages=group))
            else:
                unusable.append(([m.message_id for m in group], "a tool call without its answer"))
        else:
            units.append(Unit(messages=(message,)))
    return units, unusable


def whole_turns(units: Sequence[Unit], *, before_assistant: bool) -> list[WholeTurn]:
    """The turns that units make, so that roles alternate: each begins with a user and ends with an assistant.

    Args:
        units: oldest first.
        before_assistant: whether an assistant's message comes next, so that the last turn is left without its answer.
    """
    turns: list[list[Message]] = []
    for unit in units:
        if unit.messages[0].role == "user" and (not turns or turns[-1][-1].role != "user"):
            turns.append([])
        if turns:
            turns[-1] += unit.messages
    last = turns.pop() if turns else []
    if before_assistant:
        while last and last[-1].role != "user":
            last.pop()
    elif last and (last[-1].role != "assistant" or last[-1].tool_calls):
        last = []
    answered = [turn for turn in turns if turn[-1].role == "assistant" and not turn[-1].tool_calls]
    return [WholeTurn(messages=tuple(turn)) for turn in [*answered, *([last] if last else [])]]


def _answers(message: Message, following: Sequence[Message]) -> list[Message]:
    open_calls = _ids_of(message)
    answers = []
    for answer in following:
        if answer.role != "tool" or answer.tool_call_id not in open_calls:
            break
        open_calls.discard(answer.tool_call_id)
        answers.append(answer)
    return answers


def _ids_of(message: Message) -> set[str]:
    """The ids of its calls; rows of earlier versions may have calls without one, which nothing can answer."""
    return {str(call.get("id") or f"no id {number}") for number, call in enumerate(message.tool_calls or ())}


def chat_message(message: Message) -> dict[str, Any]:
    """A kept message in the shape of Chat Completions."""
    chat: dict[str, Any] = {"role": message.role, "content": message.content}
    # Of an assistant's turn the agent is named, so that a switch can be seen.
    name = message.agent if message.role == "assistant" else message.name
    if name and _API_NAME.fullmatch(name) and not claims_role(name):
        chat["name"] = name
    if message.tool_calls:
        chat["content"] = message.text or None
        chat["tool_calls"] = list(message.tool_calls)
    if message.tool_call_id:
        chat["tool_call_id"] = message.tool_call_id
    return chat
