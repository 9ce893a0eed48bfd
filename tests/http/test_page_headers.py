"""Every response has the headers that keep a page of ours to itself, and streams pass untouched."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.page_headers import CONTENT_SECURITY_POLICY, HEADERS, PageHeaders
from tests.running_service import RunningService

FRAMED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/docs", {}, 200),
        ("GET", "/web/console.js", {}, 200),
        ("GET", "/web/nothing.js", {}, 404),
        ("GET", "/health", {}, 200),
        ("GET", "/v1/memory/stats", {}, 200),
        ("GET", "/nothing", {}, 404),
        ("PUT", "/health", {}, 405),
        ("POST", "/v1/memory/recall", {}, 400),
        ("GET", "/", {"host": "evil.example"}, 403),
        ("GET", "/", FRAMED, 403),
        ("GET", "/v1/memory/stats", {"authorization": "Bearer mek_x"}, 401),
    ],
)
def test_every_response_has_the_headers(
    shared_service: RunningService, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = shared_service.http.request(method, path, headers=headers)
    assert answer.status_code == status
    for name, value in HEADERS:
        assert answer.headers.get_list(name.decode()) == [value.decode()]
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_the_pages_have_no_inline_script_or_style(shared_service: RunningService) -> None:
    for path in ("/", "/docs"):
        page = shared_service.http.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        assert page.count("<script") == page.count("<script src=")


def test_a_stream_passes_piece_by_piece() -> None:
    async def streams(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        for piece in (b"a", b"b"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    asyncio.run(PageHeaders(streams)({"type": "http"}, receive, send))
    assert sent[0]["headers"] == [(b"x-own", b"1"), *HEADERS]
    assert [message["body"] for message in sent[1:]] == [b"a", b"b", b""]
