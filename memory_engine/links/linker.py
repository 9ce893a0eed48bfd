"""Finds the links of one conversation at a time, in the background, after it was consolidated.

What it looks at is bounded: the conversation's newest messages, words that few conversations have, and the few most
likely others; so a link costs the same whatever the number of conversations.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from memory_engine.attempts import Attempts, unless_damaged
from memory_engine.consolidation.stage import StageWorker, as_read
from memory_engine.lexical.analysis import analyse, stems_of, term_ids, words_of
from memory_engine.links import shared_words
from memory_engine.links.grouper import linked_with
from memory_engine.links.references import Reference, ids_in, references_in
from memory_engine.links.shared_words import Shared, Word
from memory_engine.models import Message, RecallQuery, Summary, to_micros
from memory_engine.ports import Clock, Embedder
from memory_engine.recall.catalogue import CatalogueView
from memory_engine.recall.recaller import Recaller
from memory_engine.recall.resident import ResidentScopes, ScopeMemory
from memory_engine.storage import derivation_queue, links, messages, scopes, summaries, threads
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.derivation_queue import Waiting
from memory_engine.storage.links import NewLink
from memory_engine.storage.threads import Thread

MADE_BY = "rules/1"
#: Newest messages of a conversation that are looked at.
_NEWEST = 400
#: Other conversations that are compared, and the weight under which nothing is linked.
_COMPARED, _LEAST = 10, 0.35
#: A word that more messages have joins nothing.
_MOST_MESSAGES = 400
#: The same task goes on with another agent within so long.
_CONTINUED = timedelta(days=14)
#: Hits that a reference is resolved among, and those of the best conversation that are shown as evidence.
_RESOLVED, _SHOWN = 8, 4
#: The score that the best of them needs: little where the sentence names its time, and less with words of agreement;
#: without a time, less where most of them are of one conversation.
_SCORE_UNDATED, _SCORE_CLEAR, _SCORE_DATED, _SCORE_CUED = 0.25, 0.2, 0.12, 0.08
#: What a reference weighs at the least, with words of agreement and without.
_CUED_AND_DATED, _DATED = 0.5, 0.25
#: Characters up to which a whole message is held against what it may refer to.
_WHOLE = 500


class Linker(StageWorker):
    """Keeps the links of one store up with its conversations."""

    stage = "links"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        attempts: Attempts,
        recall: Callable[[], tuple[Recaller, ResidentScopes]],
        *,
        embedder: Embedder,
        term_key: bytes,
    ) -> None:
        """Take a local embedder for summaries, and a function that tells who recalls at the moment."""
        super().__init__(database, clock, attempts)
        self._embedder = embedder
        self._recall = recall
        self._term_key = term_key

    def _one(self, to_link: Waiting) -> None:
        with self._database.read() as db:
            thread = threads.by_id(db, to_link.key, to_link.thread_id)
            newest = [] if thread is None else messages.newest(db, thread, _NEWEST)
        said = as_read([message for message in newest if not message.quarantined])
        made = [] if thread is None else [*self._by_words(thread, said), *self._by_reference(thread, said, to_link)]
        with self._database.write() as db:
            scopes.take_changes(db, to_link.key, 0)  # locks the scope: nothing is erased meanwhile
            if derivation_queue.take(db, to_link) and thread is not None:
                now = to_micros(self._clock.now())
                joined = links.write(db, to_link.key, self._standing(db, to_link, made), now)
                grouped = joined.intersection(linked_with(db, to_link.key, thread.thread_id, now))
                for member in sorted({thread.thread_id, *grouped}):
                    derivation_queue.enqueue(db, to_link.key, member, "group")

    def _standing(self, db: Transaction, to_link: Waiting, made: Sequence[NewLink]) -> list[NewLink]:
        """Those of the links whose messages are all there still; who edits one queues its conversation anew."""
        seqs = sorted({seq for link in made for pair in link.places for seq in pair})
        there = messages.versions_in_recall(db, to_link.key, seqs)
        return [link for link in made if all(seq in there for pair in link.places for seq in pair)]

    def _by_words(self, thread: Thread, said: Sequence[Message]) -> list[NewLink]:
        memory = self._recall()[1].memory(thread.key)
        catalogue = memory.catalogue
        here = catalogue.number("conversation", thread.conversation_id)
        if here < 0:  # it has nothing that recall can find
            return []
        spoken, surfaces = self._terms(said)
        words = [Word(term=term, here=len(seqs), there=_elsewhere(memory, term, here)) for term, seqs in spoken.items()]
        conversations = len(catalogue.labels["conversation"])
        lengths = {other: catalogue.extents[other].words for word in words for other in word.there}
        found = shared_words.shared(words, conversations, catalogue.extents[here].words, lengths)
        likely = sorted(found, key=lambda other: (-found[other].score, other))[:_COMPARED]
        with self._database.read() as db:
            mine = self._gist(summaries.of_whole(db, thread))
        made = []
        for other in likely:
            name = str(catalogue.conversations[other])
            if (read := unless_damaged(partial(self._read_other, thread, name), None)) is None:
                continue
            met, gist = read
            weight = shared_words.weight(found[other].score, float(mine @ gist))
            if weight >= _LEAST:
                made.append(
                    NewLink(
                        source_id=thread.thread_id, target_id=met.thread_id, weight=weight, made_by=MADE_BY,
                        kind=_kind(thread, met, found[other], catalogue, (here, other)),
                        words=tuple(surfaces[term] for term in found[other].terms),
                        places=_places(memory, found[other], spoken, other),
                    )
                )  # fmt: skip
        return made

    def _read_other(self, thread: Thread, conversation_id: str) -> tuple[Thread, NDArray[np.float64]] | None:
        """Another conversation of the scope, and the direction of its summary; None where it is gone."""
        with self._database.read() as db:
            met = threads.find_thread(db, thread.key, conversation_id)
            return None if met is None else (met, self._gist(summaries.of_whole(db, met)))

    def _terms(self, said: Sequence[Message]) -> tuple[dict[int, list[int]], dict[int, str]]:
        """The places of each term's messages, and a word that stands for it."""
        spoken: dict[int, list[int]] = defaultdict(list)
        surfaces: dict[int, str] = {}
        for message in said:
            if not message.recallable or message.role not in ("user", "assistant"):
                continue
            names = {stem for word in words_of(message.name or "") for stem in stems_of(word)}
            terms = [term for term in dict.fromkeys(analyse(message.text).terms) if term not in names]
            shown = {stem: word for word in words_of(message.text) for stem in stems_of(word)}
            for term, number in zip(terms, term_ids(terms, self._term_key).tolist(), strict=True):
                spoken[number].append(message.seq)
                surfaces.setdefault(number, shown.get(term, term))
        return spoken, surfaces

    def _gist(self, found: Summary | None) -> NDArray[np.float64]:
        """The direction of what a conversation's summary says; zeros without one."""
        texts = [sentence.text for sentence in found.sentences] if found else [""]
        mean = np.asarray(self._embedder.embed(texts).mean(axis=0), np.float64)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)

    def _by_reference(self, thread: Thread, said: Sequence[Message], to_link: Waiting) -> list[NewLink]:
        made: list[NewLink] = []
        for message in said:
            if message.seq < to_link.first_seq or not message.recallable or message.role not in ("user", "assistant"):
                continue
            for name in ids_in(message.text):
                made += unless_damaged(partial(self._named, thread, message, name), [])
            for reference in references_in(message.text, message.created_at):
                made += self._resolved(thread, message, reference)
        return made

    def _named(self, thread: Thread, message: Message, name: str) -> list[NewLink]:
        with self._database.read() as db:
            owner, named = messages.find_by_ids(db, thread.key.namespace_id, [name]).get(name, (None, None))
            if named is not None and owner == thread.key and named.thread_id != thread.thread_id:
                return [_reference(thread, named.thread_id, 1.0, [(message.seq, named.seq)])]
            met = threads.by_id(db, thread.key, name)
            if met is None or met.thread_id == thread.thread_id:
                return []
            first = messages.seqs_of_thread(db, met)[:1]
        return [_reference(thread, met.thread_id, 1.0, [(message.seq, seq) for seq in first])]

    def _resolved(self, thread: Thread, message: Message, reference: Reference) -> list[NewLink]:
        """The links to what a sentence points to: for each time that it names, or else for any time before."""
        made = []
        for start, end in reference.times or ((None, message.created_at),):
            query = RecallQuery(
                # What is referred to is named around the reference as often as in it.
                text=message.text if len(message.text) <= _WHOLE else reference.text,
                k=_RESOLVED,
                after=start,
                before=end,
                as_of=message.created_at,
                exclude_conversation_ids=(thread.conversation_id,),
            )
            # Nothing where what it points to was erased meanwhile.
            hits = unless_damaged(partial(self._recall()[0].nearest, thread.key, query), None) or ()
            best = [hit for hit in hits if hit.thread_id == hits[0].thread_id]
            is_clear = 2 * len(best) > _RESOLVED
            if best and best[0].score >= _score_needed(reference, start, is_clear=is_clear):
                places = [(message.seq, hit.seq) for hit in best[:_SHOWN]]
                made.append(_reference(thread, hits[0].thread_id, _weight(reference, best[0].score), places))
        return made


def _weight(reference: Reference, score: float) -> float:
    """A reference in words of agreement weighs more than a date alone, which may mean the thing and not the talk."""
    return max(_CUED_AND_DATED if reference.has_cue and reference.times else _DATED, score)


def _score_needed(reference: Reference, start: datetime | None, *, is_clear: bool) -> float:
    if start is None:
        return _SCORE_CLEAR if is_clear else _SCORE_UNDATED
    return _SCORE_CUED if reference.has_cue else _SCORE_DATED


def _reference(thread: Thread, target_id: str, weight: float, places: Sequence[tuple[int, int]]) -> NewLink:
    return NewLink(
        source_id=thread.thread_id, target_id=target_id, kind="reference", weight=weight,
        made_by=MADE_BY, words=(), places=tuple(places),
    )  # fmt: skip


def _elsewhere(memory: ScopeMemory, term: int, here: int) -> Counter[int]:
    """In how many messages of each other conversation the term stands; nowhere for a term of very many messages."""
    positions = memory.lexical.having(np.uint32(term))
    if len(positions) > _MOST_MESSAGES:
        return Counter()
    having = memory.catalogue.conversation[positions]
    return Counter(having[having != here].tolist())


def _places(
    memory: ScopeMemory, found: Shared, spoken: dict[int, list[int]], other: int
) -> tuple[tuple[int, int], ...]:
    """For each of the words that count most, a message of either conversation that has it."""
    places = []
    for term in found.terms:
        positions = memory.lexical.having(np.uint32(term))
        there = positions[memory.catalogue.conversation[positions] == other]
        if len(there):
            places.append((spoken[term][0], int(memory.catalogue.seq[there[0]])))
    return tuple(dict.fromkeys(places))


def _kind(thread: Thread, met: Thread, found: Shared, catalogue: CatalogueView, pair: tuple[int, int]) -> str:
    """How two conversations that share words go together."""
    if thread.agent != met.agent:
        one, other = (catalogue.extents[number] for number in pair)
        apart = max(one.first_at - other.last_at, other.first_at - one.last_at)
        if timedelta(microseconds=apart) <= _CONTINUED:
            return "continuation"
    return "entity" if found.is_entity else "topic"
