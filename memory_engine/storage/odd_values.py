"""Reading values that may be anything: derived rows are remade, so one that is damaged must not stop its readers."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, literal

#: The numbers that a database keeps as integers: texts and bytes, which SQLite keeps too, are beyond them.
_FIRST, _LAST = literal(-(2**63) + 1, BigInteger), literal(2**63 - 1, BigInteger)


def is_whole_number(column: Any) -> ColumnElement[bool]:
    """Whether the column holds a number, as all but a damaged row do."""
    found: ColumnElement[bool] = column.between(_FIRST, _LAST)
    return found


def whole_number(column: Any) -> ColumnElement[Any]:
    """The column's number under its name, NULL in a damaged row."""
    return case((is_whole_number(column), column)).label(column.key)


def same_whole_number(column: Any, value: int | None) -> ColumnElement[bool]:
    """Whether the column still holds what `whole_number` read."""
    same: ColumnElement[bool] = ~is_whole_number(column) if value is None else column == value
    return same


def number(value: object, default: float = 0) -> float:
    """Return the number, or `default` where it is not a finite one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return default


def mapping(value: object) -> Mapping[str, Any]:
    """Return the mapping, or an empty one where it is none."""
    return value if isinstance(value, Mapping) else {}


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list, without what is none."""
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()


def pairs(value: object) -> tuple[tuple[int, int], ...]:
    """Return the pairs of places of a list, without what is none."""
    found = []
    for each in value if isinstance(value, list | tuple) else ():
        if isinstance(each, list | tuple) and len(each) == 2 and all(_is_place(place) for place in each):
            found.append((each[0], each[1]))
    return tuple(found)


def _is_place(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
