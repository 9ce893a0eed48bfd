"""What is kept in memory of the scopes that are asked: it follows the store by a watermark.

A scope is loaded when it is first asked, catches up with what was committed since before it answers, and is dropped
least recently used when all together take more than a byte limit.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from memory_engine.lexical.index import LexicalIndex
from memory_engine.models import ScopeKey
from memory_engine.ports import Vectors
from memory_engine.recall.catalogue import Catalogue, CatalogueView
from memory_engine.storage import embeddings, scopes, terms
from memory_engine.storage.database import Database, Transaction
from memory_engine.vectors.exact import ExactIndex, VectorTable

#: Bytes that all resident scopes may take together.
DEFAULT_LIMIT = 1024 * 1024 * 1024
#: The centre of a scope is the mean of its first vectors, as many as these.
CENTRE_ROWS = 4_096
#: Zero vectors that are counted in: the mean of a few messages is what they say, not what they share with all texts.
_CENTRE_PRIOR = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ScopeMemory:
    """A scope as recall sees it at one moment."""

    key: ScopeKey
    #: Everything up to this seq is in it.
    watermark: int
    catalogue: CatalogueView
    lexical: LexicalIndex


@dataclass(kw_only=True, slots=True)
class _Resident:
    lock: threading.Lock = field(default_factory=threading.Lock)
    catalogue: Catalogue = field(default_factory=Catalogue)
    memory: ScopeMemory | None = None
    #: How many rows the centre was made from, and the centre.
    centre: tuple[int, Vectors | None] = (0, None)
    #: The watermark at which it was computed.
    centred_at: int = -1


class ResidentScopes:
    """The scopes in memory, by key."""

    def __init__(self, database: Database, *, space_id: int, dimension: int, limit: int = DEFAULT_LIMIT) -> None:
        self._database = database
        self._space_id = space_id
        self._dimension = dimension
        self._limit = limit
        self._lock = threading.Lock()
        self._residents: OrderedDict[ScopeKey, _Resident] = OrderedDict()
        self._exact = ExactIndex(dimension)

    def memory(self, key: ScopeKey) -> ScopeMemory:
        """The scope's catalogue and lexical index, with all that is committed."""
        resident = self._resident(key)
        with resident.lock, self._database.read() as db:
            memory = self._caught_up(db, key, resident)
        self._drop_least_recent(key)
        return memory

    def vectors(self, key: ScopeKey, memory: ScopeMemory) -> VectorTable:
        """Every vector of the scope up to the memory's watermark or later, for scoring exactly."""
        resident = self._resident(key)
        with resident.lock:
            if self._exact.watermark(key) < memory.watermark:
                with self._database.read() as db:
                    last = scopes.last_seq(db, key)
                    seqs, rows = embeddings.vectors_after(db, key, self._space_id, self._exact.watermark(key))
                vectors = embeddings.unpack(rows, self._dimension)
                self._exact.add(key, seqs.tolist(), vectors, watermark=last)
            table = self._exact.table(key)
        self._drop_least_recent(key)
        return table

    def centre(self, key: ScopeKey) -> Vectors:
        """The mean of the scope's first vectors, shape (dimension,); it stands still once they are many."""
        resident = self._resident(key)
        with resident.lock:
            rows, known = resident.centre
            last = resident.memory.watermark if resident.memory else 0
            if rows == CENTRE_ROWS or (known is not None and resident.centred_at == last):
                assert known is not None  # it was set with its rows
                return known
            rows, first = self._first_vectors(key)
            centre: Vectors = first.sum(axis=0) / np.float32(len(first) + _CENTRE_PRIOR)
            resident.centre, resident.centred_at = (rows, centre), last
            return centre

    def _first_vectors(self, key: ScopeKey) -> tuple[int, Vectors]:
        """How many rows were looked at, and one vector a message of theirs: many chunks of one text are no centre."""
        if self._exact.watermark(key):
            table = self._exact.table(key)
            seqs, vectors = table.seqs[:CENTRE_ROWS], table.vectors[:CENTRE_ROWS]
        else:
            with self._database.read() as db:
                seqs, rows = embeddings.vectors_after(db, key, self._space_id, 0, CENTRE_ROWS)
            vectors = embeddings.unpack(rows, self._dimension)
        _, firsts = np.unique(seqs, return_index=True)
        return len(seqs), vectors[firsts]

    def forget(self, key: ScopeKey | None = None) -> None:
        """Drop a scope, or all, from memory; they are loaded anew when they are asked."""
        with self._lock:
            for dropped in list(self._residents) if key is None else [key]:
                self._residents.pop(dropped, None)
                self._exact.drop(dropped)

    def _resident(self, key: ScopeKey) -> _Resident:
        with self._lock:
            resident = self._residents.setdefault(key, _Resident())
            self._residents.move_to_end(key)
            return resident

    def _caught_up(self, db: Transaction, key: ScopeKey, resident: _Resident) -> ScopeMemory:
        before = resident.memory
        last = scopes.last_seq(db, key)
        if before is not None and before.watermark == last:
            return before
        rows = list(terms.read_after(db, key, before.watermark if before else 0))
        lexical = before.lexical if before else LexicalIndex.empty()
        if rows:
            lexical = lexical.appended([np.frombuffer(row.terms, "<u4") for row in rows])
            resident.catalogue.append(rows)
        resident.memory = ScopeMemory(key=key, watermark=last, catalogue=resident.catalogue.view(), lexical=lexical)
        return resident.memory

    def _drop_least_recent(self, used: ScopeKey) -> None:
        with self._lock:
            sizes = {key: self._size(key, resident) for key, resident in self._residents.items()}
            total = sum(sizes.values())
            for key, size in sizes.items():
                if total <= self._limit or key == used:
                    break
                del self._residents[key]
                self._exact.drop(key)
                total -= size

    def _size(self, key: ScopeKey, resident: _Resident) -> int:
        lexical = 0 if resident.memory is None else resident.memory.lexical.nbytes
        return resident.catalogue.nbytes + lexical + self._exact.table(key).nbytes
