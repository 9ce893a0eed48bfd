"""What is kept in memory of the scopes that are asked: it follows the store by a watermark.

A scope is loaded when it is first asked, catches up with what was committed since before it answers, and is dropped
least recently used when all together take more than a byte limit. Edits and erasures stand in the middle of what else
grows at its end only: the versions that the store has are held against those that are resident, and what differs is
exchanged. It is then what a fresh load would be.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_engine.lexical.analysis import TermIds
from memory_engine.lexical.index import LexicalIndex
from memory_engine.models import ScopeKey
from memory_engine.ports import Vectors
from memory_engine.recall.catalogue import Catalogue, CatalogueView, Ints
from memory_engine.recall.ranking import dense_share
from memory_engine.recall.whitening import LARGEST_SAMPLE, Whitening, sample_size
from memory_engine.storage import branches, embeddings, outbox, scopes, terms
from memory_engine.storage.database import Database, Transaction
from memory_engine.vectors.exact import ExactIndex
from memory_engine.waits import hold, waiting

#: Bytes that all resident scopes may take together.
DEFAULT_LIMIT = 1024 * 1024 * 1024
#: How much of the whitening is done where messages are short; longer ones get less, in proportion to the words' share.
_WHITENING = 0.28
#: The share of a scope's messages of which so many changes are followed one by one; where more changed, it is loaded
#: anew.
_MOST_CHANGED = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class ScopeMemory:
    """A scope as recall sees it at one moment."""

    key: ScopeKey
    #: Everything up to this seq is in it.
    watermark: int
    catalogue: CatalogueView
    lexical: LexicalIndex

    def part(self, positions: Ints) -> "ScopeMemory":
        """The messages at these rising positions, by the statistics of the whole scope."""
        return replace(self, catalogue=self.catalogue.part(positions), lexical=self.lexical.part(positions))


@dataclass(frozen=True, kw_only=True, slots=True)
class WhitenedTable:
    """The vectors of a scope, and what makes cosines of them."""

    seqs: NDArray[np.int64]
    #: Shape (rows, dimension).
    vectors: Vectors
    #: Of each row under the whitening; shape (rows,).
    lengths: Vectors
    whitening: Whitening


@dataclass(kw_only=True, slots=True)
class _Resident:
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: How many edits and erasures of the scope are in it.
    changes: int = -1
    catalogue: Catalogue = field(default_factory=Catalogue)
    memory: ScopeMemory | None = None
    whitening: Whitening | None = None
    #: On how many rows it was fitted.
    fitted_on: int = -1
    #: The place of the last message among those.
    fitted_to: int = -1
    #: The watermark up to which that is known to be the right number of rows; -1 where it must be looked at again.
    fitted_at: int = -1
    #: The lengths of the table's first rows under the whitening.
    lengths: Vectors = field(default_factory=lambda: np.zeros(0, np.float32))

    def forget_whitening(self) -> None:
        """It is fitted anew when it is asked for."""
        self.whitening, self.fitted_on, self.fitted_at = None, -1, -1
        self.lengths = np.zeros(0, np.float32)


class ResidentScopes:
    """The scopes in memory, by key."""

    def __init__(
        self, database: Database, *, space_id: int, dimension: int, embeds_at_once: bool, limit: int = DEFAULT_LIMIT
    ) -> None:
        """Take the store and the space; `embeds_at_once` says that a message is never kept before its vectors."""
        self._database = database
        self._embeds_at_once = embeds_at_once
        self._space_id = space_id
        self._dimension = dimension
        self._limit = limit
        self._lock = threading.Lock()
        self._residents: OrderedDict[ScopeKey, _Resident] = OrderedDict()
        self._exact = ExactIndex(dimension)

    def memory(self, key: ScopeKey) -> ScopeMemory:
        """The scope's catalogue and lexical index, with all that is committed."""
        resident = self._resident(key)
        with hold(resident.lock), self._database.read() as db:
            memory = self._caught_up(db, key, resident)
        self._drop_least_recent(key)
        return memory

    def vectors(self, key: ScopeKey, memory: ScopeMemory) -> WhitenedTable:
        """Every vector of the scope up to the memory's watermark or later, for scoring exactly.

        Where vectors are made in the background, the newest may still lack.
        """
        resident = self._resident(key)
        with hold(resident.lock), _wait_if(not self._exact.watermark(key)):
            if self._exact.watermark(key) < memory.watermark:
                self._add_vectors(key)
            table = self._exact.table(key)
            whitening = self._fitted(key, resident, memory)
            known = len(resident.lengths)
            if known < len(table.seqs):
                resident.lengths = np.concatenate([resident.lengths, whitening.lengths(table.vectors[known:])])
            lengths = resident.lengths[: len(table.seqs)]
        self._drop_least_recent(key)
        return WhitenedTable(seqs=table.seqs, vectors=table.vectors, lengths=lengths, whitening=whitening)

    def _add_vectors(self, key: ScopeKey) -> None:
        with self._database.read() as db:
            last, _ = scopes.marks(db, key)
            if not self._embeds_at_once and (waiting := outbox.first_waiting(db, key)) is not None:
                last = waiting - 1  # from there on vectors may still come, and a table grows at its end only
            seqs, rows = embeddings.vectors_after(db, key, self._space_id, self._exact.watermark(key))
        known = int(np.searchsorted(seqs, last, "right"))
        vectors = embeddings.unpack(rows[:known], self._dimension)
        self._exact.add(key, seqs[:known].tolist(), vectors, watermark=last)

    def whitening(self, key: ScopeKey, memory: ScopeMemory) -> Whitening:
        """The scope's map, without its vectors."""
        resident = self._resident(key)
        with hold(resident.lock):
            return self._fitted(key, resident, memory)

    def _fitted(self, key: ScopeKey, resident: _Resident, memory: ScopeMemory) -> Whitening:
        is_final = resident.fitted_on == sample_size(LARGEST_SAMPLE)
        if resident.whitening is not None and (is_final or resident.fitted_at >= memory.watermark):
            return resident.whitening
        seqs, vectors = self._first_vectors(key)
        rows = sample_size(len(seqs))
        if resident.whitening is None or rows != resident.fitted_on:
            _, firsts = np.unique(seqs[:rows], return_index=True)  # one vector a message: a long text is no centre
            words = memory.catalogue.words[memory.catalogue.positions(seqs[firsts])]
            resident.whitening = Whitening.fit(vectors[firsts], _WHITENING * (1 - dense_share(words)))
            resident.fitted_on, resident.lengths = rows, np.zeros(0, np.float32)
            resident.fitted_to = int(seqs[rows - 1]) if rows else 0
        resident.fitted_at = memory.watermark
        return resident.whitening

    def _first_vectors(self, key: ScopeKey) -> tuple[NDArray[np.int64], Vectors]:
        if self._exact.watermark(key):
            table = self._exact.table(key)
            return table.seqs[:LARGEST_SAMPLE], table.vectors[:LARGEST_SAMPLE]
        with self._database.read() as db:
            seqs, rows = embeddings.vectors_after(db, key, self._space_id, 0, LARGEST_SAMPLE)
        return seqs, embeddings.unpack(rows, self._dimension)

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
        last, changes = scopes.marks(db, key)
        if changes != resident.changes:
            self._follow_changes(db, key, resident)
            resident.changes = changes
        before = resident.memory
        if before is not None and before.watermark == last:
            return before
        found: list[TermIds] = []
        forks = branches.forks(db, key)
        rows = _with_terms_in(found, terms.read_after(db, key, before.watermark if before else 0))
        lexical = before.lexical if before else LexicalIndex.empty()
        with _wait_if(before is None):
            if before is None:
                resident.catalogue = resident.catalogue.changed(np.zeros(0, np.int64), rows, forks)
            else:
                resident.catalogue.append(list(rows), forks)
            if found:
                lexical = lexical.appended(found)
        resident.memory = ScopeMemory(key=key, watermark=last, catalogue=resident.catalogue.view(), lexical=lexical)
        return resident.memory

    def _follow_changes(self, db: Transaction, key: ScopeKey, resident: _Resident) -> None:
        """Take out what was edited, erased or hidden since, and put in what it is now, wherever it stands."""
        memory, catalogue = resident.memory, resident.catalogue
        if memory is None:
            return
        gone, came = _differences(memory.catalogue, terms.versions(db, key, memory.watermark))
        if len(gone) + len(came) > _MOST_CHANGED * len(memory.catalogue):
            self._start_again(key, resident)
            return
        changed = np.union1d(memory.catalogue.seq[gone], came)
        reached = min(memory.watermark, self._exact.watermark(key)) if self._embeds_at_once else 0
        rows, forks = terms.read_these(db, key, came.tolist()), branches.forks(db, key)
        vectors = embeddings.vectors_of(db, key, self._space_id, came[came <= reached].tolist())
        # From here on nothing is read, so that nothing stays half changed where the store does not answer.
        resident.catalogue = catalogue.changed(gone, rows, forks)
        view = resident.catalogue.view()
        at = np.flatnonzero(np.isin(view.seq, came))
        lexical = memory.lexical.changed(gone, at, [np.frombuffer(row.terms, "<u4") for row in rows])
        resident.memory = replace(memory, catalogue=view, lexical=lexical)
        self._follow_in_vectors(key, resident, changed, reached, *vectors)

    def _follow_in_vectors(
        self, key: ScopeKey, resident: _Resident, changed: Ints, reached: int, seqs: Ints, rows: list[bytes]
    ) -> None:
        """Put these rows in place of those of the messages that changed, as far as vectors have been read."""
        resident.fitted_at = -1
        if not self._embeds_at_once or (len(changed) and changed[0] <= resident.fitted_to):
            resident.forget_whitening()
        if not reached:
            self._exact.drop(key)
            return
        if len(changed):  # lengths stand in the order of the rows, up to the first that changed
            resident.lengths = resident.lengths[: np.searchsorted(self._exact.table(key).seqs, changed[0])]
        self._exact.change(key, changed, seqs, embeddings.unpack(rows, self._dimension), watermark=reached)

    def _start_again(self, key: ScopeKey, resident: _Resident) -> None:
        resident.catalogue, resident.memory = Catalogue(), None
        resident.forget_whitening()
        self._exact.drop(key)

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


def _wait_if(is_whole: bool) -> AbstractContextManager[None]:
    """Return a wait if a whole scope is read, which takes seconds in a large scope."""
    return waiting() if is_whole else nullcontext()


def _with_terms_in(found: list[TermIds], rows: Iterable[Any]) -> Iterator[Any]:
    """The rows one by one, the terms of each added to `found`.

    None is kept: a scope's rows, all there at once, would be looked at by the collector of garbage again and again.
    """
    for row in rows:
        found.append(np.frombuffer(row.terms, "<u4"))
        yield row


def _differences(known: CatalogueView, now: Ints) -> tuple[Ints, Ints]:
    """The positions of what is no longer as it is known, and the places of what is there now in its stead or besides.

    Args:
        known: the messages as they were.
        now: the places and versions of those that there are, shape (2, messages).
    """
    seqs, versions = now
    _, of_known, of_now = np.intersect1d(known.seq, seqs, assume_unique=True, return_indices=True)
    same = known.version[of_known] == versions[of_now]
    return np.delete(np.arange(len(known)), of_known[same]), np.delete(seqs, of_now[same])
