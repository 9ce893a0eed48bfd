"""A question comes up once: filter, candidates, evidence, ranking, and the hits with their reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_engine.errors import ConversationNotFound, IndexUnavailable
from memory_engine.lexical.analysis import QueryTerm, analyse_query, term_ids
from memory_engine.lexical.index import LexicalScores
from memory_engine.models import Message, RecallHit, RecallQuery, Recollection, ScopeKey, to_micros
from memory_engine.ports import Embedder, VectorIndex, Vectors
from memory_engine.recall import ranking
from memory_engine.recall.catalogue import CatalogueView, Ints
from memory_engine.recall.ranking import Evidence, Mask, Ranking
from memory_engine.recall.resident import ResidentScopes, ScopeMemory
from memory_engine.storage import embeddings, messages, threads
from memory_engine.storage.database import Database

#: A scope with so many messages asks the vector index for candidates; a smaller one is scored whole.
DEFAULT_THRESHOLD = 10_000
#: Candidates that each of the two indexes names, at the least.
_CANDIDATES = 400
#: More messages than these that the index has not caught up with, and the scope is scored whole.
_LONGEST_TAIL = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """A query, read once."""

    query: RecallQuery
    terms: Sequence[QueryTerm]
    lexical: LexicalScores
    vector: Vectors


class Recaller:
    """Finds what a scope's messages say about a question."""

    def __init__(
        self,
        database: Database,
        residents: ResidentScopes,
        embedder: Embedder,
        *,
        term_key: bytes,
        space_id: int,
    ) -> None:
        self._database = database
        self._residents = residents
        self._embedder = embedder
        self._term_key = term_key
        self._space_id = space_id
        self._index: VectorIndex | None = None
        self._threshold = DEFAULT_THRESHOLD

    def use_index(self, index: VectorIndex, threshold: int) -> None:
        """Ask this index for candidates in scopes of at least `threshold` messages."""
        self._index = index
        self._threshold = threshold

    def recall(self, key: ScopeKey, query: RecallQuery) -> Recollection:
        """The hits, best first, and how many messages were left at each stage.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        memory = self._residents.memory(key)
        self._check_conversations(key, query)
        allowed = self._allowed(key, memory.catalogue, query)
        if not allowed.any():
            return Recollection(hits=(), funnel=_funnel(memory.catalogue, allowed, 0, 0))
        question = self._read(memory, query)
        evidence = Evidence(
            lexical=question.lexical.share,
            cosine=self._cosines(memory, question),
            allowed=allowed,
            spoken=_spoken(memory.catalogue, question.terms),
        )
        found = ranking.rank(memory.catalogue, evidence)
        floor = ranking.floor(memory.catalogue)
        if query.min_score is not None:
            floor = max(floor, ranking.relevance_of(query.min_score))
        best = found.best(query.k, floor)
        above = int((found.relevance >= floor).sum())
        hits = self._hits(memory, question, found, best)
        return Recollection(hits=hits, funnel=_funnel(memory.catalogue, allowed, above, len(hits)))

    def conversations_with(self, key: ScopeKey, text: str) -> list[str]:
        """The ids of the conversations in which some message has every word of the text."""
        memory = self._residents.memory(key)
        terms = analyse_query(text)
        if not terms or not len(memory.catalogue):
            return []
        found = memory.lexical.scores([term_ids(term.stems, self._term_key) for term in terms])
        counts = np.zeros(len(memory.catalogue), np.int64)
        for positions in found.matches:
            counts[positions] += 1
        numbers = np.unique(memory.catalogue.conversation[counts == len(terms)])
        return [str(memory.catalogue.conversations[number]) for number in numbers]

    def _read(self, memory: ScopeMemory, query: RecallQuery) -> _Question:
        terms = analyse_query(query.text)
        stems = [term_ids(term.stems, self._term_key) for term in terms]
        vector = self._embedder.embed([self._embedder.chunks(query.text)[0]])[0]
        return _Question(query=query, terms=terms, lexical=memory.lexical.scores(stems), vector=vector)

    def _check_conversations(self, key: ScopeKey, query: RecallQuery) -> None:
        with self._database.read() as db:
            for name in filter(None, (query.conversation_id, *query.exclude_conversation_ids)):
                if threads.find_thread(db, key, name) is None:
                    raise ConversationNotFound(f"There is no conversation {name!r}.", param="conversation_id")

    def _allowed(self, key: ScopeKey, catalogue: CatalogueView, query: RecallQuery) -> Mask:
        allowed = _said_within(catalogue, query)
        if query.conversation_id is not None:
            allowed &= catalogue.conversation == catalogue.number("conversation", query.conversation_id)
        for name in query.exclude_conversation_ids:
            allowed &= catalogue.conversation != catalogue.number("conversation", name)
        if query.roles:
            allowed &= np.isin(catalogue.role, [catalogue.number("role", role) for role in query.roles])
        if query.agent is not None:
            allowed &= catalogue.agent == catalogue.number("agent", query.agent)
        if query.metadata:
            with self._database.read() as db:
                seqs = messages.seqs_with_metadata(db, key, dict(query.metadata))
            allowed &= np.isin(catalogue.seq, seqs)
        return allowed

    def _cosines(self, memory: ScopeMemory, question: _Question) -> NDArray[np.float64]:
        seqs = self._candidate_seqs(memory, question)
        if seqs is None:
            table = self._residents.vectors(memory.key, memory)
            row_seqs, vectors = table.seqs, table.vectors
        else:
            with self._database.read() as db:
                row_seqs, rows = embeddings.vectors_of(db, memory.key, self._space_id, seqs)
            vectors = embeddings.unpack(rows, self._embedder.space.dimension)
        centre = self._residents.centre(memory.key)
        found = ranking.centred_cosines(vectors, question.vector, centre)
        return _best_by_message(memory.catalogue, row_seqs, found)

    def _candidate_seqs(self, memory: ScopeMemory, question: _Question) -> list[int] | None:
        """The messages whose vectors are worth looking at; None when all are looked at."""
        size = len(memory.catalogue)
        if self._index is None or size < self._threshold or question.query.is_filtered:
            return None
        wanted = max(_CANDIDATES, 20 * question.query.k)
        try:
            watermark = self._index.watermark(memory.key)
            tail = memory.catalogue.seq[np.searchsorted(memory.catalogue.seq, watermark, "right") :]
            if len(tail) > _LONGEST_TAIL or watermark == 0:
                return None
            near = np.array(self._index.nearest(memory.key, question.vector, wanted), np.int64)
        except IndexUnavailable:
            return None  # SQL has everything; readiness reports the index itself
        share = question.lexical.share
        worded = np.argpartition(-share, min(wanted, size - 1))[:wanted]
        seeds = np.concatenate([memory.catalogue.positions(np.unique(near)), worded[share[worded] > 0]])
        around = with_neighbours(memory.catalogue, seeds)
        wanted_seqs: list[int] = np.union1d(memory.catalogue.seq[around], tail).tolist()
        return wanted_seqs

    def _hits(
        self, memory: ScopeMemory, question: _Question, found: Ranking, best: NDArray[np.int64]
    ) -> tuple[RecallHit, ...]:
        seqs = memory.catalogue.seq[best].tolist()
        with self._database.read() as db:
            kept = messages.by_seqs(db, memory.key, seqs)
        scores = ranking.score(found.relevance[best])
        return tuple(
            _hit(kept[seq], float(shown), _why(question, found, int(at)))
            for seq, at, shown in zip(seqs, best, scores, strict=True)
            if seq in kept
        )


def _said_within(catalogue: CatalogueView, query: RecallQuery) -> Mask:
    within = np.ones(len(catalogue), bool)
    if query.after is not None:
        within &= catalogue.created_at >= to_micros(query.after)
    if query.before is not None:
        within &= catalogue.created_at < to_micros(query.before)
    if query.as_of is not None:
        within &= catalogue.created_at <= to_micros(query.as_of)
    return within


def with_neighbours(catalogue: CatalogueView, positions: Ints) -> Ints:
    """These positions and those at distance 1 and 2 in their sessions."""
    following = np.full(len(catalogue), -1, np.int64)
    has_previous = np.flatnonzero(catalogue.previous >= 0)
    following[catalogue.previous[has_previous]] = has_previous
    around = [positions]
    for step in (catalogue.previous, following):
        reached = positions
        for _ in range(2):
            reached = step[reached]
            reached = reached[reached >= 0]
            around.append(reached)
    return np.unique(np.concatenate(around))


def _best_by_message(
    catalogue: CatalogueView, row_seqs: NDArray[np.int64], cosines: NDArray[np.float64]
) -> NDArray[np.float64]:
    known = np.isin(row_seqs, catalogue.seq)  # a row may be newer than the catalogue
    at = np.searchsorted(catalogue.seq, row_seqs[known])
    best = np.full(len(catalogue), -1.0)
    np.maximum.at(best, at, cosines[known])
    return np.where(best == -1.0, 0.0, best)


def _spoken(catalogue: CatalogueView, terms: Sequence[QueryTerm]) -> Mask:
    words = {term.word for term in terms}
    named = [
        number
        for name, number in catalogue.labels["name"].items()
        if name is not None and words.intersection(name.split())
    ]
    return np.isin(catalogue.name, named)


def _why(question: _Question, found: Ranking, at: int) -> dict[str, Any]:
    matched = zip(question.terms, question.lexical.matches, strict=True)
    parts = {name: round(float(values[at]), 4) for name, values in found.parts.items()}
    words = [term.word for term, positions in matched if at in positions]
    return {**parts, "relevance": round(float(found.relevance[at]), 4), "words": words}


def _hit(message: Message, shown: float, why: dict[str, Any]) -> RecallHit:
    return RecallHit(
        message_id=message.message_id,
        conversation_id=message.conversation_id,
        thread_id=message.thread_id,
        seq=message.seq,
        role=message.role,
        name=message.name,
        text=message.text,
        created_at=message.created_at,
        score=round(shown, 6),
        why=why,
    )


def _funnel(catalogue: CatalogueView, allowed: Mask, above: int, returned: int) -> dict[str, int]:
    passed = int(allowed.sum())
    return {"messages": len(catalogue), "passed_filters": passed, "above_floor": above, "returned": returned}
