"""Carries one request to addresses that were checked before, resolving nothing, until a deadline.

The URL keeps its name: the Host header, the name that TLS asks for and the check of the certificate follow from it.
"""

import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

from assistant.deadline import Deadline
from assistant.errors import ToolFailed


class CheckedTransport(httpx2.BaseTransport):
    """A transport for httpx2 whose connections go to the given addresses alone; https needs an `ssl_context`."""

    def __init__(self, addresses: Sequence[str], deadline: Deadline, ssl_context: ssl.SSLContext | None) -> None:
        backend = _Backend(addresses, deadline)
        self._pool = httpcore2.ConnectionPool(ssl_context=ssl_context, network_backend=backend)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the answer's body is read as it is asked for.

        Raises:
            ToolFailed: there is no connection, no valid certificate, or no valid answer.
            ToolTimedOut: the deadline has passed; reading the body raises it, too.
        """
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        sent = httpcore2.Request(request.method, url, headers=request.headers.raw, content=request.read())
        with _translated():
            answer = self._pool.handle_request(sent)
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer), request=request)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Backend(httpcore2.NetworkBackend):
    """Connects to the first of the addresses that takes the connection, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[str], deadline: Deadline) -> None:
        self._addresses = tuple(addresses)
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        for tried, address in enumerate(self._addresses):
            share = self._deadline.left() / (len(self._addresses) - tried)
            try:
                return _Stream(socket.create_connection((address, port), share), self._deadline)
            except OSError:
                continue
        self._deadline.left()
        raise httpcore2.ConnectError(f"no connection to {host} on port {port}")


class _Stream(httpcore2.NetworkStream):
    """A socket whose every step has the time that is left; limits of single steps are for the deadline to set."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self._in_time(httpcore2.ReadError):
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        while rest:
            with self._in_time(httpcore2.WriteError):
                rest = rest[self._socket.send(rest) :]

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            with self._in_time(httpcore2.ConnectError):
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._deadline)
        finally:
            self._socket.close()  # where TLS stands, wrap_socket has taken its place

    def get_extra_info(self, info: str) -> Any:
        return self._socket if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket) else None

    @contextmanager
    def _in_time(self, failure: type[httpcore2.NetworkError]) -> Iterator[None]:
        self._socket.settimeout(self._deadline.left())
        try:
            yield
        except TimeoutError as exc:
            raise self._deadline.error() from exc
        except ssl.SSLCertVerificationError as exc:
            raise ToolFailed(f"The host's certificate is not valid: {exc.verify_message.rstrip('.')}.") from exc
        except OSError as exc:
            raise failure(exc.strerror or str(exc)) from exc


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpcore2.ConnectError as exc:
        raise ToolFailed(f"The host cannot be reached: {exc}.") from exc
    except httpcore2.NetworkError as exc:
        raise ToolFailed("The connection broke before the answer was whole.") from exc
    except httpcore2.ProtocolError as exc:
        raise ToolFailed(f"The host does not speak HTTP as it should: {exc}.") from exc
