"""A question comes up once: filter, candidates, evidence, ranking, and the hits with their reasons."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_engine.errors import ConversationNotFound
from memory_engine.lexical.analysis import analyse_query
from memory_engine.lexical.index import LexicalScores
from memory_engine.lexical.time_expressions import time_asked
from memory_engine.models import Fate, Message, RecallHit, RecallQuery, Recollection, ScopeKey, from_micros, to_micros
from memory_engine.ports import Clock
from memory_engine.recall import explaining, ranking
from memory_engine.recall.candidates import Candidates
from memory_engine.recall.catalogue import CatalogueView, Ints
from memory_engine.recall.filters import Filters
from memory_engine.recall.question import Question, QuestionReader
from memory_engine.recall.ranking import Evidence, Mask, Ranking
from memory_engine.recall.resident import ResidentScopes, ScopeMemory
from memory_engine.storage import changes, embeddings, messages, pins, threads
from memory_engine.storage.database import Database

#: Chooses the messages of a scope that are ranked for a question; None for all.
Choose = Callable[[ScopeMemory, RecallQuery, Question, Filters], Ints | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The messages of a scope held against one query; positions are those in `memory`."""

    #: The scope, or the part of it that was ranked.
    memory: ScopeMemory
    question: Question
    lexical: LexicalScores
    #: Over the whole scope.
    filters: Filters
    found: Ranking
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
        candidates: Candidates,
        reader: QuestionReader,
        clock: Clock,
        *,
        space_id: int,
    ) -> None:
        self._database = database
        self._residents = residents
        self._clock = clock
        self._reader = reader
        self._space_id = space_id
        self._candidates = candidates
        #: What the last question could not be held against, or None.
        self.problem: str | None = None

    def recall(self, key: ScopeKey, query: RecallQuery) -> Recollection:
        """The hits, best first, and how many messages were left at each stage.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        judged = self._judge(key, query, self._candidates.by_both)
        best = judged.passed[: query.k]
        funnel = explaining.funnel(judged.filters, above_floor=len(judged.passed), returned=len(best))
        hits = self._hits(key, judged, best, query)
        notice = judged.question.notice or self._candidates.notice(judged.memory)
        return Recollection(hits=hits, funnel=funnel, notice=notice)

    def nearest(self, key: ScopeKey, query: RecallQuery) -> tuple[RecallHit, ...]:
        """The `k` messages that the filters leave and that have most to do with the query, were it ever so little.

        In a large scope only what has the query's rarest words is looked at.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        judged = self._judge(key, query, self._candidates.by_words)
        left = np.flatnonzero(np.isfinite(judged.found.relevance))
        return self._hits(key, judged, judged.found.ordered(left)[: query.k], query)

    def fate(self, key: ScopeKey, query: RecallQuery, message: Message) -> Fate:
        """What became of one message when the query was asked.

        Args:
            key: the scope.
            query: what was asked.
            message: one of the scope's.

        Raises:
            ConversationNotFound: a filter names a conversation that the scope does not have.
        """
        if message.quarantine is not None:
            return explaining.quarantined(message.quarantine)
        catalogue, seqs = self._residents.memory(key).catalogue, np.array([message.seq], np.int64)
        place = catalogue.positions(seqs)
        if not len(place):
            return explaining.not_indexed()
        was_candidate = True

        def with_it(memory: ScopeMemory, query: RecallQuery, question: Question, filters: Filters) -> Ints | None:
            nonlocal was_candidate
            chosen = self._candidates.by_both(memory, query, question, filters)
            was_candidate = chosen is None or bool(np.isin(place, chosen)[0])
            return chosen if was_candidate or chosen is None else np.union1d(chosen, place)

        judged = self._judge(key, query, with_it)
        at = judged.memory.catalogue.positions(seqs)
        why = explaining.parts_of(judged.found, at)[0] | {"words": _words_at(judged, at)[0]}
        standing = explaining.Standing(
            at=int(at[0]), found=judged.found, refusing=judged.filters.refusing(int(place[0])), passed=judged.passed,
            floor=judged.floor, least=judged.least, wanted=query.k, was_candidate=was_candidate,
        )  # fmt: skip
        return explaining.fate(standing, why)

    def _judge(self, key: ScopeKey, query: RecallQuery, choose: Choose) -> Judged:
        whole = self._residents.memory(key)
        self._check_conversations(key, query)
        filters = self._filters(key, whole.catalogue, query)
        question = self._reader.read(query.text, whole.catalogue.name_words, whole.lexical)
        self.problem = question.notice
        chosen = choose(whole, query, question, filters)
        memory, allowed = whole, filters.allowed
        if chosen is not None:
            memory, allowed = whole.part(chosen), allowed[chosen]
        catalogue, lexical = memory.catalogue, memory.lexical.scores(question.sought)
        evidence = Evidence(
            lexical=lexical.share,
            similar=lexical.similar,
            cosine=self._cosines(memory, question, whole),
            allowed=allowed,
            words=[
                (having, rarity)
                for term, having, rarity in zip(question.terms, lexical.matches, lexical.rarities, strict=True)
                if term.word not in catalogue.name_words
            ],
            spoken=_spoken(catalogue, question),
            asker=_said_by_asker(catalogue, question),
            pinned=np.isin(catalogue.seq, self._pinned(key)),
            timely=_said_when_asked(whole.catalogue, catalogue, query, self._clock.now()),
            dense=ranking.dense_share(whole.catalogue.words),
        )
        found = ranking.rank(catalogue, evidence)
        floor = ranking.floor(found, len(whole.catalogue))
        least = -np.inf if query.min_score is None else ranking.relevance_of(query.min_score)
        return Judged(
            memory=memory, question=question, lexical=lexical, filters=filters, found=found,
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
        if not query.named:
            return
        with self._database.read() as db:
            for name in query.named:
                if threads.find_thread(db, key, name) is None:
                    raise ConversationNotFound.of(name)

    def _pinned(self, key: ScopeKey) -> list[int]:
        with self._database.read() as db:
            return pins.pinned(db, key)

    def _filters(self, key: ScopeKey, catalogue: CatalogueView, query: RecallQuery) -> Filters:
        seqs = None
        if query.metadata:
            with self._database.read() as db:
                seqs = messages.seqs_with_metadata(db, key, dict(query.metadata))
        return Filters.of(catalogue, query, seqs)

    def _cosines(self, memory: ScopeMemory, question: Question, whole: ScopeMemory) -> NDArray[np.float64]:
        if not question.vector.any():
            return np.zeros(len(memory.catalogue))
        if memory is whole:
            table = self._residents.vectors(memory.key, memory)
            found = table.whitening.cosines(table.vectors, table.lengths, question.vector)
            return _best_by_message(memory.catalogue, table.seqs, found)
        with self._database.read() as db:
            seqs, rows = embeddings.vectors_of(db, memory.key, self._space_id, memory.catalogue.seq.tolist())
        vectors = embeddings.unpack(rows, self._reader.dimension)
        whitening = self._residents.whitening(memory.key, whole)
        found = whitening.cosines(vectors, whitening.lengths(vectors), question.vector)
        return _best_by_message(memory.catalogue, seqs, found)

    def _hits(self, key: ScopeKey, judged: Judged, best: Ints, query: RecallQuery) -> tuple[RecallHit, ...]:
        seqs = judged.memory.catalogue.seq[best].tolist()
        with self._database.read() as db:
            kept = messages.by_seqs(db, key, seqs)
            if query.as_of is not None:
                kept = changes.as_they_were(db, key, kept, to_micros(query.as_of))
        scores = ranking.score(judged.found.relevance[best])
        whys = [
            {**parts, "words": words}
            for parts, words in zip(explaining.parts_of(judged.found, best), _words_at(judged, best), strict=True)
        ]
        for seq, why in zip(seqs, whys, strict=True):
            if query.explain and why["similar"] > 0 and seq in kept:
                why["similar_words"] = self._reader.similar_in(judged.question, kept[seq].text)
        return tuple(
            _hit(kept[seq], shown, why)
            for seq, shown, why in zip(seqs, scores.tolist(), whys, strict=True)
            if seq in kept and not kept[seq].pruned  # marked since the scope was loaded, by a pruning still at work
        )


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


def _said_when_asked(
    whole: CatalogueView, catalogue: CatalogueView, query: RecallQuery, now: datetime
) -> NDArray[np.float64]:
    """How near to the time that the question names each message was said; zeros where it names none."""
    if not len(catalogue):
        return np.zeros(0)
    newest = from_micros(int(whole.created_at.max()))
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
        branch=message.branch,
        score=round(shown, 6),
        why=why,
    )
