"""The graph of linked conversations, loaded as far as a question needs it. SQL has the links; this walks along them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING

from memory_engine.models import Link

if TYPE_CHECKING:
    import networkx as nx

#: The links of these threads, strongest first.
Load = Callable[[Sequence[str]], Sequence[Link]]

#: Conversations that one walk visits, and how many of one conversation's links it follows.
_MOST_NODES, _FOLLOWED = 400, 24
#: The longest chain that still says how two conversations are connected.
_LONGEST_PATH = 6
#: Louvain's method starts at random; the same graph is to give the same themes.
_SEED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbourhood:
    """The conversations around one, and the links between them."""

    #: Thread ids with the theme that each belongs to: conversations that are linked among themselves more than
    #: with others (Louvain, Blondel et al. 2008).
    themes: dict[str, int]
    links: tuple[Link, ...]


def around(load: Load, thread_id: str, depth: int) -> Neighbourhood:
    """What can be reached from a conversation in so many steps."""
    import networkx as nx

    graph = _grown(load, [thread_id], depth, until=None)
    communities = nx.community.louvain_communities(graph, weight="weight", seed=_SEED)
    ordered = sorted((sorted(members) for members in communities), key=lambda members: (-len(members), members))
    themes = {member: number for number, members in enumerate(ordered) for member in members}
    links: list[Link] = [data["link"] for _, _, data in graph.edges(data=True)]
    return Neighbourhood(themes=themes, links=tuple(sorted(links, key=lambda link: (-link.weight, link.link_id))))


def path(load: Load, source: str, target: str) -> tuple[Link, ...] | None:
    """The chain of links that connects two conversations best, or None when there is none of up to six.

    Among chains, the one whose weights multiply to the most.
    """
    import networkx as nx

    if source == target:
        return ()
    graph = _grown(load, [source], _LONGEST_PATH, until=target)
    if target not in graph:
        return None
    nodes = nx.shortest_path(graph, source, target, weight="length")
    return tuple(graph.edges[a, b]["link"] for a, b in pairwise(nodes))


def _grown(load: Load, start: Sequence[str], depth: int, until: str | None) -> "nx.Graph[str]":
    """The graph within so many steps; one step more where `until` was just met, for a better way to it."""
    import networkx as nx  # here, because it takes half a second and most starts do not need it

    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(start)
    edge: list[str] = list(start)
    for _ in range(depth):
        met = until is not None and until in graph
        found = _strongest(load(edge), set(edge))
        fresh = []
        for link in found:
            ends = (link.source_thread_id, link.target_thread_id)
            fresh += [end for end in ends if end not in graph]
            if len(graph) + len(set(fresh)) > _MOST_NODES:
                return graph
            _add(graph, link)
        edge = list(dict.fromkeys(fresh))
        if met or not edge:
            break
    return graph


def _strongest(found: Sequence[Link], edge: set[str]) -> list[Link]:
    """Of each conversation at the edge, the links that are followed: hubs do not lead everywhere."""
    counts: dict[str, int] = {}
    kept = []
    for link in found:
        mine = [end for end in (link.source_thread_id, link.target_thread_id) if end in edge]
        if any(counts.get(end, 0) < _FOLLOWED for end in mine):
            kept.append(link)
        for end in mine:
            counts[end] = counts.get(end, 0) + 1
    return kept


def _add(graph: "nx.Graph[str]", link: Link) -> None:
    """Of several links between the same two the strongest stands for all."""
    a, b = link.source_thread_id, link.target_thread_id
    if not graph.has_edge(a, b) or graph.edges[a, b]["weight"] < link.weight:
        graph.add_edge(a, b, link=link, weight=link.weight, length=-log(min(max(link.weight, 1e-6), 0.999)))
