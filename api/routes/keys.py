"""/v1/keys: API keys. A key of the scope `admin` sees and makes those of its own namespace."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query

from api.caller import Caller
from api.deps import CallerDep, NamespaceDep, ServicesDep
from api.errors import RequestRefused
from api.exact import EXACT_PATH
from api.keys import MAX_GENERATIONS, ApiKey, NewKey
from api.lanes import LaneRoute
from api.limits import Limits
from api.schemas.keys import KeyIn, KeyOut, MadeKeyOut, key_out
from memory_engine.times import parse_time

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=LaneRoute)


@router.post("", status_code=201)
def create(body: KeyIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep) -> MadeKeyOut:
    """Make a key; it is in this answer and nowhere else.

    A key that makes one hands on no more than it has: its scopes, its rate and its expiry are the most, and revoking it
    revokes the new one.
    """
    named = _within(caller, body.namespace)
    rate = body.requests_per_minute
    most = min(caller.limits.requests, Limits.of_namespace(services.settings))
    if rate is not None and rate > most:
        raise _too_much(f"A key may allow {most:,} requests a minute at most.", "requests_per_minute")
    new = NewKey(
        namespace=namespace if named is None else named,
        name=body.name,
        rights=body.scopes,
        expires_at=None if body.expires_at is None else parse_time(body.expires_at, "expires_at"),
        requests_per_minute=rate,
    )
    key, secret = services.keys.create(new if caller.key is None else _inherited(new, caller, caller.key))
    return MadeKeyOut(**key_out(key).model_dump(), key=secret)


def _inherited(new: NewKey, caller: Caller, maker: ApiKey) -> NewKey:
    """Return the key with what it leaves open taken from its maker.

    Raises:
        RequestRefused: it would have more than its maker, or its line of makers is too long; 403.
    """
    caller.require(frozenset(new.rights))
    if len(maker.makers) + 1 >= MAX_GENERATIONS:
        raise _too_much(f"Keys may make each other in lines of {MAX_GENERATIONS} at most.", None)
    ends = maker.expires_at if new.expires_at is None else new.expires_at
    if maker.expires_at is not None and ends is not None and ends > maker.expires_at:
        raise _too_much("A key may not outlive the key that makes it.", "expires_at")
    rate = maker.requests_per_minute if new.requests_per_minute is None else new.requests_per_minute
    return replace(new, expires_at=ends, requests_per_minute=rate, made_by=maker.key_id)


def _too_much(message: str, param: str | None) -> RequestRefused:
    return RequestRefused(403, message, code="limit_exceeded", param=param)


@router.get("")
def keys(
    services: ServicesDep, caller: CallerDep, namespace: Annotated[str | None, Query(min_length=1)] = None
) -> dict[str, Any]:
    """The keys, oldest first, expired and revoked ones too."""
    rows = [key_out(key).model_dump(mode="json") for key in services.keys.all(_within(caller, namespace))]
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    return {"object": "list", "data": rows, "first_id": first, "last_id": last, "has_more": False}


@router.delete("/{key_id}", dependencies=[EXACT_PATH])
def revoke(
    key_id: str, services: ServicesDep, caller: CallerDep, x_namespace: Annotated[str | None, Header()] = None
) -> KeyOut:
    """Revoke an API key and the keys that it made. With X-Namespace, only a key of that namespace."""
    key = services.keys.revoke(key_id, caller.namespace if x_namespace is None else _within(caller, x_namespace))
    if key is None:
        raise RequestRefused(404, f"There is no key {key_id!r}.", code="key_not_found", param="key_id")
    return key_out(key)


def _within(caller: Caller, namespace: str | None) -> str | None:
    """The namespace that is named, or the only one that the caller may name; None for all.

    Raises:
        RequestRefused: it is another's; 403.
    """
    if caller.namespace is not None and namespace not in (None, caller.namespace):
        text = "A key makes and shows keys of its own namespace only."
        raise RequestRefused(403, text, code="namespace_not_allowed", param="namespace")
    return caller.namespace if namespace is None else namespace
