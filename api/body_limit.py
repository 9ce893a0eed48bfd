"""Refuses bodies over a size before they are read whole; plain ASGI, so that streams pass untouched."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import respond
from api.limits import GENEROUS


class BodyLimit:
    """Answers 413 to a request whose body is over its caller's limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = scope.get("state", {}).get("caller")  # none, where the path is open
        limit = (GENEROUS if caller is None else caller.limits).body
        text = f"The body is over {limit:,} bytes."
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, text)
            return message

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await respond(413, text, code="body_too_large")(scope, receive, send)
            return
        await self._app(scope, counted, send)
