"""What routes are handed: the services, who asks, whose memory it is, and which page of a list."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPBearer

from api.access import OPEN, needed
from api.caller import Caller
from api.errors import RequestRefused
from api.services import Services
from memory_engine import Page, Scope


async def get_services(request: Request) -> Services:
    """The services that this application was made with."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


async def admit(
    request: Request,
    _shown_in_docs: Annotated[object, Depends(HTTPBearer(auto_error=False, description="An API key, `mek_…`."))],
) -> None:
    """Stands before every route: its caller must have what the route asks.

    Raises:
        RequestRefused: a right is lacking; 403.
    """
    check_rights(request)


async def get_caller(request: Request) -> Caller:
    """Who asks, as the gate found."""
    return _caller_of(request)


CallerDep = Annotated[Caller, Depends(get_caller)]


def check_rights(request: Request) -> None:
    """Check that the caller of a request has what its route asks.

    Raises:
        RequestRefused: a right is lacking; 403.
    """
    need = needed(request.method, request.scope["route"].path)
    if need != OPEN:
        _caller_of(request).require(need)


def _caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def get_namespace(
    caller: CallerDep,
    x_namespace: Annotated[
        str | None, Header(description="The application whose memory it is, where no key says so.")
    ] = None,
) -> str:
    """Whose memory it is: the key's, and without one (loopback only) `default`, or what the header says.

    Raises:
        RequestRefused: the header names another namespace than the key's; 403.
        InvalidInput: it names none.
    """
    if caller.namespace is None:
        return Scope(namespace=x_namespace if x_namespace is not None else "default").namespace
    if x_namespace not in (None, caller.namespace):
        text = "X-Namespace names another namespace than the key's."
        raise RequestRefused(403, text, code="namespace_not_allowed")
    return caller.namespace


NamespaceDep = Annotated[str, Depends(get_namespace)]


async def get_scope(
    namespace: NamespaceDep, user: Annotated[str | None, Query(description="The person whose memory it is.")] = None
) -> Scope:
    """Whose memory is asked, where the query says so: the person's, or without one the namespace's default user's.

    Raises:
        InvalidInput: the user is no name.
    """
    return Scope(namespace=namespace, user=user)


ScopeDep = Annotated[Scope, Depends(get_scope)]


async def get_page(
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after: Annotated[str | None, Query(max_length=256)] = None,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
) -> Page:
    """The part of a list that is asked."""
    return Page(limit=limit, after=after, ascending=order == "asc")


PageDep = Annotated[Page, Depends(get_page)]
