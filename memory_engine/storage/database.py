"""The two databases' engines: pragmas, the writers' lock, and the door at which their errors stop."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    MultipleResultsFound,
    NoResultFound,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from memory_engine.errors import RowRefused, StoreConflict, StoreError, StoreInUse, StoreUnavailable
from memory_engine.storage import high_water
from memory_engine.storage.high_water import HighWater
from memory_engine.storage.ownership import Ownership
from memory_engine.storage.private_files import create_private, keep_private
from memory_engine.waits import waiting

#: An open transaction, as the functions of this folder take it.
Transaction = Connection
#: Connections that threads share, each opened when it is needed; the service's lanes have no more threads than this.
POOL_SIZE = 32
#: Rows loaded at once after which the database is analysed. Until then it plans as if the tables were empty.
LARGE_LOAD = 20_000
_BUSY_TIMEOUT_MS = 10_000
#: How long writers stand still at once while readers are waited for that hold on to SQLite's log.
_LOG_TIMEOUT_MS = 50
#: Free pages that are given back at once: 7 ms.
_PAGES_AT_ONCE = 100
#: Rows of each index that SQLite looks at; writers wait meanwhile.
_ANALYSED_ROWS = 400
#: Any number that other programs on the same PostgreSQL database are not likely to lock.
_SETUP_LOCK = 7_305_812_449
#: How long the connections of a service that has just ended may take to be gone from a PostgreSQL server.
_LEAVING_SECONDS = 2.0
#: Those of people and programs: what the server does by itself, such as autovacuum, is nobody's.
_COMPANY = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL"
)
#: Within a transaction the server shows what it showed first.
_LOOK_AGAIN = text("SELECT pg_stat_clear_snapshot()")
#: How drivers' errors begin that concern a value. SQLite reports a text that is not UTF-8 as an operational error.
_OF_VALUES = ("Could not decode", "Error binding parameter", "cannot adapt type")


class Database:
    """One SQL database: transactions that read, and transactions that write.

    On SQLite there are two engines on the one file: a single writer that begins IMMEDIATE, behind an
    in-process lock, and readers that cannot write. On PostgreSQL one engine serves both.
    """

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE) -> None:
        """Prepare the engines; nothing is connected yet.

        Args:
            url: as SQLAlchemy names the database.
            pool_size: connections that threads share, each opened when it is needed.

        Raises:
            StoreUnavailable: the URL cannot be read, or names a database that has no driver here.
        """
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._writers = threading.Lock()
        self._first_connection = threading.Lock()
        self._is_private = False
        if self.is_sqlite:
            file = make_url(url).database
            #: The file of the database; None on PostgreSQL.
            self.file = None if file is None else Path(file)
            self._writer = _sqlite_engine(url, self._make_private, writes=True, pool_size=1)
            self._reader = _sqlite_engine(url, self._make_private, writes=False, pool_size=pool_size)
        else:
            self.file = None
            self._writer = _server_engine(url, pool_size)
            self._reader = self._writer
        #: What was committed last, told outside the database; None on PostgreSQL, whose log is not lost so easily.
        self.high_water = None if self.file is None else HighWater(self.file)
        self._ownership: Ownership | None = None

    def own(self) -> None:
        """Make this process the one that serves a PostgreSQL database, until it is closed or the process ends.

        The owner of a SQLite database is who has its folder's lock.

        Raises:
            StoreInUse: another process serves it.
            StoreUnavailable: the database does not answer.
        """
        if not self.is_sqlite:
            self._ownership = Ownership(self.url)

    def check_owned(self) -> None:
        """Refuse to go on once another process serves the database that was this one's.

        Raises:
            StoreInUse: this process lost its connection, and another process took the database meanwhile.
        """
        if self._ownership is not None:
            self._ownership.check()

    def _make_private(self) -> None:
        """Before the first connection: create the file, or take others' rights from it and from its log.

        SQLite gives the log and its index the mode of the file.
        """
        with self._first_connection:
            if self.file is None or self.file.name == ":memory:" or self._is_private:
                return
            create_private(self.file)
            for path in self.files:
                keep_private(path)
            self._is_private = True

    @staticmethod
    def url_in(directory: Path) -> str:
        """The URL of a data directory's SQLite database."""
        return f"sqlite:///{directory / 'memory.sqlite3'}"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, over one consistent state.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _translated(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """As `read`, where every statement sees the state at the first of them, and rows come in pieces.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _translated(), self._reader.connect() as connection:
            if not self.is_sqlite:  # a read on SQLite sees one state anyway
                options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True, "stream_results": True}
                connection.execution_options(**options)
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; it is durable when the block is left.

        Raises:
            StoreUnavailable: the database does not answer, is read-only or full.
        """
        # The wait encloses the locks: a writer that holds a lock needs no slot to finish.
        with waiting(), self._write() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if not self.is_sqlite:
            self.check_owned()
            with _translated(), self._writer.begin() as connection:
                yield connection
            return
        with self._writers:
            with _translated(), self._writer.begin() as connection:
                taken = high_water.begin(connection)
                yield connection
            if self.high_water is not None:
                self.high_water.note(taken)

    @contextmanager
    def write_alone(self) -> Iterator[Connection]:
        """A transaction that writes while no other process is in one of this kind: for setting up the store."""
        with self.write() as connection:
            if not self.is_sqlite:  # where every writer begins IMMEDIATE, and so is alone
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_SETUP_LOCK})"))
            yield connection

    def refuse_company(self, connection: Connection) -> None:
        """See to it that nobody else uses a PostgreSQL database; that of SQLite has its folder's lock.

        Raises:
            StoreInUse: another connection is open, and does not end at once.
        """
        if self.is_sqlite:
            return
        deadline = time.monotonic() + _LEAVING_SECONDS
        while others := connection.execute(_COMPANY).scalar_one():
            if time.monotonic() > deadline:
                raise StoreInUse(f"{others} other connections to the database are open: stop what uses it first.")
            time.sleep(_LEAVING_SECONDS / 40)  # nothing tells when a connection has ended
            connection.execute(_LOOK_AGAIN)

    def integrity_problems(self) -> list[str]:
        """What SQLite's own check finds wrong in the file; PostgreSQL keeps its own checks."""
        if not self.is_sqlite:
            return []
        with self.read() as connection:
            rows = connection.execute(text("PRAGMA quick_check")).scalars().all()
        return [str(row) for row in rows if row != "ok"]

    @property
    def files(self) -> list[Path]:
        """The files of a SQLite database that are there, its log among them; none for a server's."""
        if self.file is None:
            return []
        named = (self.file.with_name(self.file.name + end) for end in ("", "-wal", "-shm", ".mark", ".lost"))
        return [path for path in named if path.exists()]

    def compact(self, closing: threading.Event) -> None:
        """Bring what was deleted out of the files, without stopping anybody: of SQLite the log and the free pages.

        On PostgreSQL the rows' room is made free for others; its own files keep their bytes until then.

        Args:
            closing: breaks it off between two slices.

        Raises:
            StoreUnavailable: the database does not answer, or readers hold on to the log for too long.
        """
        if not self.is_sqlite:
            with self._alone() as cursor:
                cursor.execute("VACUUM")
            return
        while not closing.is_set() and self.give_back():
            self.checkpoint()  # else a commit, or the emptying of the log, would bring it all into the file at once
        for _ in range(_BUSY_TIMEOUT_MS // _LOG_TIMEOUT_MS):
            if closing.is_set() or self._log_is_empty():
                return
        raise StoreUnavailable("The log of the database cannot be emptied while somebody reads.")

    def analyse(self) -> None:
        """Gather the statistics that statements are planned by, as after a large load.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if not self.is_sqlite:
            with self._bare(self._writer) as cursor:
                cursor.execute("ANALYZE")
            return
        with self._alone() as cursor:
            cursor.execute(f"PRAGMA analysis_limit={_ANALYSED_ROWS}")
            cursor.execute("PRAGMA optimize").fetchall()

    def give_back(self) -> bool:
        """Give some of SQLite's free pages back to the disk, as many as take a few milliseconds; whether more are left.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if not self.is_sqlite:
            return False
        with self._alone() as cursor:
            # As a script: each page is a step, and what is executed as a statement takes the first step alone.
            cursor.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            return bool(cursor.execute("PRAGMA freelist_count").fetchone()[0])

    def _log_is_empty(self) -> bool:
        """Bring SQLite's log into its file and cut it off; whether readers let it happen."""
        with self._alone() as cursor:
            cursor.execute(f"PRAGMA busy_timeout={_LOG_TIMEOUT_MS}")  # writers wait as long
            try:
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
            return not busy

    def checkpoint(self) -> None:
        """Bring what is committed from SQLite's log into its file, beside writers, so that no commit of theirs has to.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if not self.is_sqlite:
            return
        with self._bare(self._reader) as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def rewrite(self) -> None:
        """Write the whole database anew, so that no byte stands where no row is. Writers wait meanwhile.

        Raises:
            StoreUnavailable: the database does not answer, or there is no room for a second copy.
        """
        with self._alone() as cursor:
            cursor.execute("VACUUM" if self.is_sqlite else "VACUUM FULL")
            if self.is_sqlite:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _alone(self) -> Iterator[Any]:
        """The driver's cursor for what stands outside any transaction, while no writer of this process is in one."""
        with self._writers, self._bare(self._writer) as cursor:
            yield cursor

    @contextmanager
    def _bare(self, engine: Engine) -> Iterator[Any]:
        with _translated():
            raw = engine.raw_connection()
        try:
            if not self.is_sqlite:
                raw.driver_connection.autocommit = True  # type: ignore[union-attr]
            # Closed before the next writer comes: a statement that is not done with would be part of their commit.
            with closing(raw.cursor()) as cursor:
                yield cursor
        except engine.dialect.loaded_dbapi.Error as exc:
            raise _unavailable(exc) from exc
        finally:
            if not self.is_sqlite:
                raw.driver_connection.autocommit = False  # type: ignore[union-attr]
            raw.close()

    def close(self) -> None:
        """Close every connection, and let another process have the database."""
        self._writer.dispose()
        self._reader.dispose()
        if self._ownership is not None:
            self._ownership.release()
            self._ownership = None
        if self.high_water is not None:
            self.high_water.close()


def readable_rows(connection: Connection, query: Any, values: dict[str, Any] | None = None) -> list[Any]:
    """Return the rows that a query finds, with U+FFFD in texts that are not UTF-8."""
    try:
        return list(connection.execute(query, values).all())
    except DBAPIError as exc:
        if not is_of_row(exc):
            raise
        with reading_any_text(connection):
            return list(connection.execute(query, values).all())


@contextmanager
def reading_any_text(connection: Connection) -> Iterator[None]:
    """Have SQLite read what is not UTF-8 too, with U+FFFD for its bytes. PostgreSQL keeps none."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.text_factory = _any_text
    try:
        yield
    finally:
        driver.text_factory = str


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _server_engine(url: str, pool_size: int) -> Engine:
    try:
        # The worker and the command line come on top of the request threads.
        engine = create_engine(
            url, pool_size=pool_size + 2, max_overflow=4, pool_pre_ping=True, json_deserializer=_read_json
        )
    except (ArgumentError, ImportError) as exc:
        raise StoreUnavailable(f"The database's URL cannot be used: {exc}.") from exc
    import psycopg

    class Waiting(psycopg.Connection[Any]):
        """A connection that marks the time until the server answers as a wait."""

        def wait(self, *args: Any, **kwargs: Any) -> Any:
            with waiting():
                return super().wait(*args, **kwargs)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: list[Any], options: dict[str, Any]) -> psycopg.Connection[Any]:
        return Waiting.connect(*args, **options)

    return engine


def _read_json(raw: str | bytes) -> Any:
    """The value of a JSON column. PostgreSQL keeps JSON alone, of any depth: what Python cannot read stays a text."""
    try:
        return json.loads(raw)
    except RecursionError:
        return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")


def _sqlite_engine(url: str, make_private: Callable[[], None], *, writes: bool, pool_size: int) -> Engine:
    engine = create_engine(url, pool_size=1 if writes else pool_size + 2, max_overflow=0 if writes else 4)

    @event.listens_for(engine, "do_connect")
    def before(*_: Any) -> None:
        make_private()

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we begin ourselves, below
        pragmas = [f"busy_timeout={_BUSY_TIMEOUT_MS}", "foreign_keys=ON"]
        if writes:
            # auto_vacuum counts only before the first table, and before WAL writes the header.
            pragmas += ["auto_vacuum=INCREMENTAL", "secure_delete=ON", "journal_mode=WAL", "synchronous=FULL"]
        else:
            pragmas += ["query_only=ON"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise StoreConflict from exc
    except DBAPIError as exc:
        raise _refused(exc) if is_of_row(exc) else _unavailable(exc.orig) from exc
    except (StatementError, NoResultFound, MultipleResultsFound) as exc:
        raise _refused(exc) from exc
    except SQLAlchemyError as exc:
        raise StoreError(f"The database does not do as asked: {exc}.") from exc


def is_of_row(exc: DBAPIError) -> bool:
    """Return whether a value is wrong, and the database is well."""
    return isinstance(exc, DataError) or str(exc.orig).startswith(_OF_VALUES)


def _refused(exc: SQLAlchemyError) -> RowRefused:
    # Without the driver's words, which quote the row.
    return RowRefused(f"The database cannot read or take a row ({type(exc).__name__}).")


def _unavailable(reason: BaseException | None) -> StoreUnavailable:
    first_line = str(reason).partition("\n")[0]
    return StoreUnavailable(f"The database does not do as asked: {first_line}.")
