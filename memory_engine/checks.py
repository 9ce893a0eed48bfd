"""The one validator of texts, names and JSON values that are to be kept."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from memory_engine.errors import EmptyTarget, InvalidInput, InvalidTarget, TextTooLarge

#: Bytes of UTF-8 that one message's text may take.
MAX_TEXT_BYTES = 1024 * 1024
#: Characters of a namespace, a user, a conversation's or message's id, a name.
MAX_NAME_LENGTH = 256

#: Levels of nesting of a JSON value.
_DEEPEST = 32
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def check_text(text: str, param: str) -> str:
    """Return the text if it can be kept on every database.

    Raises:
        InvalidInput: it holds a NUL or a lone surrogate.
        TextTooLarge: it is over MAX_TEXT_BYTES of UTF-8.
    """
    if found := _FORBIDDEN.search(text):
        what = "a NUL character" if found.group() == "\x00" else "a lone surrogate"
        raise InvalidInput(f"The text holds {what} at position {found.start()}.", param=param)
    return check_size(text, param)


def check_size(text: str, param: str) -> str:
    """Return the text if it is not too long.

    Raises:
        TextTooLarge: it is over MAX_TEXT_BYTES of UTF-8.
    """
    if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise TextTooLarge(f"The text is over {MAX_TEXT_BYTES:,} bytes of UTF-8.", param=param)
    return text


def check_name(name: str, param: str) -> str:
    """Return the id or name if it is 1 to 256 characters without control characters.

    Raises:
        InvalidInput: it is not.
    """
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        raise InvalidInput(f"{param} must have 1 to {MAX_NAME_LENGTH} characters.", param=param)
    if _CONTROL.search(name):
        raise InvalidInput(f"{param} holds a control character or a lone surrogate.", param=param)
    return name


def check_target(name: object, param: str) -> str:
    """Return the id or name of what is to be deleted.

    Raises:
        EmptyTarget: it is None, empty or white space.
        InvalidTarget: it is not a text, or not a valid name.
    """
    if name is None:
        raise EmptyTarget(f"{param} is null. Name what is to be deleted.", param=param)
    if not isinstance(name, str):
        raise InvalidTarget(f"{param} must be a text.", param=param)
    if not name.strip():
        raise EmptyTarget(f"{param} is empty. Name what is to be deleted.", param=param)
    try:
        return check_name(name, param)
    except InvalidInput as exc:
        raise InvalidTarget(exc.message, param=param) from exc


def check_targets(names: object, param: str) -> list[str]:
    """Return the ids of what is to be deleted: one at least, each once.

    Raises:
        EmptyTarget: there is none, or one of them is None, empty or white space.
        InvalidTarget: it is not a list of ids.
    """
    if names is None:
        raise EmptyTarget(f"{param} is null. Name what is to be deleted.", param=param)
    if isinstance(names, str | bytes | Mapping) or not isinstance(names, Iterable):
        raise InvalidTarget(f"{param} must be a list of ids.", param=param)
    named = list(names)
    if not named:
        raise EmptyTarget(f"{param} is empty. Name what is to be deleted.", param=param)
    return list(dict.fromkeys(check_target(name, f"{param}[{place}]") for place, name in enumerate(named)))


def fields_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's fields; for `json.loads(…, object_pairs_hook=fields_once)`.

    Raises:
        InvalidTarget: a field is named twice, so that one of its values would be ignored.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidTarget(f"The field {name!r} is named twice.", param=name)
        found[name] = value
    return found


def check_values(value: object, param: str, depth: int = 0, check: Callable[[str, str], object] = check_text) -> None:
    """Check every text inside a JSON value, its keys too.

    Args:
        value: the JSON value.
        param: what it is called in an error.
        depth: levels of nesting around it.
        check: the check of a text.

    Raises:
        InvalidInput: a text cannot be kept, a number is not finite or has over 64 bits, or it is nested over 32 levels.
    """
    if depth > _DEEPEST:
        raise InvalidInput("It is nested too deeply.", param=param)
    if isinstance(value, Mapping):
        for inner in chain(map(str, value), value.values()):
            check_values(inner, param, depth + 1, check)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        for inner in value:
            check_values(inner, param, depth + 1, check)
    elif isinstance(value, str):
        check(value, param)
    elif value is not None:
        _check_number(value, param)


def _check_number(value: object, param: str) -> None:
    if not isinstance(value, float | int):
        raise InvalidInput(f"JSON has no value of the type {type(value).__name__}.", param=param)
    if isinstance(value, float) and value - value != 0:
        raise InvalidInput("It holds a number that is not finite.", param=param)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidInput("It holds a whole number of more than 64 bits.", param=param)
