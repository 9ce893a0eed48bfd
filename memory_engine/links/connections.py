"""Links as they are asked for: of a conversation, around it, between two; and what people say of them."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from memory_engine.attempts import Attempts
from memory_engine.checks import check_name
from memory_engine.errors import ConversationNotFound, InvalidInput, LinkNotFound, MemoryEngineError
from memory_engine.links import graph
from memory_engine.links.graph import Neighbourhood
from memory_engine.models import Link, RecallHit, Scope, ScopeKey, to_micros
from memory_engine.ports import Clock, Told
from memory_engine.storage import derivation_queue, links, messages, scopes, threads
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.links import NewLink
from memory_engine.storage.set_aside import OF_STORE, Item
from memory_engine.storage.threads import Thread

#: The deepest neighbourhood that is drawn.
MOST_DEPTH = 4
#: How often two conversations were recalled together for a weight of one half.
_OFTEN = 3.0


#: Prompts of which it is put off to note what they recalled, the newest.
_MOST_LATER = 1_000


class _Recalled(NamedTuple):
    """A prompt, of which is still to be noted what it recalled."""

    scope: Scope
    conversation_id: str
    message_id: str
    hits: tuple[RecallHit, ...]


class Connections:
    """The links of one store."""

    def __init__(self, database: Database, clock: Clock, attempts: Attempts, told: Told) -> None:
        self._database = database
        self._clock = clock
        self._attempts = attempts
        self._told = told
        self._later: deque[_Recalled] = deque(maxlen=_MOST_LATER)

    def of(self, scope: Scope, conversation_id: str) -> list[Link]:
        """A conversation's links, strongest first; refused and faint ones are left out.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
        """
        with self._told(scope), self._database.read() as db:
            thread = _thread(db, scope, conversation_id)
            return links.of_threads(db, thread.key, [thread.thread_id], self._now())

    def link(self, scope: Scope, link_id: str) -> Link:
        """One link, whatever people said of it.

        Raises:
            LinkNotFound: there is none of that id in this scope.
        """
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = None if key is None else links.find(db, key, link_id, self._now())
        if found is None:
            raise LinkNotFound(f"There is no link {link_id!r}.", param="link_id")
        return found

    def add(self, scope: Scope, source: str, target: str, kind: str, weight: float) -> Link:
        """Join two conversations, as a person does.

        Raises:
            InvalidInput: it is one and the same conversation, the weight is not in 0..1, or they are joined so already.
            ConversationNotFound: one of them is not in this scope.
        """
        check_name(kind, "kind")
        if len(kind) > 16:
            raise InvalidInput("A kind has at most 16 characters.", param="kind")
        if source == target:
            raise InvalidInput("A link joins two conversations.", param="target")
        if not 0 < weight <= 1:
            raise InvalidInput("The weight must be over 0 and at most 1.", param="weight")
        with self._told(scope), self._database.write() as db:
            ends = [_thread(db, scope, name, param) for name, param in ((source, "source"), (target, "target"))]
            new = NewLink(
                source_id=ends[0].thread_id, target_id=ends[1].thread_id, kind=kind, weight=weight, made_by="person",
                words=(), places=(),
            )  # fmt: skip
            if links.known(db, ends[0].key, new) is not None:
                raise InvalidInput("These conversations have such a link already.", param="target")
            scopes.take_changes(db, ends[0].key, 0)  # locks the scope, as whoever queues does
            link_id = links.insert_link(db, ends[0].key, new, "added", self._now())
            _regroup(db, ends[0].key, new.source_id, new.target_id)
        return self.link(scope, link_id)

    def judge(self, scope: Scope, link_id: str, state: str) -> Link:
        """Note that a person confirms or refuses a link; it stays so.

        Raises:
            LinkNotFound: there is none of that id in this scope.
        """
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            judged = None if key is None else links.find(db, key, link_id, self._now())
            if key is None or judged is None:
                raise LinkNotFound(f"There is no link {link_id!r}.", param="link_id")
            scopes.take_changes(db, key, 0)  # locks the scope, as whoever queues does
            links.set_state(db, key, link_id, state, self._now())
            _regroup(db, key, judged.source_thread_id, judged.target_thread_id)
        return self.link(scope, link_id)

    def around(self, scope: Scope, conversation_id: str, depth: int) -> Neighbourhood:
        """The conversations within so many links, by theme, and the links between them.

        Raises:
            InvalidInput: the depth is not in 1..4.
            ConversationNotFound: there is none of that id in this scope.
        """
        if not 1 <= depth <= MOST_DEPTH:
            raise InvalidInput(f"The depth must be 1 to {MOST_DEPTH}.", param="depth")
        with self._told(scope), self._database.read() as db:
            thread = _thread(db, scope, conversation_id)
            return graph.around(self._load(db, thread.key), thread.thread_id, depth)

    def path(self, scope: Scope, source: str, target: str) -> tuple[Link, ...] | None:
        """The chain of links that connects two conversations best, or None.

        Raises:
            ConversationNotFound: one of them is not in this scope.
        """
        with self._told(scope), self._database.read() as db:
            ends = [_thread(db, scope, name, param) for name, param in ((source, "source"), (target, "target"))]
            found = graph.path(self._load(db, ends[0].key), ends[0].thread_id, ends[1].thread_id)
            if found is None:
                return None
            with_quotes = (links.find(db, ends[0].key, link.link_id, self._now()) for link in found)
            return tuple(link for link in with_quotes if link is not None)

    def note_later(self, scope: Scope, conversation_id: str, message_id: str, hits: Sequence[RecallHit]) -> None:
        """As `note_recalled`, when the background comes to it; what a process that ends has not noted is lost."""
        self._later.append(_Recalled(scope, conversation_id, message_id, tuple(hits)))

    def work(self) -> int:
        """Note what was put off, and return how many prompts it were.

        A prompt that cannot be noted is tried again later; after the last attempt its conversation is set aside.

        Raises:
            StoreError: the store does not answer.
        """
        done = 0
        for _ in range(len(self._later)):
            recalled = self._later.popleft()
            try:
                done += self._note(recalled)
            except MemoryEngineError:
                self._later.appendleft(recalled)
                raise
        return done

    def _note(self, recalled: "_Recalled") -> bool:
        with self._database.read() as db:
            key = scopes.find_scope(db, recalled.scope) or OF_STORE
            thread_id = threads.id_of(db, key.namespace_id, recalled.conversation_id)
        item = Item(key=key, stage="connections", name=thread_id or recalled.message_id, thread_id=thread_id)
        if not self._attempts.waits(item) and self._attempts.made(item, partial(self.note_recalled, *recalled)):
            self._attempts.settle(key, item.stage, [item.name])
            return True
        if self._attempts.waits(item):
            self._later.append(recalled)
        return False

    def note_recalled(self, scope: Scope, conversation_id: str, message_id: str, hits: Sequence[RecallHit]) -> None:
        """A prompt for this message held these hits: links to their conversations were used, or begin.

        Raises:
            StoreError: the store does not answer.
        """
        by_thread: dict[str, list[RecallHit]] = {}
        for hit in hits:
            if hit.conversation_id != conversation_id:
                by_thread.setdefault(hit.thread_id, []).append(hit)
        if not by_thread:
            return
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            said = messages.find_in_scope(db, key, message_id)
            if said is None or said.quarantined or key is None:
                return
            there = messages.versions_in_recall(db, key, [hit.seq for some in by_thread.values() for hit in some])
            for thread_id, some in by_thread.items():
                places = tuple((said.seq, hit.seq) for hit in some[:3] if hit.seq in there)
                if places:
                    self._recalled(db, key, (said.thread_id, thread_id), places)

    def _recalled(
        self, db: Transaction, key: ScopeKey, ends: tuple[str, str], places: tuple[tuple[int, int], ...]
    ) -> None:
        links.touch(db, key, *ends, self._now())
        new = NewLink(
            source_id=ends[0], target_id=ends[1], kind="recalled", weight=1 / (1 + _OFTEN), made_by="recall/1",
            words=(), places=places,
        )  # fmt: skip
        links.write_recalled(db, key, new, _OFTEN, self._now())

    def _load(self, db: Transaction, key: ScopeKey) -> graph.Load:
        return lambda thread_ids: links.of_threads(db, key, thread_ids, self._now(), with_evidence=False)

    def _now(self) -> int:
        return to_micros(self._clock.now())


def _regroup(db: Transaction, key: ScopeKey, *thread_ids: str) -> None:
    for thread_id in thread_ids:
        derivation_queue.enqueue(db, key, thread_id, "group")


def _thread(db: Transaction, scope: Scope, conversation_id: str, param: str = "conversation_id") -> Thread:
    key = scopes.find_scope(db, scope)
    thread = None if key is None else threads.find_thread(db, key, conversation_id, param)
    if thread is None:
        raise ConversationNotFound.of(conversation_id, param)
    return thread
