"""Where a conversation turns to something else: idle gaps, and shifts of topic between them.

Shifts are found as by TextTiling (Hearst 1997): at every place the messages before and after are compared, and a
boundary stands where they are least alike, deeper than is usual in this conversation; here by their vectors.
"""

import itertools
from bisect import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memory_engine.ports import Vectors

#: Idle microseconds after which people come back to something else: one hour.
IDLE = 3600 * 1_000_000
#: Messages on each side that are compared, and the fewest that a segment of its own has.
_WINDOW, _SHORTEST = 4, 6
#: The most messages of a segment; a longer one is cut where it shifts most.
LONGEST = 40
#: A shift counts when it is deeper than the mean by so many standard deviations.
_DEEP = 1.0


def boundaries(times: Sequence[int], vectors: Vectors) -> list[int]:
    """Where segments begin after the first, as positions of messages.

    Args:
        times: microseconds, one a message, in the order of the conversation.
        vectors: shape (messages, dimension), rows of length 1 or 0.
    """
    gaps = [at for at in range(1, len(times)) if abs(times[at] - times[at - 1]) > IDLE]
    edges = [0, *gaps, len(times)]
    shifts = [first + at for first, end in itertools.pairwise(edges) for at in _shifts(vectors[first:end])]
    return sorted({*gaps, *shifts})


def _shifts(vectors: Vectors) -> list[int]:
    if len(vectors) < 2 * _SHORTEST:
        return []
    depth = _depths(vectors)
    usual = float(depth.mean() + _DEEP * depth.std())
    edges = [0, len(vectors)]
    too_long = int(len(vectors) > LONGEST)  # segments that are
    for at in np.argsort(-depth, kind="stable").tolist():
        place = bisect(edges, at)
        first, end = edges[place - 1 : place + 1] if 0 < place < len(edges) else (at, at)
        fits = at - first >= _SHORTEST and end - at >= _SHORTEST
        if fits and (depth[at] > usual or too_long):
            edges.insert(place, at)
            too_long += (at - first > LONGEST) + (end - at > LONGEST) - (end - first > LONGEST)
    return edges[1:-1]


def _depths(vectors: Vectors) -> NDArray[np.float64]:
    """How much less alike the two sides of each place are than around the peaks beside it."""
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])
    count = len(vectors)
    likeness = np.ones(count)
    for at in range(1, count):
        before = sums[at] - sums[max(0, at - _WINDOW)]
        after = sums[min(count, at + _WINDOW)] - sums[at]
        lengths = float(np.linalg.norm(before) * np.linalg.norm(after))
        likeness[at] = float(before @ after) / lengths if lengths else 1.0
    left = np.maximum.accumulate(likeness)
    right = np.maximum.accumulate(likeness[::-1])[::-1]
    depth: NDArray[np.float64] = left + right - 2 * likeness
    return depth
