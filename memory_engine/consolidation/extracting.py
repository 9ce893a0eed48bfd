"""Which sentences say what a stretch of conversation is about, without a model.

Sentences are ranked on the graph of their likeness (TextRank, Mihalcea and Tarau 2004, by networkx' PageRank), told
apart by how rare their words are (what everybody says is no news), and chosen one by one so that none repeats what
is chosen already (maximal marginal relevance, Carbonell and Goldstein 1998).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from memory_engine.ports import Vectors

#: Sentences that are ranked; of more, those with the rarest words.
_MOST = 120
#: Sentences that each is joined with in the graph.
_JOINED = 8
#: How much a sentence loses that asks, and what repeats a chosen one.
_ASKS, _REPEATS = 0.4, 0.6
#: Words under which a sentence says little, and over which it says no more by being longer.
_SHORT, _LONG = 5.0, 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A sentence that could stand in a summary."""

    #: Its stems, stop words left out.
    terms: frozenset[str]
    words: int
    asks: bool


def chosen(candidates: Sequence[Candidate], vectors: Vectors, count: int) -> list[int]:
    """The positions of the `count` sentences that say most together, in their order.

    Args:
        candidates: in the order of the conversation.
        vectors: shape (candidates, dimension), rows of length 1 or 0.
        count: how many at most.
    """
    if not candidates:
        return []
    weight = _weights(candidates)
    ranked = np.argsort(-weight, kind="stable")[:_MOST]
    ranked = np.sort(ranked[weight[ranked] > 0])
    if not len(ranked):
        return []
    likeness = np.maximum(vectors[ranked] @ vectors[ranked].T, 0.0).astype(np.float64)
    np.fill_diagonal(likeness, 0.0)
    score = _central(likeness) * weight[ranked]
    picked: list[int] = []
    while len(picked) < min(count, len(ranked)):
        repeated = likeness[:, picked].max(axis=1) if picked else np.zeros(len(ranked))
        worth = score * (1 - _REPEATS * repeated)
        worth[picked] = -1.0
        picked.append(int(worth.argmax()))
    return sorted(ranked[picked].tolist())


def _weights(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """How much each sentence says by itself: its rare words, up to a length; nothing without any."""
    having = Counter(term for candidate in candidates for term in candidate.terms)
    total = len(candidates)
    weights = [
        sum(log(1 + total / having[term]) for term in sorted(candidate.terms))
        / (candidate.words + _SHORT)
        * min(candidate.words / _SHORT, 1.0)
        * min(candidate.words, _LONG) ** 0.5
        * (_ASKS if candidate.asks else 1.0)
        for candidate in candidates
    ]
    return np.array(weights)


def _central(likeness: NDArray[np.float64]) -> NDArray[np.float64]:
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(likeness)))
    for row, near in enumerate(np.argsort(-likeness, axis=1, kind="stable")[:, :_JOINED].tolist()):
        graph.add_weighted_edges_from((row, other, likeness[row, other]) for other in near if likeness[row, other] > 0)
    rank = nx.pagerank(graph)
    return np.array([rank[row] for row in range(len(likeness))]) * len(likeness)
