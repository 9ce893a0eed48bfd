"""The lane of each route, in one table. A route that is missing from the table cannot be created."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.deps import check_rights
from api.routes.planned import METHODS, PLANNED
from assistant.lanes import Lane

COMPUTE, WRITE, READ, LONG = "compute", "write", "read", "long"
#: The event loop: coroutines that enter lanes themselves, and routes that take microseconds.
LOOP = "loop"

_MEMORY = "/v1/memory"
_CONVERSATION = f"{_MEMORY}/conversations/{{conversation_id:path}}"
_CLIENT_CLOSED_REQUEST = 499

LANES: Mapping[str, str] = {
    **{f"{method} {path}": LOOP for path in PLANNED for method in METHODS},
    "GET /": LOOP,
    "GET /docs": LOOP,
    "GET /openapi.json": LOOP,
    "GET /health": LOOP,
    "GET /ready": READ,
    f"POST {_MEMORY}/messages": WRITE,
    f"PATCH {_MEMORY}/messages/{{message_id:path}}": WRITE,
    f"POST {_MEMORY}/recall": COMPUTE,
    f"POST {_MEMORY}/recall/why-not": COMPUTE,
    f"POST {_MEMORY}/context": COMPUTE,
    f"GET {_MEMORY}/contexts/{{manifest_id}}": READ,
    f"GET {_MEMORY}/conversations": READ,
    f"GET {_CONVERSATION}": READ,
    f"GET {_CONVERSATION}/messages": READ,
    f"GET {_CONVERSATION}/summaries": READ,
    f"GET {_CONVERSATION}/links": READ,
    f"POST {_MEMORY}/links": WRITE,
    f"GET {_MEMORY}/links/{{link_id}}": READ,
    f"POST {_MEMORY}/links/{{link_id}}/confirm": WRITE,
    f"POST {_MEMORY}/links/{{link_id}}/refuse": WRITE,
    f"GET {_MEMORY}/path": COMPUTE,
    f"GET {_MEMORY}/graph": COMPUTE,
    f"GET {_MEMORY}/patterns": READ,
    f"POST {_MEMORY}/patterns/{{pattern_id}}/confirm": WRITE,
    f"POST {_MEMORY}/patterns/{{pattern_id}}/dismiss": WRITE,
    f"POST {_MEMORY}/patterns/{{pattern_id}}/correct": WRITE,
    f"GET {_MEMORY}/notes": READ,
    f"GET {_MEMORY}/notes/{{name}}": READ,
    f"PUT {_MEMORY}/notes/{{name}}": WRITE,
    f"DELETE {_MEMORY}/notes/{{name}}": WRITE,
    f"GET {_MEMORY}/stats": READ,
    f"POST {_MEMORY}/erase": LONG,
    f"GET {_MEMORY}/receipts/{{receipt_id}}": READ,
    f"POST {_MEMORY}/receipts/{{receipt_id}}/verify": LONG,
    f"POST {_MEMORY}/messages/{{message_id:path}}/quarantine": WRITE,
    f"DELETE {_MEMORY}/messages/{{message_id:path}}/quarantine": WRITE,
    f"POST {_CONVERSATION}/quarantine": WRITE,
    f"DELETE {_CONVERSATION}/quarantine": WRITE,
    f"GET {_MEMORY}/retention": READ,
    f"PUT {_MEMORY}/retention": WRITE,
    f"POST {_MEMORY}/prune": LONG,
    f"GET {_MEMORY}/pruned": READ,
    f"POST {_MEMORY}/restore": LONG,
    f"POST {_MEMORY}/messages/{{message_id:path}}/pin": WRITE,
    f"DELETE {_MEMORY}/messages/{{message_id:path}}/pin": WRITE,
    f"POST {_CONVERSATION}/hold": WRITE,
    f"DELETE {_CONVERSATION}/hold": WRITE,
    f"POST {_MEMORY}/doctor": LONG,
    f"POST {_MEMORY}/backup": LONG,
    f"POST {_MEMORY}/reindex": LONG,
    f"GET {_MEMORY}/reindex": READ,
    "POST /v1/assistant/conversations/{conversation_id:path}/messages": LOOP,
    "GET /v1/assistant/agents": READ,
    "GET /v1/assistant/tool-calls": READ,
    "GET /v1/assistant/cost": READ,
    "POST /v1/chat/completions": LOOP,
    "GET /v1/models": LOOP,
    "GET /v1/models/{model:path}": READ,
    "POST /v1/keys": WRITE,
    "GET /v1/keys": READ,
    "DELETE /v1/keys/{key_id}": WRITE,
}


class LaneRoute(APIRoute):
    """A route whose endpoint runs in its lane of the table."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Create the route.

        Raises:
            LookupError: the route is missing from the table.
            TypeError: the endpoint is a coroutine function in a lane of threads, or a plain function on the loop.
        """
        (name,) = {_lane_named(method, path) for method in options["methods"]}
        if inspect.iscoroutinefunction(endpoint) != (name == LOOP):
            raise TypeError(
                f"Invalid lane {name!r} for {path}: {LOOP!r} is for coroutine functions, and only for them."
            )
        super().__init__(path, endpoint if name == LOOP else _in_lane(endpoint, name), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler; it checks the caller's rights before the body is read."""
        handler = super().get_route_handler()

        async def checked(request: Request) -> Response:
            check_rights(request)
            return await handler(request)

        return checked


def _lane_named(method: str, path: str) -> str:
    if (name := LANES.get(f"{method} {path}")) is None:
        raise LookupError(f"Missing lane of the route {method} {path}: add the route to LANES in api/lanes.py.")
    return name


def _in_lane(endpoint: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return the endpoint as a coroutine function that runs it in the lane."""

    @functools.wraps(endpoint)
    async def waits(lane_request: Request, **values: Any) -> Any:
        lane: Lane = getattr(lane_request.app.state.services.lanes, name)
        work = functools.partial(endpoint, **values)
        return await _run(lane, work, lane_request)

    signature = inspect.signature(endpoint)
    asked = inspect.Parameter("lane_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    waits.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), asked]
    )
    return waits


async def _run(lane: Lane, work: Callable[[], Any], request: Request) -> Any:
    """Run the work and return its result. Skip queued recall if its client leaves; a write always runs."""
    must_wait = lane.is_full
    future = lane.submit(work, _namespace(request))
    result = asyncio.wrap_future(future)
    if lane.name != COMPUTE or not must_wait:
        return await result
    left = asyncio.ensure_future(_wait_until_left(request))
    try:
        await asyncio.wait((result, left), return_when=asyncio.FIRST_COMPLETED)
        if not result.done() and future.cancel():
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        return await result
    finally:
        left.cancel()


async def _wait_until_left(request: Request) -> None:
    """Wait until the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _namespace(request: Request) -> str:
    """Return the namespace that takes turns with others in the lane."""
    caller = request.state.caller
    named: str = caller.namespace or request.headers.get("x-namespace", "")
    return named
