"""Sums up a conversation together with those that are linked with it, after its links were found."""

from collections.abc import Sequence
from functools import partial

from memory_engine.attempts import Attempts, unless_damaged
from memory_engine.consolidation.quoting import Quotable, Quoter
from memory_engine.consolidation.sentences import Sentence
from memory_engine.consolidation.stage import StageWorker
from memory_engine.models import ScopeKey, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import derivation_queue, links, messages, scopes, summaries
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.derivation_queue import Waiting

#: A weaker link makes no group.
STRONG = 0.5
#: Conversations that a group has besides the one that it is around, those linked best.
MOST_OTHERS = 4
#: Words of a group's summary.
_WORDS = 200


class Grouper(StageWorker):
    """Keeps the summaries of groups up with links and with what was said."""

    stage = "group"

    def __init__(self, database: Database, quoter: Quoter, clock: Clock, attempts: Attempts) -> None:
        super().__init__(database, clock, attempts)
        self._quoter = quoter

    def _one(self, waiting: Waiting) -> None:
        with self._database.read() as db:
            changes = scopes.marks(db, waiting.key)[1]
            others = linked_with(db, waiting.key, waiting.thread_id, to_micros(self._clock.now()))
            places = summaries.quoted_by_whole(db, waiting.key, [waiting.thread_id]) if others else []
        quotable = self._quotable(waiting.key, places)
        for other in others:
            quotable += unless_damaged(partial(self._of_other, waiting.key, other), [])
        quotable.sort(key=lambda quote: quote.place)
        made = None
        if quotable:
            said = [quote.message for quote in quotable]
            chosen = self._quoter.chosen(quotable, most=_WORDS)
            made = self._quoter.summary((waiting.key, waiting.thread_id), "group", said, chosen)
        with self._database.write() as db:
            scopes.take_changes(db, waiting.key, 0)  # locks the scope: nothing is edited or erased meanwhile
            if scopes.marks(db, waiting.key)[1] == changes and derivation_queue.take(db, waiting):
                summaries.replace_group(db, waiting.key, waiting.thread_id, made)

    def _of_other(self, key: ScopeKey, thread_id: str) -> list[Quotable]:
        """What the summary of a linked conversation quotes."""
        with self._database.read() as db:
            places = summaries.quoted_by_whole(db, key, [thread_id])
        return self._quotable(key, places)

    def _quotable(self, key: ScopeKey, places: Sequence[tuple[int, int, int]]) -> list[Quotable]:
        with self._database.read() as db:
            kept = messages.by_seqs(db, key, sorted({seq for seq, _, _ in places}))
        return [
            Quotable(message=kept[seq], sentence=Sentence(start=start, end=end))
            for seq, start, end in places
            if seq in kept
        ]


def linked_with(db: Transaction, key: ScopeKey, thread_id: str, now: int) -> list[str]:
    """The threads that make a group with this one, those linked best first; `now` in microseconds."""
    found = links.of_threads(db, key, [thread_id], now, with_evidence=False)
    strong = (link for link in found if link.weight >= STRONG)
    others = (link.target_thread_id if link.source_thread_id == thread_id else link.source_thread_id for link in strong)
    return list(dict.fromkeys(others))[:MOST_OTHERS]
