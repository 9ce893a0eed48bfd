"""The body of a request to /v1/chat/completions: what is wrong with it, before anything of it is kept."""

from collections.abc import Mapping
from typing import Any

from memory_engine.checks import check_name
from memory_engine.errors import InvalidInput

#: Where `metadata` names a conversation; taken out before a request goes on.
NAMES = frozenset({"conversation_id", "thread_id"})
#: What this service reads: name, kind, and the kind in words.
_READ: tuple[tuple[str, type, str], ...] = (
    ("stream", bool, "true or false"),
    ("metadata", Mapping, "an object"),
    ("user", str, "a text"),
)
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
#: Numbers that a request may hold: least and most.
_NUMBERS = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
#: The same of whole numbers.
_COUNTS = {"n": (1, 128), "max_tokens": (1, 2**31), "max_completion_tokens": (1, 2**31)}


def check_read(body: Mapping[str, Any]) -> None:
    """See that what this service reads itself is of the right kind; null is as if it were not there.

    Raises:
        InvalidInput: something is not; the error names it.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("messages must be a list of messages.", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InvalidInput("A message must be an object.", param=f"messages[{number}]")
    for name, kind, what in _READ:
        if body.get(name) is not None and not isinstance(body[name], kind):
            raise InvalidInput(f"{name} must be {what}.", param=name)
    metadata = body.get("metadata") or {}
    for name in NAMES.intersection(metadata):
        if not isinstance(metadata[name], str):
            raise InvalidInput(f"{name} must be a text.", param=f"metadata.{name}")
        check_name(metadata[name], f"metadata.{name}")


def check_whole(body: Mapping[str, Any]) -> None:
    """See that a model's server would take the request, where there is none that could say so.

    Raises:
        InvalidInput: it would not; the error names what is wrong.
    """
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
