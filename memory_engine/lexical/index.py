"""The resident lexical index of one scope: an inverted index in numpy, scored by BM25.

Statistics are those of the scope alone, so nothing said elsewhere moves a score, and the ranking is the same on
every database. The index is an immutable tuple of segments; appending makes a new one and merges segments of like
size, so that n messages added one by one cost n log n, and readers never wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log1p

import numpy as np
from numpy.typing import NDArray

from memory_engine.lexical.analysis import TermIds

#: BM25's saturation of repeated terms and its normalisation by length (Robertson and Zaragoza 2009).
K1 = 0.9
B = 0.35
#: A message counts as at most so many times the average length: BM25 would never find one word in a long document
#: among short messages, and people paste documents into chats.
LONGEST_RATIO = 4.0
#: Messages that a scope is taken to have besides its own when a word's rarity is judged: in a scope of one message
#: every word would be common, and one that it lacks would outweigh all that it has.
PRIOR_MESSAGES = 50
#: Rarity counts for more than BM25 has it: chats share many half-common words.
RARITY = 1.3

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

    @property
    def term_of_postings(self) -> TermIds:
        """The term of each posting; shape (postings,)."""
        return np.repeat(self.terms, np.diff(self.starts))

    def postings(self, term: np.uint32) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The messages that have the term, and how often each does."""
        at = int(np.searchsorted(self.terms, term))
        if at == len(self.terms) or self.terms[at] != term:
            return self.documents[:0], self.counts[:0]
        span = slice(self.starts[at], self.starts[at + 1])
        return self.documents[span], self.counts[span]

    def spans(self, terms: TermIds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the postings of each term begin and end; an empty span for a term that is not there."""
        at = np.minimum(np.searchsorted(self.terms, terms), max(len(self.terms) - 1, 0))
        if not len(self.terms):
            return np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64)
        starts = self.starts[at]
        return starts, np.where(self.terms[at] == terms, self.starts[at + 1], starts)


@dataclass(frozen=True, kw_only=True, slots=True)
class SoughtTerm:
    """A word of a query as the index looks for it."""

    #: The stems that it may stand under.
    stems: TermIds
    #: Stems of words that mean nearly the same, and what each is worth against the word itself, 0..1.
    similar: TermIds = field(default_factory=lambda: np.zeros(0, np.uint32))
    worth: Floats = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class LexicalScores:
    """What the words of a query say about every message of a scope."""

    #: BM25 as a share of the most that any message could reach, 0..1; shape (messages,).
    share: Floats
    #: What similar words add where they say more than the words themselves, in the same measure.
    similar: Floats
    #: For each word of the query, the positions of the messages that have it.
    matches: tuple[NDArray[np.int32], ...]
    #: For each word of the query, how rare it is.
    rarities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LexicalIndex:
    """BM25 over the messages of one scope, by their positions in it."""

    segments: tuple[Segment, ...] = ()
    #: Terms in each message; shape (messages,).
    lengths: NDArray[np.int32]
    #: The positions of the messages that are scored; None for all.
    scored: NDArray[np.int64] | None = None

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
            segments[-2:] = [_merged(segments[-2:], apart=True)]
        return LexicalIndex(segments=tuple(segments), lengths=np.concatenate([self.lengths, lengths]))

    def changed(self, gone: NDArray[np.int64], at: NDArray[np.int64], messages: Sequence[TermIds]) -> "LexicalIndex":
        """The index with some messages taken out, and others put in.

        Args:
            gone: the positions of those that are taken out.
            at: the positions that the others have when all is done, rising.
            messages: the others.
        """
        stays, comes = np.ones(len(self.lengths), bool), np.zeros(len(self.lengths) - len(gone) + len(at), bool)
        stays[gone], comes[at] = False, True
        place = np.full(len(self.lengths), -1, np.int32)
        place[stays] = np.flatnonzero(~comes)
        lengths = np.zeros(len(comes), np.int32)
        lengths[~comes], lengths[at] = self.lengths[stays], [len(terms) for terms in messages]
        segments = [_moved(segment, place) for segment in self.segments]
        if len(at):
            documents = np.repeat(at.astype(np.int32), lengths[at])
            segments = [_merged([*segments, _segment(np.concatenate(messages), documents)], apart=False)]
        return LexicalIndex(segments=tuple(segments), lengths=lengths)

    def having(self, term: np.uint32) -> NDArray[np.int32]:
        """The positions of the messages that have the term, rising."""
        return self._postings(np.array([term], np.uint32))[0]

    def part(self, positions: NDArray[np.int64]) -> "LexicalIndex":
        """The same index, scoring the messages at these rising positions alone, which it numbers anew."""
        return replace(self, scored=positions)

    def rarest(self, query: Sequence[SoughtTerm], allowed: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
        """The positions of at most so many allowed messages that have the query's words, rarest words first."""
        found = [documents[allowed[documents]] for documents, _ in (self._postings(term.stems) for term in query)]
        chosen = np.zeros(0, np.int64)
        for documents in sorted(found, key=len):
            chosen = np.union1d(chosen, documents[-(most - len(chosen)) :])
            if len(chosen) >= most:
                break
        return chosen

    def scores(self, query: Sequence[SoughtTerm]) -> LexicalScores:
        """Score every message, or every message of the part, for the words of a query."""
        place = self._place()
        lengths = self.lengths if self.scored is None else self.lengths[self.scored]
        scores, similar = np.zeros(len(lengths)), np.zeros(len(lengths))
        matches, rarities = [], []
        average = max(1.0, float(self.lengths.mean()) if len(self.lengths) else 1.0)
        norm = K1 * (1 - B + B * np.minimum(lengths / average, LONGEST_RATIO))
        for term in query:
            everywhere, counts = self._postings(term.stems)
            idf = self._rarity(len(everywhere))
            rarities.append(idf)
            documents, counts = _placed(place, everywhere, counts)
            matches.append(documents)
            own = idf * counts / (counts + norm[documents])
            scores[documents] += own
            if len(term.similar):
                lent = self._lent(term, idf, norm, place)
                lent[documents] = np.maximum(lent[documents] - own, 0.0)
                similar += lent
        most = sum(rarities) or 1.0
        return LexicalScores(
            share=scores / most, similar=similar / most, matches=tuple(matches), rarities=tuple(rarities)
        )

    def sizes(self, query: Sequence[SoughtTerm]) -> NDArray[np.int64]:
        """How many messages have each word of a query; one that has a word under two stems counts twice."""
        stems = np.concatenate([term.stems for term in query])
        ends = np.cumsum([len(term.stems) for term in query])
        total = np.zeros(len(stems) + 1, np.int64)
        for segment in self.segments:
            starts, stops = segment.spans(stems)
            total[1:] += np.cumsum(stops - starts)
        found: NDArray[np.int64] = np.diff(total[np.append(0, ends)])
        return found

    def _rarity(self, documents: int) -> float:
        others = len(self.lengths) + PRIOR_MESSAGES - documents
        return float(log1p((others + 0.5) / (documents + 0.5)) ** RARITY)

    def _place(self) -> NDArray[np.int32] | None:
        """Where each message stands in the part, -1 for those outside it; None where all are scored."""
        if self.scored is None:
            return None
        place = np.full(len(self.lengths), -1, np.int32)
        place[self.scored] = np.arange(len(self.scored), dtype=np.int32)
        return place

    def _lent(self, term: SoughtTerm, idf: float, norm: Floats, place: NDArray[np.int32] | None) -> Floats:
        """What similar words say of every message: the best of them counts, and none is rarer than the word."""
        found = [segment.spans(term.similar) for segment in self.segments]
        sizes = sum((stops - starts for starts, stops in found), np.zeros(len(term.similar), np.int64))
        worth = term.worth * [min(idf, self._rarity(size)) for size in sizes.tolist()]
        lent = np.zeros(len(norm))
        for segment, (starts, stops) in zip(self.segments, found, strict=True):
            lengths = stops - starts
            total = int(lengths.sum())
            if not total:
                continue
            # Every posting of every similar word, one word after another.
            at = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(total)
            values = np.repeat(worth, lengths)
            documents, counts = segment.documents[at], segment.counts[at]
            if place is not None:
                documents = place[documents]
                inside = documents >= 0
                documents, counts, values = documents[inside], counts[inside], values[inside]
            np.maximum.at(lent, documents, values * counts / (counts + norm[documents]))
        return lent

    def _postings(self, stems: TermIds) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        found = [segment.postings(stem) for stem in stems for segment in self.segments]
        documents = np.concatenate([documents for documents, _ in found]) if found else np.zeros(0, np.int32)
        counts = np.concatenate([counts for _, counts in found]) if found else np.zeros(0, np.int32)
        if len(stems) == 1 or not len(documents):
            return documents, counts
        # A message that has a word under two stems has it once, with both counts.
        unique, inverse = np.unique(documents, return_inverse=True)
        return unique, np.bincount(inverse, counts).astype(np.int32)


def _placed(
    place: NDArray[np.int32] | None, documents: NDArray[np.int32], counts: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Postings by the places of their messages in the part, those outside it left out."""
    if place is None:
        return documents, counts
    placed = place[documents]
    inside = placed >= 0
    return placed[inside], counts[inside]


def _segment(terms: TermIds, documents: NDArray[np.int32]) -> Segment:
    order = np.lexsort((documents, terms))
    terms, documents = terms[order], documents[order]
    is_new = np.ones(len(terms), bool)
    is_new[1:] = (terms[1:] != terms[:-1]) | (documents[1:] != documents[:-1])
    firsts = np.flatnonzero(is_new)
    counts = np.diff(np.append(firsts, len(terms))).astype(np.int32)
    return _from_postings(terms[firsts], documents[firsts], counts)


def _merged(segments: Sequence[Segment], *, apart: bool) -> Segment:
    """One of several; where they are `apart`, the messages of each stand after those of the one before."""
    terms = np.concatenate([segment.term_of_postings for segment in segments])
    documents = np.concatenate([segment.documents for segment in segments])
    counts = np.concatenate([segment.counts for segment in segments])
    order = np.argsort(terms, kind="stable") if apart else np.lexsort((documents, terms))
    return _from_postings(terms[order], documents[order], counts[order])


def _moved(segment: Segment, place: NDArray[np.int32]) -> Segment:
    """The segment with each message at its new place; those without one are left out."""
    documents = place[segment.documents]
    inside = documents >= 0
    return _from_postings(segment.term_of_postings[inside], documents[inside], segment.counts[inside])


def _from_postings(terms: TermIds, documents: NDArray[np.int32], counts: NDArray[np.int32]) -> Segment:
    distinct, starts = np.unique(terms, return_index=True)
    return Segment(
        terms=distinct,
        starts=np.append(starts, len(terms)).astype(np.int64),
        documents=documents,
        counts=counts,
    )
