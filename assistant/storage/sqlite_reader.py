"""A program that runs one query against a SQLite file it can only read; `read_only` starts it.

It is a process of its own because SQLite looks at the clock between its instructions alone, and a single one may take
minutes (`instr` on long texts, say): a process can be ended. It imports nothing of the project, to start quickly.

Reads one line of JSON: address, query, seconds, bytes of memory. Writes lines of JSON: ["columns", [...]], then
["row", [...]] for each, then ["end", ""]; or, at any time, ["failed" | "refused" | "timed out", reason].
"""

import base64
import json
import sqlite3
import sys
import time
from contextlib import closing, suppress
from typing import Any

#: Bytes that a value or a query may have.
_MAX_VALUE = 1_000_000
#: SQLite's instructions between two looks at the clock.
_STEPS = 1000

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _MAX_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: _MAX_VALUE,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
#: Functions of SQLite, its shell and its extensions that reach out of the database.
_FUNCTIONS_REFUSED = ("load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "fsdir")
_OUTCOMES = {sqlite3.SQLITE_INTERRUPT: "timed out", sqlite3.SQLITE_AUTH: "refused"}


def main() -> None:
    """Run the query that stands on standard input."""
    address, query, seconds, memory = json.loads(sys.stdin.readline())
    _limit_memory(memory)
    try:
        _run(address, query, seconds)
    except (sqlite3.Error, sqlite3.Warning) as exc:
        _say(_OUTCOMES.get(getattr(exc, "sqlite_errorcode", 0), "failed"), str(exc).rstrip("."))
    except MemoryError:
        _say("failed", "it takes too much memory")


def _run(address: str, query: str, seconds: float) -> None:
    ends = time.monotonic() + seconds
    with closing(sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None)) as connection:
        connection.text_factory = _text
        _open_virtual_tables(connection)
        connection.execute("PRAGMA query_only=ON")
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.set_progress_handler(lambda: time.monotonic() >= ends, _STEPS)
        connection.set_authorizer(_authorize)
        cursor = connection.execute(query)
        if cursor.description is None:
            _say("failed", "it is no query: it has no rows")
            return
        _say("columns", [column[0] for column in cursor.description])
        for row in cursor:
            _say("row", row)
        _say("end", "")


def _open_virtual_tables(connection: sqlite3.Connection) -> None:
    """Have SQLite declare them, and the two over JSON, before the authorizer stands: that counts as writing."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'").fetchall()
    for (name,) in [("json_each",), ("json_tree",), *names]:
        with suppress(sqlite3.Error):  # one whose module is not here
            connection.execute('SELECT 1 FROM "{}" LIMIT 0'.format(name.replace('"', '""')))


def _limit_memory(size: int) -> None:
    if sys.platform == "linux":  # macOS has the call and refuses it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _authorize(action: int, first: str | None, second: str | None, _database: str | None, _within: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS_REFUSED:
        return sqlite3.SQLITE_DENY
    # FTS5 asks for this number itself, before it reads.
    asks_version = action == sqlite3.SQLITE_PRAGMA and first == "data_version" and second is None
    return sqlite3.SQLITE_OK if action in _ALLOWED or asks_version else sqlite3.SQLITE_DENY


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _base64(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _say(kind: str, what: Any) -> None:
    sys.stdout.write(json.dumps([kind, what], default=_base64) + "\n")
    sys.stdout.flush()  # the reader may have enough before the query ends


if __name__ == "__main__":
    main()
