"""Reads times as clients give them: ISO 8601 texts, and Unix times in seconds, milliseconds or microseconds."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from memory_engine.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: When a message can have been said: from the first to before the second.
_FIRST, _END = _EPOCH, datetime(2101, 1, 1, tzinfo=UTC)
#: Unix time as a text. A fraction is of whatever the whole part counts.
_DIGITS = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
#: ISO 8601 without hyphens. A year, or a year and a month, is not a time: it is refused, not read as seconds of 1970.
_ISO_DIGITS = re.compile(r"(19[7-9][0-9]|20[0-9]{2}|2100)((0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])?)?")
#: From here on a number counts milliseconds, and from the second on microseconds: seconds would be of the year 5138.
_MILLISECONDS, _MICROSECONDS = 10**11, 10**14
#: Characters of a wrong text that an error repeats, and below what a number is repeated: Python does not print all.
_SHOWN, _HUGE = 40, 10**20


def parse_time(value: object, param: str) -> datetime:
    """Read an ISO 8601 text (UTC where it names no zone) or Unix time as a UTC time.

    Unix time is a number or a text of digits. Its length says what it counts: seconds up to 11 digits, milliseconds up
    to 14, microseconds above. A text of eight digits that is a date is ISO 8601.

    Raises:
        InvalidInput: it is neither, or lies outside the years 1 to 9999.
    """
    try:
        moment = _moment(value, param)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        text = "A time is an ISO 8601 text or Unix time, within the years 1 to 9999."
        raise InvalidInput(text, param=param) from exc


def parse_time_said(value: object, param: str) -> datetime:
    """Read when a message was said, as `parse_time` does.

    Raises:
        InvalidInput: it is not a time, or lies outside the years 1970 to 2100.
    """
    try:
        moment = parse_time(value, param)
    except InvalidInput as exc:
        raise InvalidInput(_refusal(value), param=param) from exc
    if not _FIRST <= moment < _END:
        raise InvalidInput(_refusal(value), param=param)
    return moment


def _moment(value: object, param: str) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        text = value.strip()
        if _DIGITS.fullmatch(text) and not _ISO_DIGITS.fullmatch(text):
            return _unix(Decimal(text))
        return datetime.fromisoformat(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _unix(value)
    raise InvalidInput("A time is an ISO 8601 text or Unix time.", param=param)


def _unix(value: float | Decimal) -> datetime:
    size = abs(float(value))
    unit = 1_000_000 if size < _MILLISECONDS else 1_000 if size < _MICROSECONDS else 1
    return _EPOCH + timedelta(microseconds=round(value * unit))


def _refusal(value: object) -> str:
    if isinstance(value, str):
        shown = repr(value[:_SHOWN])
    elif isinstance(value, int | float) and -_HUGE < value < _HUGE:
        shown = repr(value)
    else:
        shown = f"the {type(value).__name__} that was given"
    return f"created_at is not a valid time: {shown}. Use ISO 8601 or Unix time, within the years 1970 to 2100."
