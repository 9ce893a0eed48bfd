"""From the queue to summaries: one conversation at a time, each in one transaction, so that it can be broken off."""

import hashlib
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memory_engine.consolidation import extracting, segments
from memory_engine.consolidation.extracting import Candidate
from memory_engine.consolidation.sentences import Sentence, sentences_of
from memory_engine.lexical.analysis import analyse
from memory_engine.models import Message, ScopeKey, to_micros
from memory_engine.ports import Clock, Embedder, Vectors
from memory_engine.storage import messages, scopes, summaries
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.summaries import NewSummary, Queued

#: Who made a summary, and by which version of the rule.
MADE_BY = "extractive/1"
#: A conversation is consolidated when it was quiet for so long, or got so many messages.
QUIET_SECONDS = 60.0
_MANY_MESSAGES = 20
#: The share of its words that a segment's summary keeps, and between how many words.
_KEPT_SHARE, _FEWEST, _MOST = 0.2, 30, 120
#: Words of a conversation's summary.
_CONVERSATION = 150


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quotable:
    """A sentence of a message."""

    message: Message
    sentence: Sentence

    @property
    def place(self) -> tuple[int, int, int]:
        return (self.message.seq, self.sentence.start, self.sentence.end)

    @property
    def text(self) -> str:
        return self.sentence.of(self.message.text)


class Consolidator:
    """Keeps the summaries of one store up with what was said."""

    def __init__(self, database: Database, embedder: Embedder, clock: Clock, *, key: bytes) -> None:
        """Take a local embedder, which compares sentences, and the store's key, from which ids are made."""
        self._database = database
        self._embedder = embedder
        self._clock = clock
        self._key = key
        self._alone = threading.Lock()  # two at once would do the same work

    def work(self) -> None:
        """Consolidate every conversation that is due.

        Raises:
            StoreError: the store does not answer; what is done stays done.
        """
        quiet_since = to_micros(self._clock.now()) - int(QUIET_SECONDS * 1_000_000)
        with self._alone:
            while self._one(quiet_since):
                pass

    def finish(self) -> int:
        """Consolidate every conversation that waits, due or not, and return how many there were.

        Raises:
            StoreError: the store does not answer; what is done stays done.
        """
        done = 0
        with self._alone:
            while self._one(np.iinfo(np.int64).max):
                done += 1
        return done

    def _one(self, quiet_since: int) -> bool:
        with self._database.read() as db:
            queued = summaries.due(db, quiet_since=int(quiet_since), messages=_MANY_MESSAGES)
            if queued is None:
                return False
            first = summaries.open_segment(db, queued)
            changes = scopes.marks(db, queued.key)[1]
            said = self._said(db, queued.key, summaries.seqs_to_sum_up(db, queued, first))
            quoted = summaries.segment_citations(db, queued, first)
            earlier = self._said(db, queued.key, sorted({seq for seq, _, _ in quoted}))
        kept = {message.seq: message for message in earlier}
        before = [_Quotable(message=kept[seq], sentence=Sentence(start=start, end=end)) for seq, start, end in quoted]
        made = self._summaries(queued, said, before)
        with self._database.write() as db:
            scopes.take_changes(db, queued.key, 0)  # locks the scope: nothing is edited or erased meanwhile
            if scopes.marks(db, queued.key)[1] == changes and summaries.take_from_queue(db, queued):
                summaries.replace_from(db, queued, first, made)
        return True

    def _said(self, db: Transaction, key: ScopeKey, seqs: Sequence[int]) -> list[Message]:
        found = messages.by_seqs(db, key, seqs)
        return [found[seq] for seq in seqs if seq in found and found[seq].text.strip()]

    def _summaries(self, queued: Queued, said: list[Message], before: list[_Quotable]) -> list[NewSummary]:
        if not said and not before:
            return []
        made, quotable = [], list(before)
        for start, end in self._segments(said):
            chosen = self._chosen(_sentences(said[start:end]), share=_KEPT_SHARE, most=_MOST)
            quotable += chosen
            made.append(self._summary(queued, "segment", said[start:end], chosen))
        whole = [quote.message for quote in before] + said
        chosen = self._chosen(quotable, share=1.0, most=_CONVERSATION)
        return [*made, self._summary(queued, "conversation", whole, chosen)]

    def _segments(self, said: list[Message]) -> list[tuple[int, int]]:
        if not said:
            return []
        times = [to_micros(message.created_at) for message in said]
        shifts = segments.boundaries(times, self._embedder.embed([message.text for message in said]))
        return list(itertools.pairwise([0, *shifts, len(said)]))

    def _chosen(self, quotable: list[_Quotable], *, share: float, most: int) -> list[_Quotable]:
        candidates = [_candidate(quote) for quote in quotable]
        words = min(most, max(_FEWEST, share * sum(candidate.words for candidate in candidates)))
        at = extracting.chosen(candidates, self._vectors(quotable), words)
        return [quotable[position] for position in at]

    def _vectors(self, quotable: list[_Quotable]) -> Vectors:
        return self._embedder.embed([quote.text for quote in quotable])

    def _summary(self, queued: Queued, level: str, said: list[Message], chosen: list[_Quotable]) -> NewSummary:
        start = said[0].seq if level == "segment" else 0
        place = f"{queued.key.namespace_id}/{queued.thread_id}/{level}/{start}"
        digest = hashlib.blake2b(place.encode(), key=self._key, digest_size=12).hexdigest()
        times = [to_micros(message.created_at) for message in said]
        return NewSummary(
            summary_id=f"sum_{digest}",
            level=level,
            first_seq=said[0].seq,
            last_seq=said[-1].seq,
            first_at=min(times),
            last_at=max(times),
            made_by=MADE_BY,
            made_at=to_micros(self._clock.now()),
            sentences=tuple((None, (quote.place,)) for quote in chosen),
        )


def _sentences(said: Sequence[Message]) -> list[_Quotable]:
    return [
        _Quotable(message=message, sentence=sentence) for message in said for sentence in sentences_of(message.text)
    ]


def _candidate(quote: _Quotable) -> Candidate:
    found = analyse(quote.text)
    return Candidate(terms=frozenset(found.terms), words=found.words, asks=found.asks, message=quote.message.seq)
