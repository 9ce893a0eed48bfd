"""Bodies of the routes on links."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictFloat, StrictInt, StrictStr

from api.schemas.memory import Body, Moment
from memory_engine import Link
from memory_engine.links.graph import Neighbourhood
from memory_engine.models import Message


class LinkIn(Body):
    """Two conversations that belong together."""

    source: StrictStr
    target: StrictStr
    kind: StrictStr = "related"
    weight: StrictFloat | StrictInt = 1.0
    user: StrictStr | None = None


class QuoteOut(BaseModel):
    """A message that shows a link."""

    message_id: str
    conversation_id: str
    text: str
    created_at: Moment


class PairOut(BaseModel):
    """Two messages that show a link, one of each conversation."""

    source: QuoteOut
    target: QuoteOut


class EvidenceOut(BaseModel):
    """What shows a link."""

    words: list[str]
    messages: list[PairOut]


class LinkOut(BaseModel):
    """What joins two conversations."""

    object: Literal["link"] = "link"
    id: str
    source: str
    target: str
    kind: str
    weight: float
    state: str
    made_by: str
    made_at: Moment
    evidence: EvidenceOut


class PathOut(BaseModel):
    """A chain of links from one conversation to another."""

    source: str
    target: str
    connected: bool
    steps: list[LinkOut]


class NodeOut(BaseModel):
    """A conversation of the graph."""

    conversation_id: str
    theme: Annotated[int, Field(description="Conversations of one theme are linked among themselves more.")]


class EdgeOut(BaseModel):
    """A link of the graph."""

    id: str
    source: str
    target: str
    kind: str
    weight: float


class GraphOut(BaseModel):
    """Nodes and edges for drawing."""

    nodes: list[NodeOut]
    edges: list[EdgeOut]


def link_out(link: Link) -> LinkOut:
    """A link as clients see it."""
    pairs = [PairOut(source=_quote(pair.source), target=_quote(pair.target)) for pair in link.evidence]
    return LinkOut(
        id=link.link_id,
        source=link.source,
        target=link.target,
        kind=link.kind,
        weight=round(link.weight, 4),
        state=link.state,
        made_by=link.made_by,
        made_at=link.made_at,
        evidence=EvidenceOut(words=list(link.words), messages=pairs),
    )


def path_out(source: str, target: str, found: Sequence[Link] | None) -> PathOut:
    """A path as clients see it."""
    steps = [link_out(link) for link in found or ()]
    return PathOut(source=source, target=target, connected=found is not None, steps=steps)


def graph_out(conversation_id: str, found: Neighbourhood) -> GraphOut:
    """A neighbourhood as clients see it."""
    names = {link.source_thread_id: link.source for link in found.links}
    names |= {link.target_thread_id: link.target for link in found.links}
    nodes = [
        NodeOut(conversation_id=names.get(thread_id, conversation_id), theme=theme)
        for thread_id, theme in found.themes.items()
    ]
    edges = [
        EdgeOut(id=link.link_id, source=link.source, target=link.target, kind=link.kind, weight=round(link.weight, 4))
        for link in found.links
    ]
    return GraphOut(nodes=nodes, edges=edges)


def _quote(message: Message) -> QuoteOut:
    return QuoteOut(
        message_id=message.message_id,
        conversation_id=message.conversation_id,
        text=message.text,
        created_at=message.created_at,
    )
