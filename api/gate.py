"""Stands before every route: who asks, from where, and how often. Plain ASGI, so that streams pass untouched."""

import hmac
import ipaddress
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import is_open
from api.caller import MACHINE_CALLER, Caller, caller_of
from api.errors import RequestRefused, refusal, respond_to
from api.keys import MARK
from api.services import Services
from memory_engine.errors import MemoryEngineError

_RUN_MARK = "run_"
_POLICY_VIOLATION = 1008


class Gate:
    """Admits a request, or answers it.

    The request's state then has `caller`, but on an open path, and `at_end`, a stack of what is to be done when the
    answer is sent or its client has left.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403 or 429."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets here
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        state = scope.setdefault("state", {})
        try:
            await self._admit(scope, state)
        except RequestRefused as exc:
            await refusal(exc)(scope, receive, send)
        except MemoryEngineError as exc:
            await respond_to(exc)(scope, receive, send)
        else:
            with ExitStack() as state["at_end"]:
                await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, state: dict[str, Any]) -> None:
        headers = Headers(scope=scope)
        token = headers.get("authorization", "").removeprefix("Bearer ").strip()
        is_run = hmac.compare_digest(token.encode(), self._services.run_token.encode())
        if not is_run and not self._services.settings.api_keys_required:
            check_browser(scope["method"], headers)
        if is_open(scope["path"]):
            return
        caller = MACHINE_CALLER if is_run else await self._caller(token)
        self._services.meter.take(caller.name, caller.limits, caller.shares)
        state["caller"] = caller

    async def _caller(self, token: str) -> Caller:
        """Who has this token.

        Raises:
            RequestRefused: nobody, or none that is taken here; 401.
        """
        services = self._services
        if token.startswith(_RUN_MARK):
            raise _unknown("This token is of another run of the service.")
        if token.startswith(MARK):
            key = await services.lanes.read.run(lambda: services.keys.find(token))
            if key is None:
                raise _unknown("There is no such API key, or it has expired or was revoked.")
            return caller_of(key, services.settings)
        if services.settings.api_keys_required and token:
            raise _unknown(f"This is no API key of this service: they begin with {MARK}.")
        if services.settings.api_keys_required:
            raise _unknown("An API key is needed: the header Authorization with Bearer and the key.")
        return MACHINE_CALLER


def check_browser(method: str, headers: Headers) -> None:
    """See that no page of another site is behind a request to loopback, which needs no key.

    A page can have its visitor's browser ask here: under a name of its own that leads to this machine, which `Host`
    tells, or as itself, which `Origin` and `Sec-Fetch-Site` tell.

    Raises:
        RequestRefused: one is; 403.
    """
    host = headers.get("host", "")
    if not is_loopback(_name_of(host)):
        text = "Without API keys the service is asked by a loopback name, such as localhost, and no other."
        raise RequestRefused(403, text, code="host_not_allowed")
    origin = headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    # Following a link from another site shows a page of ours to its reader alone; in a frame it would be that site's.
    navigates = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    follows_link = navigates and headers.get("sec-fetch-dest", "document") == "document"
    other_site = headers.get("sec-fetch-site") in ("cross-site", "same-site") and not follows_link
    if foreign or other_site:
        text = "Without API keys the service answers its own pages, and no page of another site."
        raise RequestRefused(403, text, code="origin_not_allowed")


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The name in a `Host` header; empty where it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _unknown(message: str) -> RequestRefused:
    return RequestRefused(401, message, code="invalid_api_key")
