"""The exact vector index: numpy over the rows of the embedding stratum."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_engine.models import ScopeKey
from memory_engine.ports import Vectors


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorTable:
    """The vectors of one scope with the messages that they belong to; appending leaves older tables valid.

    The arrays are views of buffers with room to grow, so n rows added one by one are copied log n times.
    """

    #: seq of the message of each row, rising; a message with several chunks has several rows.
    seqs: NDArray[np.int64]
    #: Shape (rows, dimension), rows of length 1 or 0.
    vectors: Vectors
    buffers: tuple[NDArray[np.int64], Vectors]

    @classmethod
    def empty(cls, dimension: int) -> "VectorTable":
        """A table without rows."""
        seqs, vectors = np.zeros(0, np.int64), np.zeros((0, dimension), np.float32)
        return cls(seqs=seqs, vectors=vectors, buffers=(seqs, vectors))

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers."""
        return sum(buffer.nbytes for buffer in self.buffers)

    def appended(self, seqs: NDArray[np.int64], vectors: Vectors) -> "VectorTable":
        """The table with these rows at its end. Only the newest table may be appended to."""
        start, stop = len(self.seqs), len(self.seqs) + len(seqs)
        buffers = self.buffers
        if stop > len(buffers[0]):
            room = max(stop, 2 * start, 64)
            buffers = (np.zeros(room, np.int64), np.zeros((room, self.vectors.shape[1]), np.float32))
            buffers[0][:start], buffers[1][:start] = self.seqs, self.vectors
        buffers[0][start:stop], buffers[1][start:stop] = seqs, vectors
        return VectorTable(seqs=buffers[0][:stop], vectors=buffers[1][:stop], buffers=buffers)

    def exchanged(self, stays: NDArray[np.bool_], seqs: NDArray[np.int64], vectors: Vectors) -> "VectorTable":
        """A table of the rows that stay, with these rows among them."""
        merged = np.concatenate([self.seqs[stays], seqs])
        order = np.argsort(merged, kind="stable")
        rows = np.concatenate([self.vectors[stays], vectors])[order]
        return VectorTable.empty(self.vectors.shape[1]).appended(merged[order], rows)


class ExactIndex:
    """Looks at every vector of a scope: nothing can be missed."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._tables: dict[ScopeKey, VectorTable] = {}
        self._watermarks: dict[ScopeKey, int] = {}
        self._lock = threading.Lock()

    def watermark(self, scope: ScopeKey) -> int:
        """The `seq` up to which the scope's vectors are in the index."""
        return self._watermarks.get(scope, 0)

    def searchable(self, scope: ScopeKey) -> int:
        """The watermark: it always answers."""
        return self.watermark(scope)

    @property
    def outage(self) -> None:
        """None: it always answers."""
        return None

    def add(self, scope: ScopeKey, seqs: Sequence[int], vectors: Vectors, watermark: int) -> None:
        """Add vectors, one row a chunk; a message that is added again replaces its rows."""
        with self._lock:
            table = self.table(scope)
            new = np.asarray(seqs, np.int64)
            if len(new) and len(table.seqs) and new.min() <= table.seqs[-1]:
                table = table.exchanged(~np.isin(table.seqs, new), new, vectors)
            else:
                table = table.appended(new, vectors)
            self._tables[scope] = table
            self._watermarks[scope] = max(watermark, self._watermarks.get(scope, 0))

    def table(self, scope: ScopeKey) -> VectorTable:
        """Every vector of the scope that is in the index."""
        return self._tables.get(scope) or VectorTable.empty(self._dimension)

    def nearest(self, scope: ScopeKey, vector: Vectors, limit: int) -> list[int]:
        """The seqs of the vectors with the highest cosine, best first, each message once."""
        table = self.table(scope)
        best = np.argsort(-(table.vectors @ vector), kind="stable")[:limit]
        return list(dict.fromkeys(table.seqs[best].tolist()))

    def remove(self, scope: ScopeKey, seqs: Sequence[int]) -> None:
        """Forget these messages' vectors; the watermark stays."""
        with self._lock:
            before = self._tables.get(scope)
            if before is not None:
                stays = ~np.isin(before.seqs, np.asarray(seqs, np.int64))
                self._tables[scope] = before.exchanged(stays, before.seqs[:0], before.vectors[:0])

    def change(
        self, scope: ScopeKey, gone: NDArray[np.int64], seqs: NDArray[np.int64], vectors: Vectors, *, watermark: int
    ) -> None:
        """Take out the rows of the messages that are gone, and all after the watermark; then put these rows in."""
        with self._lock:
            before = self.table(scope)
            stays = (before.seqs <= watermark) & ~np.isin(before.seqs, gone)
            self._tables[scope] = before.exchanged(stays, seqs, vectors)
            self._watermarks[scope] = watermark

    def drop(self, scope: ScopeKey) -> None:
        """Forget the scope."""
        with self._lock:
            self._tables.pop(scope, None)
            self._watermarks.pop(scope, None)
