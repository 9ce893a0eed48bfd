"""The one validator of texts, names and JSON values that are to be kept."""

import re
from collections.abc import Mapping, Sequence

from memory_engine.errors import InvalidInput, TextTooLarge

#: Bytes of UTF-8 that one message's text may take.
MAX_TEXT_BYTES = 1024 * 1024
#: Characters of a namespace, a user, a conversation's or message's id, a name.
MAX_NAME_LENGTH = 256

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
    if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES:
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


def check_values(value: object, param: str, depth: int = 0) -> None:
    """Check every text inside a JSON value, its keys too.

    Raises:
        InvalidInput: a text cannot be kept, a number is not finite, or it is nested over 32 levels.
    """
    if depth > 32:
        raise InvalidInput("It is nested too deeply.", param=param)
    if isinstance(value, str):
        check_text(value, param)
    elif isinstance(value, float) and value - value != 0:
        raise InvalidInput("It holds a number that is not finite.", param=param)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_text(str(key), param)
            check_values(inner, param, depth + 1)
    elif isinstance(value, Sequence):
        for inner in value:
            check_values(inner, param, depth + 1)
