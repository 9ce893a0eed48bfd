"""The values of a turn: what a person says, what comes of it on the way, and what is answered."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What a person says, and how it is to be answered."""

    conversation_id: str
    #: None: the newest of what the person said in the conversation.
    message: str | None
    #: The agent that answers, or an old assistant's id; None: whom the message asks for, who spoke last, the greeter.
    agent: str | None = None
    model: str | None = None
    #: The agent's own, or 4,000, unless given.
    token_budget: int | None = None
    #: Chat Completions' own, such as {"type": "json_object"}.
    response_format: Mapping[str, Any] | None = None
    #: Names of the tools that may be used, in place of the agent's own.
    tools: tuple[str, ...] | None = None
    #: Names of the tools whose calls a person has agreed to beforehand, in this turn: the hook is not asked for them.
    confirmed_tools: tuple[str, ...] = ()
    #: What the agent is told besides its prompt, for this turn.
    instructions: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the assistant answered."""

    conversation_id: str
    #: None where the answer could not be stored.
    message_id: str | None
    text: str
    agent: str
    model: str
    #: The calls that were made in this turn, in the shape of Chat Completions.
    tool_calls: tuple[dict[str, Any], ...]
    usage: dict[str, int] | None
    manifest_id: str
    #: What could not be stored, as a code; None when all went well.
    notice: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """A piece of the reply's text."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCalled:
    """A tool was called."""

    call_id: str
    name: str
    arguments: str
    #: What the model is shown of it.
    output: str
    #: The error's code, or None.
    error: str | None


Event = Delta | ToolCalled
#: Told what comes of a turn, as it comes.
Emit = Callable[[Event], Awaitable[None]]


async def nobody(_event: Event) -> None:
    """Tell nobody."""
