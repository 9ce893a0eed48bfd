"""Which of a large scope's messages are worth ranking: a small scope is ranked whole."""

import numpy as np

from memory_engine.errors import IndexUnavailable
from memory_engine.models import RecallQuery
from memory_engine.ports import VectorIndex
from memory_engine.recall.catalogue import Ints
from memory_engine.recall.filters import BRANCHES, Filters
from memory_engine.recall.question import Question
from memory_engine.recall.resident import ResidentScopes, ScopeMemory
from memory_engine.waits import waiting

#: A scope with so many messages asks the vector index for candidates.
DEFAULT_THRESHOLD = 100_000
#: Candidates that each of the two indexes names, at the least.
_CANDIDATES = 400
#: More messages than these that the index has not caught up with, and the scope is ranked whole.
_LONGEST_TAIL = 5_000
#: What a message's neighbours at this distance say counts for it, so they are ranked with it.
_REACH = 3
#: Where words alone name the candidates: the scope that is still ranked whole, and how many they name.
_WHOLE, _WORDED = 10_000, 150


class Candidates:
    """Chooses them for one store's vectors."""

    def __init__(self, residents: ResidentScopes, index: VectorIndex, threshold: int) -> None:
        """Take the index that is asked in scopes of at least `threshold` messages."""
        self._residents = residents
        self._index = index
        self._threshold = threshold

    def by_both(self, memory: ScopeMemory, query: RecallQuery, question: Question, filters: Filters) -> Ints | None:
        """What the question's words and its vector name, with what stands around it; None for the whole scope."""
        size = len(memory.catalogue)
        if size < self._threshold or filters.masks.keys() - {BRANCHES}:
            return None
        wanted = max(_CANDIDATES, 20 * query.k)
        try:
            with waiting():
                watermark = self._index.searchable(memory.key)
            tail = np.arange(np.searchsorted(memory.catalogue.seq, watermark, "right"), size)
            if len(tail) > _LONGEST_TAIL or watermark == 0:
                return None
            probe = self._residents.whitening(memory.key, memory).probe(question.vector)
            with waiting():
                near = np.array(self._index.nearest(memory.key, probe, wanted), np.int64)
        except IndexUnavailable:
            return None  # SQL has everything; readiness reports the index itself
        lexical = memory.lexical.scores(question.sought)
        share = lexical.share + lexical.similar
        worded = np.argpartition(-share, min(wanted, size - 1))[:wanted]
        seeds = np.concatenate([memory.catalogue.positions(np.unique(near)), worded[share[worded] > 0]])
        return np.union1d(memory.catalogue.with_neighbours(seeds, _REACH), tail)

    def notice(self, memory: ScopeMemory) -> str | None:
        """Return what a client should know of the index that was not asked, or None. The answer lacks nothing."""
        if len(memory.catalogue) < self._threshold or (outage := self._index.outage) is None:
            return None
        return f"Found by comparing every message: the vector index {outage}."

    def by_words(self, memory: ScopeMemory, _: RecallQuery, question: Question, filters: Filters) -> Ints | None:
        """What the rarest words of the question name, at a cost that does not grow with the scope."""
        if len(memory.catalogue) <= _WHOLE:
            return None
        named = memory.lexical.rarest(question.sought, filters.allowed, _WORDED)
        return memory.catalogue.with_neighbours(named, _REACH)
