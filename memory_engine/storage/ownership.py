"""The advisory lock that makes one process the owner of a PostgreSQL database.

The lock belongs to a session: a dedicated connection holds it until it is closed or its process ends, in whatever way.
Behind a pooler, the pooler must give a client a session of its own (pgbouncer: `pool_mode = session`).
"""

import contextlib
import select
import socket
import threading
import time
from typing import Any

import psycopg
from sqlalchemy import make_url

from memory_engine.errors import StoreInUse, StoreUnavailable

#: The first half of the lock's key; the second is the schema. PostgreSQL keeps the locks of each database apart.
_PURPOSE = 730_581_244
_TAKE = "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))"
_RELEASE = "SELECT pg_advisory_unlock(%s, hashtext(current_schema()))"
#: How long an owner that has just ended may take to be gone from the server, and between two looks.
_LEAVING_SECONDS, _LOOK_SECONDS = 0.3, 0.02
#: Between two attempts to connect again.
_RETRY_SECONDS = 1.0
#: A peer that vanished without a word is noticed within a minute, on both sides.
_KEEPALIVE = {
    "keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "connect_timeout": 5,
}  # fmt: skip
_KEEPALIVE_OF_SERVER = """
    SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
           set_config('tcp_keepalives_count', '3', false)
"""
#: A session of this process that the server has not missed yet.
_END_SESSION = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid::bigint = %s AND objsubid = 2 AND pid = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Ownership:
    """A PostgreSQL database that this process owns until it releases it, or ends."""

    def __init__(self, url: str) -> None:
        """Take the database, as SQLAlchemy names it.

        Raises:
            StoreInUse: another process owns it.
            StoreUnavailable: the database does not answer.
        """
        self._url = make_url(url)
        #: Set while another process has the database that was this one's.
        self._lost = threading.Event()
        self._connection = self._connected()
        if not self._is_taken_within(_LEAVING_SECONDS):
            self._connection.close()
            raise self._in_use()
        #: The session that holds the lock, by its process on the server.
        self._session = self._connection.info.backend_pid
        self._closing, self._close = socket.socketpair()
        self._watch = threading.Thread(target=self._keep, name="ownership", daemon=True)
        self._watch.start()

    def check(self) -> None:
        """Refuse to go on once another process has taken the database, after this one's connection had dropped.

        Raises:
            StoreInUse: another process owns the database now.
        """
        if self._lost.is_set():
            raise self._in_use()

    def release(self) -> None:
        """Let another process have the database."""
        self._close.close()
        self._watch.join()
        with contextlib.suppress(psycopg.Error):
            if not self._connection.closed:
                # Closing alone releases it too, but only when the server gets to it.
                self._connection.execute(_RELEASE, [_PURPOSE])
            self._connection.close()
        self._closing.close()

    def _connected(self) -> "psycopg.Connection[Any]":
        _, options = self._url.get_dialect()().create_connect_args(self._url)
        try:
            connection = psycopg.connect(**{**_KEEPALIVE, **options}, autocommit=True)
            connection.execute(_KEEPALIVE_OF_SERVER)
            return connection
        except psycopg.Error as exc:
            first_line = str(exc).partition("\n")[0]
            raise StoreUnavailable(f"The database does not do as asked: {first_line}.") from exc

    def _is_taken_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._is_taken():
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _is_taken(self) -> bool:
        row = self._connection.execute(_TAKE, [_PURPOSE]).fetchone()
        return row is not None and bool(row[0])

    def _in_use(self) -> StoreInUse:
        where = f"{self._url.database} on {self._url.host or 'this machine'}"
        return StoreInUse(
            f"The database {where} is in use by another process: stop that one first. One process serves a database."
        )

    def _keep(self) -> None:
        """Wait for the connection to drop, and then take the database again, until it is released."""
        while not self._is_closing(self._connection):
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            while not self._is_taken_again():
                if self._is_closing(None):
                    return

    def _is_taken_again(self) -> bool:
        try:
            self._connection = self._connected()
            self._connection.execute(_END_SESSION, [_PURPOSE, self._session])
            taken = self._is_taken_within(_LEAVING_SECONDS)
        except (StoreUnavailable, psycopg.Error):
            return False  # nothing can be written meanwhile
        if taken:
            self._session = self._connection.info.backend_pid
            self._lost.clear()
            return True
        self._lost.set()
        self._connection.close()
        return False

    def _is_closing(self, connection: "psycopg.Connection[Any] | None") -> bool:
        """Wait until the database is to be released, or the connection dropped; without one, for a moment."""
        while True:
            watched: list[Any] = [self._closing]
            if connection is not None:
                if connection.closed:
                    return False
                watched.append(connection)
            ready, _, _ = select.select(watched, [], [], None if connection is not None else _RETRY_SECONDS)
            if self._closing in ready:
                return True
            if connection is None or self._has_dropped(connection):
                return False

    def _has_dropped(self, connection: "psycopg.Connection[Any]") -> bool:
        """Read what the server sent: a notice, such as of a changed setting, or the end of the connection."""
        try:
            connection.execute("SELECT 1")
        except psycopg.Error:
            return True
        return False
