"""From the queue to summaries: one conversation at a time, each in one transaction, so that it can be broken off."""

import itertools
import threading
from collections.abc import Sequence
from functools import partial

from memory_engine.attempts import Attempts
from memory_engine.consolidation import segments
from memory_engine.consolidation.quoting import Quotable, Quoter, quotable_in
from memory_engine.consolidation.sentences import Sentence
from memory_engine.consolidation.stage import Until, never
from memory_engine.models import Message, ScopeKey, to_micros
from memory_engine.ports import Clock, Embedder
from memory_engine.storage import messages, scopes, summaries
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.derivation_queue import Stage
from memory_engine.storage.summaries import NewSummary, Queued

#: A conversation is consolidated when it was quiet for so long, or got so many messages.
QUIET_SECONDS = 60.0
_MANY_MESSAGES = 20
#: Microseconds that no clock shows.
_FOR_EVER = 2**62
#: The share of its words that a segment's summary keeps, and how many words at most.
_KEPT_SHARE, _SEGMENT = 0.2, 120
#: Words of a conversation's summary.
_CONVERSATION = 150


class Consolidator:
    """Keeps the summaries of one store up with what was said."""

    def __init__(
        self,
        database: Database,
        quoter: Quoter,
        clock: Clock,
        *,
        embedder: Embedder,
        attempts: Attempts,
        stages: Sequence[Stage],
    ) -> None:
        """Take a local embedder, which tells topics apart, and the stages that a conversation goes on to."""
        self._database = database
        self._embedder = embedder
        self._quoter = quoter
        self._clock = clock
        self._attempts = attempts
        self._stages = stages
        self._alone = threading.Lock()  # two at once would do the same work

    def work(self, until: Until = never) -> int:
        """Consolidate every conversation that is due, and return how many there were.

        Raises:
            StoreError: the store does not answer; what is done stays done.
        """
        return self._all(to_micros(self._clock.now()) - int(QUIET_SECONDS * 1_000_000), until)

    def finish(self, until: Until = never) -> int:
        """Consolidate every conversation that waits, due or not, and return how many there were.

        Raises:
            StoreError: the store does not answer; what is done stays done.
        """
        return self._all(_FOR_EVER, until)

    def _all(self, quiet_since: int, until: Until) -> int:
        """Each conversation once: one that is spoken in without a pause would be due again at once, and for ever."""
        done = 0
        with self._alone:
            now = to_micros(self._clock.now())
            with self._database.read() as db:
                waiting = summaries.due(db, quiet_since=quiet_since, messages=_MANY_MESSAGES, now=now)
            for item in waiting:
                if until():
                    break
                done += self._attempts.made(item, partial(self._one, item.key, item.name))
        return done

    def _one(self, key: ScopeKey, thread_id: str) -> None:
        with self._database.read() as db:
            queued = summaries.queued(db, key, thread_id)
            if queued is None:
                return
            first = summaries.open_segment(db, queued)
            changes = scopes.marks(db, queued.key)[1]
            said = self._said(db, queued.key, summaries.seqs_to_sum_up(db, queued.key, queued.thread_id, first))
            quoted = summaries.quoted_by_segments(db, queued, first)
            earlier = self._said(db, queued.key, sorted({seq for seq, _, _ in quoted}))
        kept = {message.seq: message for message in earlier}
        before = [Quotable(message=kept[seq], sentence=Sentence(start=start, end=end)) for seq, start, end in quoted]
        made = self._summaries(queued, said, before)
        with self._database.write() as db:
            scopes.take_changes(db, queued.key, 0)  # locks the scope: nothing is edited or erased meanwhile
            if scopes.marks(db, queued.key)[1] == changes and summaries.take_from_queue(db, queued):
                summaries.replace_from(db, queued, first, made, self._stages)

    def _said(self, db: Transaction, key: ScopeKey, seqs: Sequence[int]) -> list[Message]:
        found = messages.by_seqs(db, key, seqs)
        return [found[seq] for seq in seqs if seq in found and found[seq].text.strip()]

    def _summaries(self, queued: Queued, said: list[Message], before: list[Quotable]) -> list[NewSummary]:
        if not said and not before:
            return []
        thread = (queued.key, queued.thread_id)
        made, quotable = [], list(before)
        for start, end in self._segments(said):
            chosen = self._quoter.chosen(quotable_in(said[start:end]), share=_KEPT_SHARE, most=_SEGMENT)
            quotable += chosen
            made.append(self._quoter.summary(thread, "segment", said[start:end], chosen))
        whole = [quote.message for quote in before] + said
        chosen = self._quoter.chosen(quotable, most=_CONVERSATION)
        return [*made, self._quoter.summary(thread, "conversation", whole, chosen)]

    def _segments(self, said: list[Message]) -> list[tuple[int, int]]:
        if not said:
            return []
        times = [to_micros(message.created_at) for message in said]
        shifts = segments.boundaries(times, self._embedder.embed([message.text for message in said]))
        return list(itertools.pairwise([0, *shifts, len(said)]))
