"""What routes are handed: the services, whose memory it is, and which page of a list."""

import secrets
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from api.errors import RequestRefused
from api.services import Services
from memory_engine import Page, Scope


def get_services(request: Request) -> Services:
    """The services that this application was made with."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_namespace(
    services: ServicesDep,
    x_namespace: Annotated[str | None, Header(description="The application whose memory it is.")] = None,
    authorization: Annotated[str | None, Header()] = None,
) -> str:
    """The namespace: without keys (loopback only) it is `default`, or what the header says."""
    token = (authorization or "").removeprefix("Bearer ").strip()
    if token.startswith("run_") and token != services.run_token:
        raise RequestRefused(401, "This token is of another run of the service.", code="invalid_api_key")
    return Scope(namespace=x_namespace if x_namespace is not None else "default").namespace


NamespaceDep = Annotated[str, Depends(get_namespace)]


def check_run_token(services: ServicesDep, authorization: Annotated[str | None, Header()] = None) -> None:
    """Let only this machine's commands in: they read this run's token where the service has written it."""
    token = (authorization or "").removeprefix("Bearer ").strip()
    if not secrets.compare_digest(token.encode(), services.run_token.encode()):
        text = "This is for the commands of the machine that the service runs on."
        raise RequestRefused(403, text, code="run_token_required")


def get_page(
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after: Annotated[str | None, Query(max_length=256)] = None,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
) -> Page:
    """The part of a list that is asked."""
    return Page(limit=limit, after=after, ascending=order == "asc")


PageDep = Annotated[Page, Depends(get_page)]
