"""A server's limits before a caller is known: connections, the size of heads, and the time that they take."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from api.bounded_http import HttpLimits, bounded_protocol, connections_allowed
from api.server import uvicorn_config
from assistant import Settings

LIMITS = HttpLimits(
    connections=20, head=8_000, pipelined=4, head_seconds=0.5, body_seconds=0.5, late_seconds=0.3
)  # fmt: skip
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and tell its size; wait first where the path says so; answer before it where it says that."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(1.2)
    text = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    protocol: Any = bounded_protocol(LIMITS)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(10)


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=5)


def asked(address: tuple[str, int], sent: bytes) -> bytes:
    """The first line of the answer; empty where the connection is closed without one."""
    with connected(address) as client:
        with suppress(OSError):  # it may be closed while we are sending
            client.sendall(sent)
        try:
            return client.recv(4_096).partition(b"\r\n")[0]
        except ConnectionResetError:
            return b""


def closes_within(client: socket.socket, seconds: float) -> bool:
    client.settimeout(seconds)
    try:
        while client.recv(4_096):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nx: " + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 9_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" * 2 + b"GET / HTTP/1.1\r\nx: " + b"a" * 20_000,
    ],
    ids=["endless", "whole", "path", "many", "later"],
)
def test_a_large_head_is_refused(address: tuple[str, int], sent: bytes) -> None:
    assert asked(address, sent) in (b"HTTP/1.1 431 Request Header Fields Too Large", b"HTTP/1.1 200 OK", b"")
    assert asked(address, GET) == b"HTTP/1.1 200 OK"


def test_a_head_of_ordinary_size_and_a_large_body_are_taken(address: tuple[str, int]) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 7_000 + b"\r\ncontent-length: 3000000\r\n\r\n"
    with connected(address) as client:
        for _ in range(3):
            client.sendall(head + b"b" * 3_000_000)
            assert b"\r\n\r\n3000000" in client.recv(4_096)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nhost:", b"408"),
        (GET + b"GET /", b"200"),
        (b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", b""),
    ],
)
def test_a_request_that_never_ends_is_closed(address: tuple[str, int], sent: bytes, status: bytes) -> None:
    with connected(address) as client:
        client.sendall(sent)
        started = time.monotonic()
        got = client.recv(4_096)
        assert status in got.partition(b"\r\n")[0]
        assert closes_within(client, 6)
        assert time.monotonic() - started < 6


def test_a_head_that_comes_byte_by_byte_has_no_more_time(address: tuple[str, int]) -> None:
    with connected(address) as client:
        started = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012
            while time.monotonic() - started < 5:
                client.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - started < 3


def test_a_slow_answer_is_waited_for(address: tuple[str, int]) -> None:
    with connected(address) as client:
        client.sendall(GET.replace(b"/ ", b"/slow ") + b"GET /")
        assert client.recv(4_096).startswith(b"HTTP/1.1 200")


def test_a_body_that_is_late_after_its_answer_is_not_waited_for(address: tuple[str, int]) -> None:
    with connected(address) as client:
        client.sendall(b"POST /early HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc")
        assert client.recv(4_096).startswith(b"HTTP/1.1 200")
        assert closes_within(client, 3)


def test_half_requests_never_keep_others_out(address: tuple[str, int]) -> None:
    held = []
    try:
        for _ in range(300):
            client = connected(address)
            client.sendall(b"GET / HTTP/1.1\r\nx: ")
            held.append(client)
            if len(held) % 50 == 0:
                assert asked(address, GET) == b"HTTP/1.1 200 OK"
        assert all(closes_within(client, 3) for client in held)
    finally:
        for client in held:
            client.close()


def test_requests_in_a_row_on_one_connection_are_limited(address: tuple[str, int]) -> None:
    with connected(address) as client:
        client.sendall(GET.replace(b"/ ", b"/slow ") + GET * 1_000)
        assert closes_within(client, 6)
    assert asked(address, GET) == b"HTTP/1.1 200 OK"


def test_a_few_requests_in_a_row_are_answered(address: tuple[str, int]) -> None:
    with connected(address) as client:
        client.sendall(GET * 4)
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 4:
            got += client.recv(4_096)


def test_the_service_is_served_so(tmp_path: Any) -> None:
    config = uvicorn_config(Settings(data_dir=tmp_path), app)
    assert config.http.keywords["limits"].head == 64 * 1024  # type: ignore[union-attr]
    assert config.ws == "none"
    assert connections_allowed(10) == 10
