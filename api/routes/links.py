"""/v1/memory/…/links, /path and /graph: what joins conversations."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.deps import NamespaceDep, ScopeDep, ServicesDep
from api.exact import EXACT_OF_USER
from api.lanes import LaneRoute
from api.schemas.links import GraphOut, LinkIn, LinkOut, PathOut, graph_out, link_out, path_out
from memory_engine import Scope

router = APIRouter(prefix="/v1/memory", tags=["links"], route_class=LaneRoute)


@router.get("/conversations/{conversation_id:path}/links")
def conversation_links(conversation_id: str, services: ServicesDep, scope: ScopeDep) -> dict[str, Any]:
    """A conversation's links to others, strongest first, each with what shows it."""
    found = services.engine.links.of(scope, conversation_id)
    rows = [link_out(link).model_dump() for link in found]
    ids = [row["id"] for row in rows]
    edges = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": rows, **edges, "has_more": False}


@router.post("/links", status_code=201)
def add_link(body: LinkIn, services: ServicesDep, namespace: NamespaceDep) -> LinkOut:
    """Join two conversations, as a person does; it stays until its conversations go."""
    scope = Scope(namespace=namespace, user=body.user)
    return link_out(services.engine.links.add(scope, body.source, body.target, body.kind, body.weight))


@router.get("/links/{link_id}")
def one_link(link_id: str, services: ServicesDep, scope: ScopeDep) -> LinkOut:
    """One link, whatever was said of it."""
    return link_out(services.engine.links.link(scope, link_id))


@router.post("/links/{link_id}/confirm")
def confirm_link(link_id: str, services: ServicesDep, scope: ScopeDep) -> LinkOut:
    """Say that a link is right: it fades no more."""
    return link_out(services.engine.links.judge(scope, link_id, "confirmed"))


@router.post("/links/{link_id}/refuse", dependencies=[EXACT_OF_USER])
def refuse_link(link_id: str, services: ServicesDep, scope: ScopeDep) -> LinkOut:
    """Say that a link is wrong: it is shown no more, and not made again."""
    return link_out(services.engine.links.judge(scope, link_id, "refused"))


@router.get("/path")
def path(source: str, target: str, services: ServicesDep, scope: ScopeDep) -> PathOut:
    """How two conversations are connected, as a chain of quotes; no steps and `connected` false when they are not."""
    found = services.engine.links.path(scope, source, target)
    return path_out(source, target, found)


@router.get("/graph")
def graph(conversation_id: str, services: ServicesDep, scope: ScopeDep, depth: Annotated[int, Query()] = 2) -> GraphOut:
    """The conversations around one, by theme, and the links between them, for drawing."""
    return graph_out(conversation_id, services.engine.links.around(scope, conversation_id, depth))
