"""SQL databases that can only be read, whatever the query says: SQLite and PostgreSQL.

Nothing here looks into a query. What it may do is decided by how the database is opened:

SQLite: the file is opened read-only, the connection refuses to write, and an authorizer lets a statement read tables,
call functions and recurse, and nothing else; see `sqlite_reader`.

PostgreSQL: the query is what a cursor is declared for, in a message that holds one statement, within a read-only
transaction that is rolled back. A cursor takes SELECT, VALUES, TABLE and WITH, and none that writes. Functions that
a SELECT may call remain: those that write tables, sequences or large objects are refused or rolled back, locks and
notifications end with the transaction, but signals to other sessions of the same role do not. What else there is to
read and to call is for the URL's role to decide. It should be one of its own that owns nothing; one that may reach
files, programs, other servers or replication is refused.
"""

import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import psycopg
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from assistant.deadline import Deadline
from assistant.errors import SettingsInvalid, ToolFailed

#: Bytes that a query may have.
_MAX_QUERY = 100_000
#: Bytes of memory that a query to SQLite may take, and of a row as JSON.
_MEMORY, _MAX_ROW = 512_000_000, 8_000_000
#: Rows that PostgreSQL sends at once.
_BATCH = 20

_READER = Path(__file__).with_name("sqlite_reader.py")

_ROLE_PROBLEMS = """
SELECT 'is or may become ' || rolname FROM pg_catalog.pg_roles
WHERE (rolsuper OR rolreplication OR rolname = ANY (%(roles)s)) AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
UNION ALL
SELECT 'may call ' || proname FROM pg_catalog.pg_proc JOIN pg_catalog.pg_language l ON l.oid = prolang
WHERE (proname = ANY (%(functions)s) OR NOT (l.lanpltrusted OR l.lanname IN ('internal', 'c')))
    AND pg_catalog.has_function_privilege(session_user, pg_proc.oid, 'EXECUTE')
LIMIT 1
"""
_ROLES_REFUSED = [
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_signal_backend",
]
_CALLS_REFUSED = [
    "dblink", "dblink_connect", "dblink_connect_u", "dblink_exec", "dblink_open", "dblink_send_query",
    "lo_import", "lo_export", "pg_read_file", "pg_read_binary_file", "pg_ls_dir", "pg_stat_file", "pg_file_write",
    "pg_file_rename", "pg_file_unlink", "pg_file_sync", "pg_reload_conf", "pg_rotate_logfile", "pg_switch_wal",
    "pg_create_restore_point",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a query found; its rows are read from the database as they are asked for."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


class ReadOnlyDatabase(Protocol):
    """A database that queries can read and nothing else."""

    def reading(self, query: str) -> AbstractContextManager[Found]:
        """Run one query; its rows are read within the block.

        Raises:
            ToolFailed: it is refused, or wrong, or the database cannot be reached.
            ToolTimedOut: it takes longer than it may; reading rows raises it, too.
        """


def read_only_database(url: str, timeout: float) -> ReadOnlyDatabase:
    """The database of a URL: `sqlite:///path` or `postgresql+psycopg://…`; nothing is connected yet.

    Raises:
        SettingsInvalid: the URL is neither.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise SettingsInvalid("The database's URL cannot be read.") from exc
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:") and not parsed.query:
        return ReadOnlySqlite(Path(str(parsed.database)), timeout)
    if backend == "postgresql":
        return ReadOnlyPostgres(parsed, timeout)
    raise SettingsInvalid("The database's URL is neither sqlite:///path nor postgresql+psycopg://….")


class ReadOnlySqlite:
    """A SQLite file; each query is run by a process of its own, which is ended when its time is over."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._address = f"{path.absolute().as_uri()}?mode=ro"
        self._timeout = timeout

    @contextmanager
    def reading(self, query: str) -> Iterator[Found]:
        """See `ReadOnlyDatabase`."""
        _check_text(query)
        deadline = Deadline.after(self._timeout)
        asked = json.dumps([self._address, query, self._timeout, _MEMORY]) + "\n"
        with _reader(asked, deadline) as output:
            columns = _said(output, deadline)
            yield Found(columns=tuple(columns or ()), rows=iter(lambda: _said(output, deadline), None))


class ReadOnlyPostgres:
    """A PostgreSQL database; each query has a connection of its own."""

    def __init__(self, url: URL, timeout: float) -> None:
        self._place = {**url.query, **url.translate_connect_args(username="user", database="dbname")}
        self._timeout = timeout

    @contextmanager
    def reading(self, query: str) -> Iterator[Found]:
        """See `ReadOnlyDatabase`."""
        _check_text(query)
        deadline = Deadline.after(self._timeout)
        with closing(self._connect()) as connection, _postgres_translated(deadline):
            _limit_time(connection, deadline)
            _check_role(connection)
            # Its DECLARE goes by the extended protocol, which refuses a second statement.
            with connection.cursor("found", scrollable=False) as cursor:
                cursor.execute(query.encode())
                columns = tuple(column.name for column in cursor.description or ())
                yield Found(columns=columns, rows=_fetched(connection, cursor, deadline))

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        options = f"{self._place.get('options', '')} -c default_transaction_read_only=on"
        # A server that is gone is noticed; libpq waits two seconds at least.
        limits = {"connect_timeout": max(2, math.ceil(self._timeout)), "keepalives_idle": 5, "keepalives_interval": 2}
        place: dict[str, Any] = {**self._place, **limits, "options": options.strip(), "client_encoding": "utf8"}
        try:
            connection = psycopg.connect(**place)
        except psycopg.Error as exc:
            raise ToolFailed("The database does not let the tool in, or does not answer.") from exc
        connection.read_only = True
        return connection


def _check_text(query: str) -> None:
    try:
        size = len(query.encode())
    except UnicodeEncodeError as exc:
        raise ToolFailed("The query is no valid text.") from exc
    if size > _MAX_QUERY:
        raise ToolFailed(f"The query is longer than {_MAX_QUERY} bytes.")
    if "\0" in query:
        raise ToolFailed("The query holds a null character.")


@contextmanager
def _reader(asked: str, deadline: Deadline) -> Iterator[IO[str]]:
    """A process of the reader that was asked this, and its output; it ends with the block or at the deadline."""
    command = [sys.executable, "-I", "-S", str(_READER)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8") as process:
        timer = threading.Timer(deadline.left(), process.kill)
        timer.start()
        try:
            put, get = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
            with suppress(BrokenPipeError), put:  # when it has ended already, its output says so
                put.write(asked)
            yield get
        finally:
            timer.cancel()
            process.kill()


def _said(output: IO[str], deadline: Deadline) -> Any:
    """What the reader says next, or None at the end."""
    line = output.readline(_MAX_ROW)
    if not line.endswith("\n"):
        if len(line) == _MAX_ROW:
            raise ToolFailed(f"A row is larger than {_MAX_ROW} bytes.")
        raise deadline.error() if deadline.passed else ToolFailed("The query has ended before it was done.")
    kind, what = json.loads(line)
    if kind == "timed out":
        raise deadline.error()
    if kind in ("refused", "failed"):
        reason = "This tool only reads" if kind == "refused" else "The database does not do as asked"
        raise ToolFailed(f"{reason}: {what}.")
    return None if kind == "end" else what


def _limit_time(connection: psycopg.Connection[Any], deadline: Deadline) -> None:
    """Give the statements that follow the time that is left, whatever the query has set meanwhile."""
    left = max(1, math.ceil(deadline.left() * 1000))
    connection.execute(f"SET LOCAL statement_timeout = {left}".encode())
    connection.execute(f"SET LOCAL lock_timeout = {left}".encode())


def _check_role(connection: psycopg.Connection[Any]) -> None:
    refused = {"roles": _ROLES_REFUSED, "functions": _CALLS_REFUSED}
    problem = connection.execute(_ROLE_PROBLEMS, refused).fetchone()
    if problem is not None:
        message = f"The tool's role in the database {problem[0]}, and so might do more than read; it needs another."
        raise ToolFailed(message)


def _fetched(
    connection: psycopg.Connection[Any], cursor: psycopg.ServerCursor[tuple[Any, ...]], deadline: Deadline
) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_BATCH):
        yield from rows
        _limit_time(connection, deadline)


@contextmanager
def _postgres_translated(deadline: Deadline) -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as exc:
        raise deadline.error() from exc
    except psycopg.Error as exc:
        reason = exc.diag.message_primary or str(exc).partition("\n")[0]
        raise ToolFailed(f"The database does not do as asked: {reason.rstrip('.')}.") from exc
