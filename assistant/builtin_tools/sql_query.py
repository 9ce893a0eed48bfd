"""A tool that queries one SQL database and can only read it."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from assistant.errors import ToolFailed
from assistant.storage.read_only import read_only_database


class SqlQuery:
    """Runs one query against a database that is opened for reading; see `assistant.storage.read_only`.

    With PostgreSQL, give the URL of a role of its own that owns nothing and may read what the model may see.
    """

    def __init__(self, url: str, *, max_rows: int = 100, timeout: float = 5.0, max_bytes: int = 100_000) -> None:
        """Prepare the tool; nothing is connected yet.

        Args:
            url: `sqlite:///path` or `postgresql+psycopg://…`.
            max_rows: rows after which the rest is left out.
            timeout: seconds that a query may take.
            max_bytes: bytes of the rows as JSON, after which the rest is left out.

        Raises:
            SettingsInvalid: the URL names neither kind of database.
        """
        self._database = read_only_database(url, timeout)
        self._max_rows = max_rows
        self._max_bytes = max_bytes

    def __call__(self, query: str) -> dict[str, Any]:
        """Run one SQL query that reads, and return its columns and rows.

        When there are more rows than have room, truncated is true; a row that is too large by itself is left out with
        all that follow it: ask for fewer or shorter columns then.

        Args:
            query: One SELECT statement in the database's dialect.

        Raises:
            ToolFailed: the query is refused or wrong, or the database cannot be reached.
            ToolTimedOut: the query takes longer than it may.
        """
        with self._database.reading(query) as found:
            room = self._max_bytes - _size(found.columns)
            if room < 0:
                raise ToolFailed("The names of the columns alone are too long.")
            rows: list[list[Any]] = []
            truncated = False
            for row in found.rows:
                plain = [_plain(value) for value in row]
                room -= _size(plain)
                if len(rows) == self._max_rows or room < 0:
                    truncated = True
                    break
                rows.append(plain)
        return {"columns": list(found.columns), "rows": rows, "truncated": truncated}


def _size(values: Any) -> int:
    return len(json.dumps(values, ensure_ascii=False).encode(errors="replace"))


def _plain(value: Any) -> Any:
    """A value as JSON has it: bytes as base64, dates in ISO 8601, and what else JSON has no kind for as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return str(value)
