"""A question comes up once: filter, candidates, evidence, ranking, and the hits with their reasons."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_engine.errors import ConversationNotFound, IndexUnavailable
from memory_engine.lexical.analysis import analyse_query
from memory_engine.lexical.index import LexicalScores
from memory_engine.lexical.time_expressions import time_asked
from memory_engine.models import Fate, Message, RecallHit, RecallQuery, Recollection, ScopeKey, from_micros, to_micros
from memory_engine.ports import Clock, Embedder, VectorIndex
from memory_engine.recall import explaining, ranking
from memory_engine.recall.catalogue import CatalogueView, Ints
from memory_engine.recall.filters import Filters
from memory_engine.recall.question import Question, QuestionReader
from memory_engine.recall.ranking import Evidence, Mask, Ranking
from memory_engine.recall.resident import ResidentScopes, ScopeMemory
from memory_engine.storage import changes, embeddings, messages, threads
from memory_engine.storage.database import Database

#: A scope with so many messages asks the vector index for candidates; a smaller one is scored whole.
DEFAULT_THRESHOLD = 100_000
#: Candidates that each of the two indexes names, at the least.
_CANDIDATES = 400
#: More messages than these that the index has not caught up with, and the scope is scored whole.
_LONGEST_TAIL = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """Every message of a scope held against one query."""

    memory: ScopeMemory
    question: Question
    lexical: LexicalScores
    filters: Filters
    found: Ranking
    #: Positions of those that were held against the question's vector; None for all.
    looked_at: Ints | None
    floor: float
    #: The relevance under which the asker wants nothing.
    least: float
    #: Positions of what passed the floor, best first.
    passed: Ints


class Recaller:
    """Finds what a scope's messages say about a question."""

    def __init__(
        self,
        database: Database,
        residents: ResidentScopes,
        embedder: Embedder,
        clock: Clock,
        *,
        term_key: bytes,
        space_id: int,
    ) -> None:
        self._database = database
        self._residents = residents
        self._clock = clock
        self._dimension = embedder.space.dimension
        self._reader = QuestionReader(embedder, term_key)
        self._space_id = space_id
        self._index: VectorIndex | None = None
        self._threshold = DEFAULT_THRESHOLD
        #: What the last question could not be held against, or None.
        self.problem: str | None = None

    def use_index(self, index: VectorIndex, threshold: int) -> None:
        """Ask this index for candidates in scopes of at least `threshold` messages."""
        self._index = index
        self._threshold = threshold

    def recall(self, key: ScopeKey, query: RecallQuery) -> Recollection:
        """The hits, best first, and how many messages were left at each stage.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        judged = self._judge(key, query)
        best = judged.passed[: query.k]
        funnel = explaining.funnel(judged.filters, above_floor=len(judged.passed), returned=len(best))
        hits = self._hits(key, judged, best, query)
        return Recollection(hits=hits, funnel=funnel, notice=judged.question.notice)

    def nearest(self, key: ScopeKey, query: RecallQuery) -> tuple[RecallHit, ...]:
        """The `k` messages that the filters leave and that have most to do with the query, were it ever so little.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        judged = self._judge(key, query)
        left = np.flatnonzero(judged.filters.allowed)
        return self._hits(key, judged, judged.found.ordered(left)[: query.k], query)

    def fate(self, key: ScopeKey, query: RecallQuery, seq: int) -> Fate:
        """What became of one message when the query was asked.

        Args:
            key: the scope.
            query: what was asked.
            seq: the message's place in the scope.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        judged = self._judge(key, query)
        at = judged.memory.catalogue.positions(np.array([seq], np.int64))
        if not len(at):
            return explaining.not_indexed()
        why = self._why(judged, int(at[0]), _words_at(judged, at)[0], None)
        looked_at = judged.looked_at is None or bool(np.isin(at, judged.looked_at)[0])
        standing = explaining.Standing(
            at=int(at[0]), found=judged.found, filters=judged.filters, passed=judged.passed, floor=judged.floor,
            least=judged.least, wanted=query.k, looked_at=looked_at,
        )  # fmt: skip
        return explaining.fate(standing, why)

    def _judge(self, key: ScopeKey, query: RecallQuery) -> Judged:
        memory = self._residents.memory(key)
        self._check_conversations(key, query)
        catalogue = memory.catalogue
        filters = self._filters(key, catalogue, query)
        question = self._reader.read(query.text, catalogue.name_words)
        self.problem = question.notice
        lexical = memory.lexical.scores(question.sought)
        looked_at = self._candidates(memory, query, question, lexical)
        evidence = Evidence(
            lexical=lexical.share,
            similar=lexical.similar,
            cosine=self._cosines(memory, question, looked_at),
            allowed=filters.allowed,
            words=[
                (having, rarity)
                for term, having, rarity in zip(question.terms, lexical.matches, lexical.rarities, strict=True)
                if term.word not in catalogue.name_words
            ],
            spoken=_spoken(catalogue, question),
            asker=_said_by_asker(catalogue, question),
            timely=_said_when_asked(catalogue, query, self._clock.now()),
        )
        found = ranking.rank(catalogue, evidence)
        floor = ranking.floor(found)
        least = -np.inf if query.min_score is None else ranking.relevance_of(query.min_score)
        return Judged(
            memory=memory, question=question, lexical=lexical, filters=filters, found=found, looked_at=looked_at,
            floor=floor, least=least, passed=found.ordered(found.passing(floor, least)),
        )  # fmt: skip

    def conversations_with(self, key: ScopeKey, text: str) -> list[str]:
        """The ids of the conversations in which some message has every word of the text."""
        memory = self._residents.memory(key)
        terms = analyse_query(text)
        if not terms or not len(memory.catalogue):
            return []
        found = memory.lexical.scores(self._reader.exactly(terms))
        counts = np.zeros(len(memory.catalogue), np.int64)
        for positions in found.matches:
            counts[positions] += 1
        numbers = np.unique(memory.catalogue.conversation[counts == len(terms)])
        return [str(memory.catalogue.conversations[number]) for number in numbers]

    def _check_conversations(self, key: ScopeKey, query: RecallQuery) -> None:
        named = [name for name in (query.conversation_id, *query.exclude_conversation_ids) if name]
        if not named:
            return
        with self._database.read() as db:
            for name in named:
                if threads.find_thread(db, key, name) is None:
                    raise ConversationNotFound(f"There is no conversation {name!r}.", param="conversation_id")

    def _filters(self, key: ScopeKey, catalogue: CatalogueView, query: RecallQuery) -> Filters:
        seqs = None
        if query.metadata:
            with self._database.read() as db:
                seqs = messages.seqs_with_metadata(db, key, dict(query.metadata))
        return Filters.of(catalogue, query, seqs)

    def _cosines(self, memory: ScopeMemory, question: Question, looked_at: Ints | None) -> NDArray[np.float64]:
        if not question.vector.any():
            return np.zeros(len(memory.catalogue))
        if looked_at is None:
            table = self._residents.vectors(memory.key, memory)
            found = table.whitening.cosines(table.vectors, table.lengths, question.vector)
            return _best_by_message(memory.catalogue, table.seqs, found)
        with self._database.read() as db:
            seqs, rows = embeddings.vectors_of(db, memory.key, self._space_id, memory.catalogue.seq[looked_at].tolist())
        vectors = embeddings.unpack(rows, self._dimension)
        whitening = self._residents.whitening(memory.key, memory)
        found = whitening.cosines(vectors, whitening.lengths(vectors), question.vector)
        return _best_by_message(memory.catalogue, seqs, found)

    def _candidates(
        self, memory: ScopeMemory, query: RecallQuery, question: Question, lexical: LexicalScores
    ) -> Ints | None:
        """The messages whose vectors are worth looking at; None when all are looked at."""
        size = len(memory.catalogue)
        if self._index is None or size < self._threshold or query.is_filtered:
            return None
        wanted = max(_CANDIDATES, 20 * query.k)
        try:
            watermark = self._index.watermark(memory.key)
            tail = np.arange(np.searchsorted(memory.catalogue.seq, watermark, "right"), size)
            if len(tail) > _LONGEST_TAIL or watermark == 0:
                return None
            probe = self._residents.whitening(memory.key, memory).probe(question.vector)
            near = np.array(self._index.nearest(memory.key, probe, wanted), np.int64)
        except IndexUnavailable:
            return None  # SQL has everything; readiness reports the index itself
        share = lexical.share + lexical.similar
        worded = np.argpartition(-share, min(wanted, size - 1))[:wanted]
        seeds = np.concatenate([memory.catalogue.positions(np.unique(near)), worded[share[worded] > 0]])
        return np.union1d(with_neighbours(memory.catalogue, seeds), tail)

    def _hits(self, key: ScopeKey, judged: Judged, best: Ints, query: RecallQuery) -> tuple[RecallHit, ...]:
        seqs, explain = judged.memory.catalogue.seq[best].tolist(), query.explain
        with self._database.read() as db:
            kept = messages.by_seqs(db, key, seqs)
            if query.as_of is not None:
                kept = changes.as_they_were(db, key, kept, to_micros(query.as_of))
        scores = ranking.score(judged.found.relevance[best])
        return tuple(
            _hit(kept[seq], float(shown), self._why(judged, int(at), words, kept[seq].text if explain else None))
            for seq, at, shown, words in zip(seqs, best, scores, _words_at(judged, best), strict=True)
            if seq in kept
        )

    def _why(self, judged: Judged, at: int, words: list[str], text: str | None) -> dict[str, Any]:
        why = explaining.parts_of(judged.found, at) | {"words": words}
        if text is not None and judged.lexical.similar[at] > 0:
            why["similar_words"] = self._reader.similar_in(judged.question, text)
        return why


def with_neighbours(catalogue: CatalogueView, positions: Ints) -> Ints:
    """These positions and those at distance 1 and 2 in their sessions."""
    around = [positions]
    for step in (catalogue.preceding, catalogue.following):
        reached = positions
        for _ in range(2):
            reached = step(reached)
            reached = reached[reached >= 0]
            around.append(reached)
    return np.unique(np.concatenate(around))


def _words_at(judged: Judged, positions: Ints) -> list[list[str]]:
    """For each of these messages, the words of the question that it has."""
    words: list[list[str]] = [[] for _ in positions]
    for term, having in zip(judged.question.terms, judged.lexical.matches, strict=True):
        if len(having):
            at = np.minimum(np.searchsorted(having, positions), len(having) - 1)
            for number in np.flatnonzero(having[at] == positions).tolist():
                words[number].append(term.word)
    return words


def _best_by_message(
    catalogue: CatalogueView, row_seqs: NDArray[np.int64], cosines: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cosine of each message's best chunk, 0 for a message without any; rows stand in the order of seq."""
    best = np.zeros(len(catalogue))
    if not len(row_seqs):
        return best
    firsts = np.flatnonzero(np.diff(row_seqs, prepend=row_seqs[0] - 1))
    seqs, chunk_best = row_seqs[firsts], np.maximum.reduceat(cosines, firsts)
    at = np.minimum(np.searchsorted(catalogue.seq, seqs), len(catalogue) - 1)
    known = catalogue.seq[at] == seqs  # a row may be newer than the catalogue
    best[at[known]] = chunk_best[known]
    return best


def _spoken(catalogue: CatalogueView, question: Question) -> Mask:
    words = {term.word for term in question.terms}
    named = [
        number
        for name, number in catalogue.labels["name"].items()
        if name is not None and words.intersection(name.split())
    ]
    return np.isin(catalogue.name, named)


def _said_by_asker(catalogue: CatalogueView, question: Question) -> Mask:
    """What the user said, where a user asks about themself and an assistant speaks too."""
    if not question.about_asker or catalogue.number("role", "assistant") < 0:
        return np.zeros(len(catalogue), bool)
    said: Mask = catalogue.role == catalogue.number("role", "user")
    return said


def _said_when_asked(catalogue: CatalogueView, query: RecallQuery, now: datetime) -> NDArray[np.float64]:
    """How near to the time that the question names each message was said; zeros where it names none."""
    if not len(catalogue):
        return np.zeros(0)
    newest = from_micros(int(catalogue.created_at.max()))
    asked = time_asked(query.text, query.as_of or now, newest)
    if asked is None:
        return np.zeros(len(catalogue))
    return ranking.timely(catalogue.created_at, to_micros(asked.start), to_micros(asked.end))


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
