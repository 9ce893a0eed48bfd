"""Which sentences say what a stretch of conversation is about, without a model.

Sentences are ranked on the graph of their likeness (TextRank, Mihalcea and Tarau 2004, by networkx' PageRank), told
apart by how rare their words are (what everybody says is no news), and chosen one by one so that none repeats what
is chosen already (maximal marginal relevance, Carbonell and Goldstein 1998).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from memory_engine.ports import Vectors

#: Sentences that are ranked; of more, those with the rarest words.
_MOST = 120
#: Sentences that each is joined with in the graph.
_JOINED = 8
#: What is left of a sentence's worth when it asks, and when another of its message is chosen already; and how much a
#: sentence loses that is like a chosen one.
_ASKS, _SAME_MESSAGE, _REPEATS = 0.4, 0.2, 0.6
#: How much being like others counts against having rare words.
_CENTRALITY = 0.5
#: Words under which a sentence says little.
_SHORT = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A sentence that could stand in a summary."""

    #: Its stems, stop words left out.
    terms: frozenset[str]
    words: int
    asks: bool
    #: Tells which sentences are of one message.
    message: int


def chosen(candidates: Sequence[Candidate], vectors: Vectors, words: float) -> list[int]:
    """The positions of the sentences that say most in so many words, in their order.

    Args:
        candidates: in the order of the conversation.
        vectors: shape (candidates, dimension), rows of length 1 or 0.
        words: sentences are added until they have so many; the last may go over it.
    """
    weight = np.array(_weights(candidates))
    ranked = np.argsort(-weight, kind="stable")[:_MOST]
    ranked = np.sort(ranked[weight[ranked] > 0])
    if not len(ranked):
        return []
    likeness = np.maximum(vectors[ranked] @ vectors[ranked].T, 0.0).astype(np.float64)
    np.fill_diagonal(likeness, 0.0)
    length = np.array([max(candidates[at].words, 1) for at in ranked])
    worth = _central(likeness) ** _CENTRALITY * weight[ranked] / length**0.5
    message = np.array([candidates[at].message for at in ranked])
    picked: list[int] = []
    while len(picked) < len(ranked) and length[picked].sum() < words:
        left = worth * np.where(np.isin(message, message[picked]), _SAME_MESSAGE, 1.0)
        if picked:
            left = left * (1 - _REPEATS * likeness[:, picked].max(axis=1))
        left[picked] = -1.0
        picked.append(int(left.argmax()))
    return sorted(ranked[picked].tolist())


def _weights(candidates: Sequence[Candidate]) -> list[float]:
    """How much each sentence says by itself for each of its words: how rare these are here."""
    having = Counter(term for candidate in candidates for term in candidate.terms)
    total = len(candidates)
    return [
        sum(log(1 + total / having[term]) for term in sorted(candidate.terms))
        / (candidate.words + _SHORT)
        * min(candidate.words / _SHORT, 1.0)
        * (_ASKS if candidate.asks else 1.0)
        for candidate in candidates
    ]


def _central(likeness: NDArray[np.float64]) -> NDArray[np.float64]:
    import networkx as nx  # here, because it takes half a second and most starts do not need it

    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(likeness)))
    for row, near in enumerate(np.argsort(-likeness, axis=1, kind="stable")[:, :_JOINED].tolist()):
        graph.add_weighted_edges_from((row, other, likeness[row, other]) for other in near if likeness[row, other] > 0)
    rank = nx.pagerank(graph)
    return np.array([rank[row] for row in range(len(likeness))]) * len(likeness)
