"""Takes from the vectors of a scope what all its texts share, so that a cosine tells them apart.

Static vectors, and most others, lie in a narrow cone: the centre is taken away (Mu and Viswanath 2018), and the
directions in which the scope varies most, its small talk and its standing topics, are shortened (whitening; Su et
al. 2021, Huang et al. 2021), but only part of the way, because long texts are told apart by just these.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_engine.ports import Vectors

Floats = NDArray[np.float64]

#: The most vectors that it is fitted on.
LARGEST_SAMPLE = 4_096
#: The sample stands still until the scope has grown by this factor.
_GROWTH = 1.25
_SMALLEST_STEP = 32
#: Zero vectors counted into the centre: the mean of a few messages is what they say, not what all texts share.
_CENTRE_PRIOR = 20
#: Vectors without any preferred direction counted into the variances: a few messages do not tell what is common.
_VARIANCE_PRIOR = 170


@dataclass(frozen=True, kw_only=True, slots=True)
class Whitening:
    """A shift and a linear map of one vector space."""

    #: Shape (dimension,).
    centre: Vectors
    #: Shape (dimension, dimension).
    matrix: Vectors

    @classmethod
    def fit(cls, vectors: Vectors, strength: float) -> "Whitening":
        """The map for texts like these.

        Args:
            vectors: shape (n, dimension), one a message.
            strength: 0 leaves the variances as they are, 0.5 makes them all equal.
        """
        rows, dimension = vectors.shape
        centre = vectors.sum(axis=0) / np.float32(rows + _CENTRE_PRIOR)
        moved = (vectors - centre).astype(np.float64)
        spread = moved.T @ moved / max(rows, 1)
        share = rows / (rows + _VARIANCE_PRIOR)
        mean = max(float(np.trace(spread)) / dimension, 1e-9)
        variances, directions = np.linalg.eigh(share * spread / mean + (1 - share) * np.eye(dimension))
        matrix = directions * np.maximum(variances, 1e-3) ** -strength
        return cls(centre=centre, matrix=matrix.astype(np.float32))

    def lengths(self, vectors: Vectors) -> Vectors:
        """The length of each vector under the map, infinite for a zero vector; shape (n,)."""
        lengths = np.linalg.norm((vectors - self.centre) @ self.matrix, axis=1)
        return np.where(vectors.any(axis=1), np.maximum(lengths, 1e-6), np.inf).astype(np.float32)

    def probe(self, query: Vectors) -> Vectors:
        """The vector whose inner products with others order them as the cosines under the map do, but for lengths."""
        mapped = np.vecdot(self.matrix.T, query - self.centre)
        return np.asarray(np.vecdot(self.matrix, mapped) / max(float(np.linalg.norm(mapped)), 1e-6), np.float32)

    def cosines(self, vectors: Vectors, lengths: Vectors, query: Vectors) -> Floats:
        """The cosine of each vector with the query under the map; 0 for a zero vector.

        Args:
            vectors: shape (n, dimension).
            lengths: theirs, as `lengths` gives them.
            query: shape (dimension,).
        """
        probe = self.probe(query)
        # Not the product of BLAS: its threads would spin after so small a task.
        return np.asarray((np.vecdot(vectors, probe) - np.vecdot(self.centre, probe)) / lengths, np.float64)


def sample_size(rows: int) -> int:
    """On how many of the first rows to fit: few steps, so that one more message rarely changes every score."""
    size = _SMALLEST_STEP
    while size * _GROWTH <= min(rows, LARGEST_SAMPLE):
        size = int(size * _GROWTH)
    return min(rows, size)
