"""Refuses bodies over a size before they are read whole; plain ASGI, so that streams pass untouched."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import respond

#: 1,000 messages of the middle kind, or some dozens of the largest.
MAX_BODY_BYTES = 64 * 1024 * 1024


class BodyLimit:
    """Answers 413 to a request whose body is over the limit."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit
        self._text = f"The body is over {limit:,} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(413, self._text)
            return message

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await respond(413, self._text, code="body_too_large")(scope, receive, send)
            return
        await self._app(scope, counted, send)
