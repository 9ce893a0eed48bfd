"""Sentences of messages, and the choice of those that say most: what summaries by quotation are made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from memory_engine.consolidation import extracting
from memory_engine.consolidation.extracting import Candidate
from memory_engine.consolidation.sentences import Sentence, sentences_of
from memory_engine.lexical.analysis import analyse
from memory_engine.models import Message, ScopeKey, to_micros
from memory_engine.ports import Clock, Embedder
from memory_engine.storage.summaries import NewSummary

#: Who made a summary, and by which version of the rule.
MADE_BY = "extractive/1"
#: Words of the shortest summary, if there are so many.
_FEWEST = 30
#: Sentences that one summary is chosen from.
_MOST_SENTENCES = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Quotable:
    """A sentence of a message."""

    message: Message
    sentence: Sentence

    @property
    def place(self) -> tuple[int, int, int]:
        """Its message's place in the scope, and its span there."""
        return (self.message.seq, self.sentence.start, self.sentence.end)

    @property
    def text(self) -> str:
        """The words themselves."""
        return self.sentence.of(self.message.text)


class Quoter:
    """Chooses what to quote, and makes summaries of it."""

    def __init__(self, embedder: Embedder, clock: Clock, *, key: bytes) -> None:
        """Take a local embedder, which compares sentences, and the store's key, from which ids are made."""
        self._embedder = embedder
        self._clock = clock
        self._key = key

    def chosen(self, quotable: Sequence[Quotable], *, share: float = 1.0, most: int) -> list[Quotable]:
        """The sentences that say most, in their order: so large a share of all words, and so many words at most."""
        candidates = [_candidate(quote) for quote in quotable]
        words = min(most, max(_FEWEST, share * sum(candidate.words for candidate in candidates)))
        vectors = self._embedder.embed([quote.text for quote in quotable])
        return [quotable[at] for at in extracting.chosen(candidates, vectors, words)]

    def summary(
        self, thread: tuple[ScopeKey, str], level: str, said: Sequence[Message], quotes: Sequence[Quotable]
    ) -> NewSummary:
        """The summary by these quotations of what was said, at this level of this thread."""
        key, thread_id = thread
        start = said[0].seq if level == "segment" else 0
        place = f"{key.namespace_id}/{thread_id}/{level}/{start}"
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
            sentences=tuple((None, (quote.place,)) for quote in quotes),
        )


def quotable_in(said: Sequence[Message]) -> list[Quotable]:
    """Return the sentences of these messages in order: all, or 4,000 evenly spaced ones where there are more."""
    found = [(message, sentence) for message in said for sentence in sentences_of(message.text)]
    step = -(-len(found) // _MOST_SENTENCES) or 1
    return [Quotable(message=message, sentence=sentence) for message, sentence in found[::step]]


def _candidate(quote: Quotable) -> Candidate:
    found = analyse(quote.text)
    return Candidate(terms=frozenset(found.terms), words=found.words, asks=found.asks, message=quote.message.seq)
