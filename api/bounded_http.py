"""The HTTP protocol of the server, with limits that hold before a caller is known.

uvicorn limits neither the size of headers nor the time that they take, and its limit on connections refuses new clients
rather than those that hold connections idle.
"""

import asyncio
import functools
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

#: Open files that the store, its index and the log need.
_OTHER_FILES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpLimits:
    """What a connection may take."""

    #: Connections at once. Over it, the one that has waited longest without a request is closed.
    connections: int = 1_000
    #: Bytes of a request's first line and headers.
    head: int = 64 * 1024
    #: Requests that wait behind another on one connection.
    pipelined: int = 16
    #: Seconds from a connection, or a request's first byte, to the end of the headers.
    head_seconds: float = 10.0
    #: Seconds without any byte of a body that is not complete, while the service reads.
    body_seconds: float = 30.0
    #: Seconds in which a body may still come after its request is answered.
    late_seconds: float = 5.0


#: The connections that have no request under way, those that wait longest first.
Waiting = dict["BoundedProtocol", None]


def bounded_protocol(limits: HttpLimits) -> Callable[..., asyncio.Protocol]:
    """Return a factory of protocols for one server."""
    waiting: Waiting = {}
    return functools.partial(BoundedProtocol, limits=limits, waiting=waiting)


def connections_allowed(wanted: int) -> int:
    """Return how many connections can be open: those that are wanted, or fewer where the process may open few files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - _OTHER_FILES))


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, limits: HttpLimits, waiting: Waiting, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._waiting = waiting
        #: Bytes of the present request's head so far; None once it is complete.
        self._head: int | None = 0
        self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, in place of the one that has waited longest where there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > self._limits.connections:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                self._refuse(503)
                return
            oldest.drop()
        self._waiting[self] = None
        self._arm(self._limits.head_seconds)

    def drop(self) -> None:
        """Close the connection now."""
        self._forget()
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, the head no further than its limit."""
        while data and not self._is_refused and not self.transport.is_closing():
            some = len(data)
            if self._head is not None:
                some = self._limits.head - self._head
                self._head += len(data[:some])
            super().data_received(data[:some])
            data = data[some:]
            if self._head is not None and self._head >= self._limits.head:
                self._refuse(431)
        self._set_time()

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head is too large or too many requests wait."""
        if self._is_refused:
            return
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.head or len(self.pipeline) >= self._limits.pipelined:
            self._refuse(431 if size > self._limits.head else 429)
            return
        self._head = None
        self._forget()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body; what comes next is another request's head."""
        if self._is_refused:
            return
        super().on_message_complete()
        self._head = 0
        self._stop()

    def on_response_complete(self) -> None:
        """Wait for the next request; not for long, where the body of this one is not complete."""
        super().on_response_complete()
        if self._head is None:
            self._arm(self._limits.late_seconds)
        elif not self.pipeline and not self.transport.is_closing():
            self._waiting[self] = None

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _set_time(self) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        if self._head is None:
            if self._is_answering:
                self._arm(self._limits.body_seconds)
        elif self._head and self._timer is None:
            self._arm(self._limits.head_seconds)

    def _arm(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._time_is_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self._is_answering and (self._head is not None or self.flow.read_paused):
            self._arm(self._limits.body_seconds)  # the client waits for the service
        elif self._head:
            self._refuse(408)
        else:
            self.transport.close()

    def _forget(self) -> None:
        self._stop()
        self._waiting.pop(self, None)

    def _refuse(self, status: int) -> None:
        self._is_refused = True
        self._forget()
        if not self._is_answering:
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
