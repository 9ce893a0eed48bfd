"""Refuses bodies that are too large, or too deep, before they are parsed; plain ASGI, so that streams stay whole."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyRefused, respond
from api.json_scan import MAX_DEPTH, MAX_VALUES, JsonScan, TooDeep, TooManyValues
from api.limits import GENEROUS


class BodyLimit:
    """Refuses a request whose body is over its caller's limit, nested too deeply, or holds too many values."""

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
        received, scan = 0, JsonScan()

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            body = message.get("body", b"")
            received += len(body)
            if received > limit:
                raise BodyRefused(413, text, code="body_too_large")
            _look_over(body, scan)
            return message

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await respond(413, text, code="body_too_large")(scope, receive, send)
            return
        await self._app(scope, counted, send)


def _look_over(body: bytes, scan: JsonScan) -> None:
    try:
        scan.feed(body)
    except TooDeep as exc:
        raise BodyRefused(400, f"The body is nested over {MAX_DEPTH} levels.", code="invalid_json") from exc
    except TooManyValues as exc:
        raise BodyRefused(413, f"The body holds over {MAX_VALUES:,} values.", code="body_too_large") from exc
