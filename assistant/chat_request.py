"""The body of a request to /v1/chat/completions: which conversation it names, and what is wrong with it offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from memory_engine import Whose
from memory_engine.checks import check_name
from memory_engine.errors import InvalidInput

#: Where `metadata` names a conversation; taken out before a request goes on.
NAMES = frozenset({"conversation_id", "thread_id"})
#: What a model server reads: name, kind, and the kind in words.
_READ: tuple[tuple[str, type, str], ...] = (
    ("stream", bool, "true or false"),
    ("metadata", Mapping, "an object"),
    ("user", str, "a string"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """What a client asks, and what of it is for the memory."""

    #: As it came.
    raw: bytes
    #: Without what is for the memory.
    body: Mapping[str, Any]
    #: Whether something was taken out.
    is_changed: bool
    #: Whose memory it is; None is the namespace's default user.
    user: str | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    whose: Whose = None
    #: Why nothing is remembered, where a conversation is named and nothing can be.
    notices: frozenset[str] = frozenset()

    @property
    def is_remembered(self) -> bool:
        """Whether it names a conversation, in a way that can be understood."""
        return not self.notices & _STOPPING and (self.conversation_id or self.thread_id) is not None


#: Notices of what keeps a request from being remembered.
_STOPPING = frozenset({"invalid_user", "invalid_conversation_id", "invalid_thread_id", "messages_not_understood"})


def read_request(raw: bytes, body: Mapping[str, Any], named: str | None, whose: str | None) -> ChatRequest:
    """Read what is for the memory, and take it out. Nothing is refused: what cannot be understood is noticed.

    Args:
        raw: the request as it came.
        body: the same, parsed.
        named: the conversation that a header names.
        whose: whose history counts, as a header says it.
    """
    metadata = body.get("metadata")
    held = {name: metadata[name] for name in NAMES if name in metadata} if isinstance(metadata, Mapping) else {}
    names = {"conversation_id": named} if named is not None else _named_in(held)
    notices = {f"invalid_{name}" for name, value in names.items() if not _is_name(value)}
    user = body.get("user")
    if user is not None and not _is_name(user):
        notices.add("invalid_user")
    if not isinstance(body.get("messages"), list):
        notices.add("messages_not_understood")
    if whose not in (None, "client", "stored"):
        notices.add("invalid_history_header")
    return ChatRequest(
        raw=raw, body=_without(body, held), is_changed=bool(held), user=None if "invalid_user" in notices else user,
        **{name: cast(str, value) for name, value in names.items() if f"invalid_{name}" not in notices},
        whose=cast(Whose, whose) if whose in ("client", "stored") else None,
        notices=frozenset(notices) if names else frozenset(),
    )  # fmt: skip


def _named_in(held: Mapping[str, Any]) -> dict[str, Any]:
    """The one name that counts: a conversation's before a thread's."""
    return next(({name: held[name]} for name in ("conversation_id", "thread_id") if name in held), {})


def _is_name(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(check_name(value, "name"))
    except InvalidInput:
        return False


def _without(body: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    if not held:
        return dict(body)
    rest = {name: value for name, value in body["metadata"].items() if name not in NAMES}
    return {**body, "metadata": rest} if rest else {name: value for name, value in body.items() if name != "metadata"}


_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
#: Numbers that a request may hold: least and most.
_NUMBERS = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
#: The same of whole numbers.
_COUNTS = {"n": (1, 128), "max_tokens": (1, 2**31), "max_completion_tokens": (1, 2**31)}


def check_whole(body: Mapping[str, Any]) -> None:
    """See that a model's server would take the request, where there is none that could say so.

    Raises:
        InvalidInput: it would not; the error names what is wrong.
    """
    _check_read(body)
    if not isinstance(body.get("model"), str) or not body["model"].strip():
        raise InvalidInput("model must name a model.", param="model")
    for name, (least, most) in _NUMBERS.items():
        if body.get(name) is not None and not _is_between(body[name], int | float, least, most):
            raise InvalidInput(f"{name} must be a number from {least} to {most}.", param=name)
    for name, (least, most) in _COUNTS.items():
        if body.get(name) is not None and not _is_between(body[name], int, least, most):
            raise InvalidInput(f"{name} must be a whole number from {least} to {most:,}.", param=name)
    for number, message in enumerate(body["messages"]):
        _check_message(message, f"messages[{number}]")


def _check_read(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("messages must be a list of messages.", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InvalidInput("A message must be an object.", param=f"messages[{number}]")
    for name, kind, what in _READ:
        if body.get(name) is not None and not isinstance(body[name], kind):
            raise InvalidInput(f"{name} must be {what}.", param=name)


def _is_between(value: object, kind: Any, least: int, most: int) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most


def _check_message(message: Mapping[str, Any], param: str) -> None:
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        raise InvalidInput(f"The role must be one of {', '.join(_ROLES)}.", param=f"{param}.role")
    calls = role == "assistant" and any(message.get(name) for name in ("tool_calls", "function_call", "refusal"))
    if content is None and not calls:
        raise InvalidInput("The content is missing.", param=f"{param}.content")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise InvalidInput("A tool's message needs the tool_call_id that it answers.", param=f"{param}.tool_call_id")
    _check_content(content, f"{param}.content")


def _check_content(content: object, param: str) -> None:
    if not isinstance(content, str | list | None):
        raise InvalidInput("The content must be a text or a list of content parts.", param=param)
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InvalidInput("A content part must be an object with a type.", param=f"{param}[{number}]")
