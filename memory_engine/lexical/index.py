"""The resident lexical index of one scope: an inverted index in numpy, scored by BM25.

Statistics are those of the scope alone, so nothing said elsewhere moves a score, and the ranking is the same on
every database. The index is an immutable tuple of segments; appending makes a new one and merges segments of like
size, so that n messages added one by one cost n log n, and readers never wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_engine.lexical.analysis import TermIds

#: BM25's saturation of repeated terms and its normalisation by length (Robertson and Zaragoza 2009).
K1 = 0.9
B = 0.4
#: A message counts as at most so many times the average length: BM25 would never find one word in a long document
#: among short messages, and people paste documents into chats.
LONGEST_RATIO = 4.0
#: Messages that a scope is taken to have besides its own when a word's rarity is judged: in a scope of one message
#: every word would be common, and one that it lacks would outweigh all that it has.
PRIOR_MESSAGES = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Postings of some messages, sorted by term, then by message."""

    #: Distinct term ids, rising; shape (terms,).
    terms: TermIds
    #: Where each term's postings begin; shape (terms + 1,).
    starts: NDArray[np.int64]
    #: Positions of messages in the scope; shape (postings,).
    documents: NDArray[np.int32]
    #: How often the term stands in the message; shape (postings,).
    counts: NDArray[np.int32]

    @property
    def size(self) -> int:
        """Postings."""
        return len(self.documents)

    def postings(self, term: np.uint32) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The messages that have the term, and how often each does."""
        at = int(np.searchsorted(self.terms, term))
        if at == len(self.terms) or self.terms[at] != term:
            return self.documents[:0], self.counts[:0]
        span = slice(self.starts[at], self.starts[at + 1])
        return self.documents[span], self.counts[span]


@dataclass(frozen=True, kw_only=True, slots=True)
class LexicalScores:
    """What the words of a query say about every message of a scope."""

    #: BM25 as a share of the most that any message could reach, 0..1; shape (messages,).
    share: Floats
    #: For each word of the query, the positions of the messages that have it.
    matches: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LexicalIndex:
    """BM25 over the messages of one scope, by their positions in it."""

    segments: tuple[Segment, ...] = ()
    #: Terms in each message; shape (messages,).
    lengths: NDArray[np.int32]

    @classmethod
    def empty(cls) -> "LexicalIndex":
        """An index of no messages."""
        return cls(lengths=np.zeros(0, np.int32))

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        arrays = [a for s in self.segments for a in (s.terms, s.starts, s.documents, s.counts)]
        return self.lengths.nbytes + sum(array.nbytes for array in arrays)

    def appended(self, messages: Sequence[TermIds]) -> "LexicalIndex":
        """The index with these messages at the next positions."""
        first = len(self.lengths)
        lengths = np.array([len(terms) for terms in messages], np.int32)
        documents = np.repeat(np.arange(first, first + len(messages), dtype=np.int32), lengths)
        terms = np.concatenate(messages) if messages else np.zeros(0, np.uint32)
        segments = [*self.segments, _segment(terms, documents)]
        while len(segments) > 1 and segments[-2].size <= 2 * segments[-1].size:
            segments[-2:] = [_merged(segments[-2], segments[-1])]
        return LexicalIndex(segments=tuple(segments), lengths=np.concatenate([self.lengths, lengths]))

    def scores(self, query: Sequence[TermIds]) -> LexicalScores:
        """Score every message.

        Args:
            query: for each word of the query, the ids of the stems that it may stand under.
        """
        total = len(self.lengths)
        scores = np.zeros(total)
        matches, best = [], 0.0
        average = max(1.0, float(self.lengths.mean()) if total else 1.0)
        norm = K1 * (1 - B + B * np.minimum(self.lengths / average, LONGEST_RATIO))
        for stems in query:
            documents, counts = self._postings(stems)
            matches.append(documents)
            others = total + PRIOR_MESSAGES - len(documents)
            idf = float(np.log1p((others + 0.5) / (len(documents) + 0.5)))
            best += idf * (K1 + 1)
            scores[documents] += idf * counts * (K1 + 1) / (counts + norm[documents])
        return LexicalScores(share=scores / best if best else scores, matches=tuple(matches))

    def _postings(self, stems: TermIds) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        found = [segment.postings(stem) for stem in stems for segment in self.segments]
        documents = np.concatenate([documents for documents, _ in found]) if found else np.zeros(0, np.int32)
        counts = np.concatenate([counts for _, counts in found]) if found else np.zeros(0, np.int32)
        if len(stems) == 1 or not len(documents):
            return documents, counts
        # A message that has a word under two stems has it once, with both counts.
        unique, inverse = np.unique(documents, return_inverse=True)
        return unique, np.bincount(inverse, counts).astype(np.int32)


def _segment(terms: TermIds, documents: NDArray[np.int32]) -> Segment:
    order = np.lexsort((documents, terms))
    terms, documents = terms[order], documents[order]
    is_new = np.ones(len(terms), bool)
    is_new[1:] = (terms[1:] != terms[:-1]) | (documents[1:] != documents[:-1])
    firsts = np.flatnonzero(is_new)
    counts = np.diff(np.append(firsts, len(terms))).astype(np.int32)
    return _from_postings(terms[firsts], documents[firsts], counts)


def _merged(older: Segment, newer: Segment) -> Segment:
    terms = np.concatenate([np.repeat(s.terms, np.diff(s.starts)) for s in (older, newer)])
    documents = np.concatenate([older.documents, newer.documents])
    counts = np.concatenate([older.counts, newer.counts])
    order = np.argsort(terms, kind="stable")  # the newer one's messages stand after the older one's
    return _from_postings(terms[order], documents[order], counts[order])


def _from_postings(terms: TermIds, documents: NDArray[np.int32], counts: NDArray[np.int32]) -> Segment:
    distinct, starts = np.unique(terms, return_index=True)
    return Segment(
        terms=distinct,
        starts=np.append(starts, len(terms)).astype(np.int64),
        documents=documents,
        counts=counts,
    )
