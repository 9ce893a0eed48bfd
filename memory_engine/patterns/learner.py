"""Learns from one conversation at a time, in the background, after it was consolidated; rules alone, no model.

Only what people say themselves counts: an assistant that repeats what was recalled makes nothing stronger.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from math import log, sqrt

import numpy as np

from memory_engine.attempts import Attempts
from memory_engine.consolidation.sentences import sentences_of
from memory_engine.consolidation.stage import StageWorker, as_read
from memory_engine.lexical.analysis import analyse, term_ids
from memory_engine.models import Message, to_micros
from memory_engine.patterns import tools
from memory_engine.patterns.statements import statements_in
from memory_engine.ports import Clock
from memory_engine.recall.resident import ResidentScopes
from memory_engine.storage import derivation_queue, messages, patterns, scopes, threads
from memory_engine.storage.database import Database
from memory_engine.storage.derivation_queue import Waiting
from memory_engine.storage.patterns import Sighting
from memory_engine.storage.threads import Thread

MADE_BY = "rules/2"
#: Newest messages of a conversation that are looked at.
_NEWEST = 400
#: Words of a question that is recognised when it is asked again.
_FEWEST_TERMS, _MOST_TERMS = 2, 12
#: Topics that one conversation stands for, and how often it has their word at least.
_TOPICS, _OFTEN = 3, 3
#: A message that was said longer before it was recorded was imported: it may tell facts, and gives no rules.
_LATEST_RECORD = timedelta(days=1)


class Learner(StageWorker):
    """Keeps the patterns of one store up with what was said."""

    stage = "patterns"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        attempts: Attempts,
        residents: Callable[[], ResidentScopes],
        *,
        term_key: bytes,
    ) -> None:
        """Take a function that tells who knows the scopes' words at the moment."""
        super().__init__(database, clock, attempts)
        self._residents = residents
        self._term_key = term_key

    def _one(self, to_learn: Waiting) -> None:
        with self._database.read() as db:
            thread = threads.by_id(db, to_learn.key, to_learn.thread_id)
            newest = [] if thread is None else messages.newest(db, thread, _NEWEST)
        said = as_read([message for message in newest if not message.quarantined])
        seen = [] if thread is None else self._seen(thread, said, to_learn)
        with self._database.write() as db:
            scopes.take_changes(db, to_learn.key, 0)  # locks the scope: nothing is edited or erased meanwhile
            if derivation_queue.take(db, to_learn):
                in_force = messages.versions_in_recall(db, to_learn.key, [message.seq for message in said])
                unchanged = {message.seq for message in said if in_force.get(message.seq) == message.version}
                patterns.write(db, to_learn.key, [each for each in seen if each.seq in unchanged], MADE_BY)

    def _seen(self, thread: Thread, said: Sequence[Message], to_learn: Waiting) -> list[Sighting]:
        times = {message.seq: to_micros(message.created_at) for message in said}
        stated = [m for m in said if m.role == "user" and m.recallable and m.seq >= to_learn.first_seq]
        seen = [each for message in stated for each in (*_statements(message), *_questions(message))]
        for shown in tools.shown_in(said):
            if shown.seq >= to_learn.first_seq:
                seen.append(
                    Sighting(
                        kind=shown.kind, slot=shown.slot, said="", detail=shown.detail, seq=shown.seq, start=0, end=0,
                        at=times[shown.seq],
                    )
                )  # fmt: skip
        return seen + self._topics(thread, said)

    def _topics(self, thread: Thread, said: Sequence[Message]) -> list[Sighting]:
        """The words that this conversation is most about, each where it is said first."""
        memory = self._residents().memory(thread.key)
        having: dict[str, list[Message]] = {}
        for message in said:
            if message.recallable and message.role == "user":
                for term in dict.fromkeys(analyse(message.text).terms):
                    having.setdefault(term, []).append(message)
        often = [term for term, mine in having.items() if len(mine) >= _OFTEN and not term.isdigit()]
        total = len(memory.catalogue) + 1
        worth = {
            term: log(total / (1 + len(memory.lexical.having(np.uint32(number))))) * sqrt(len(having[term]))
            for term, number in zip(often, term_ids(often, self._term_key).tolist(), strict=True)
        }
        best = sorted(worth, key=lambda term: (-worth[term], term))[:_TOPICS]
        return [
            Sighting(
                kind="topic", slot=term, said="", detail={"word": term}, seq=having[term][0].seq, start=0, end=0,
                at=to_micros(having[term][0].created_at),
            )
            for term in best
        ]  # fmt: skip


def _statements(message: Message) -> list[Sighting]:
    return [
        Sighting(
            kind="statement",
            slot=f"{message.name.lower()}|{each.slot}"[:256] if message.name else each.slot,
            said=" ".join(each.sentence.of(message.text).lower().strip(" .!…").split()),
            detail={},
            seq=message.seq,
            start=each.sentence.start,
            end=each.sentence.end,
            at=to_micros(message.created_at),
            state="proposed" if each.is_rule else "learned",
        )
        for each in statements_in(message.text)
        if not (each.is_rule and message.recorded_at - message.created_at > _LATEST_RECORD)
    ]


def _questions(message: Message) -> list[Sighting]:
    """The questions of a message, each known by its words without order: asked again, they are the same."""
    found = []
    for sentence in sentences_of(message.text):
        words = analyse(sentence.of(message.text))
        terms = sorted(set(words.terms))
        if words.asks and _FEWEST_TERMS <= len(terms) <= _MOST_TERMS:
            found.append(
                Sighting(
                    kind="question", slot=" ".join(terms)[:256], said="", detail={}, seq=message.seq,
                    start=sentence.start, end=sentence.end, at=to_micros(message.created_at),
                )
            )  # fmt: skip
    return found
