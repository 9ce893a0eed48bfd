"""A message goes down once: prepared outside any transaction, then committed with all that recall needs."""

from collections.abc import Sequence
from dataclasses import replace

from memory_engine.errors import IdConflict, StoreConflict
from memory_engine.lexical.analysis import analyse_message, term_ids
from memory_engine.models import (
    Message,
    NewMessage,
    Remembered,
    Scope,
    ScopeKey,
    from_micros,
    random_id,
    to_micros,
)
from memory_engine.ports import Clock, Embedder
from memory_engine.storage import embeddings, messages, outbox, scopes, threads
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.messages import Derived, Entry
from memory_engine.storage.threads import Thread


class Rememberer:
    """The one way by which messages get into the store."""

    def __init__(self, database: Database, embedder: Embedder, clock: Clock, *, term_key: bytes, space_id: int) -> None:
        self._database = database
        self._embedder = embedder
        self._clock = clock
        self._term_key = term_key
        self._space_id = space_id
        self.space = embedder.space

    def remember(self, scope: Scope, conversation_id: str, new: Sequence[NewMessage], agent: str | None) -> Remembered:
        """Commit messages; when it returns they are durable and the next recall finds them.

        Raises:
            ConversationNotFound: the conversation is another scope's.
            IdConflict: an id is taken by a message with other content.
            StoreError: the store does not answer; nothing was written.
        """
        now = to_micros(self._clock.now())
        entries = self.prepare(new, now)
        try:
            return self._commit(scope, conversation_id, entries, agent, now)
        except StoreConflict:
            # Another process opened the conversation or took an id meanwhile: now it is there to be seen.
            return self._commit(scope, conversation_id, entries, agent, now)

    def prepare(self, new: Sequence[NewMessage], now: int) -> list[Entry]:
        """Analyse and embed; `now` in microseconds, for messages without a time of their own."""
        entries = [
            Entry(
                message_id=message.message_id or random_id("msg"),
                message=message,
                created_at=now if message.created_at is None else to_micros(message.created_at),
                derived=None,
            )
            for message in new
        ]
        return self.derive(entries)

    def derive(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries with their terms and vectors, where recall is to find them."""
        chunks = [self._chunks(e.message) if e.message.is_indexed else [] for e in entries]
        packed = embeddings.pack(self._embedder.embed([chunk for some in chunks for chunk in some]))
        derived, start = [], 0
        for entry, some in zip(entries, chunks, strict=True):
            vectors = packed[start : start + len(some)]
            start += len(some)
            derived.append(replace(entry, derived=self._derived(entry, vectors) if some else None))
        return derived

    def _derived(self, entry: Entry, vectors: tuple[bytes, ...]) -> Derived:
        said_at = from_micros(entry.created_at)
        analysis = analyse_message(entry.message.text, entry.message.name, said_at)
        ids = term_ids(analysis.terms, self._term_key)
        return Derived(
            words=analysis.words,
            asks=analysis.asks,
            terms=ids.astype("<u4").tobytes(),
            vectors=vectors,
            space_id=self._space_id,
        )

    def _chunks(self, message: NewMessage) -> list[str]:
        spoken = f"{message.name}: {message.text}" if message.name else message.text
        return self._embedder.chunks(spoken)

    def _commit(
        self, scope: Scope, conversation_id: str, entries: Sequence[Entry], agent: str | None, now: int
    ) -> Remembered:
        with self._database.write() as db:
            key = scopes.ensure_scope(db, scope, now)
            scopes.take_seqs(db, key, 0)  # locks the scope's counter: writers of one scope take turns
            fresh = _without_known(db, key, conversation_id, entries)
            thread = _thread(db, key, conversation_id, agent, (fresh or entries)[0].created_at, now)
            if fresh:
                first = scopes.take_seqs(db, key, len(fresh))
                messages.insert_entries(db, thread, first, fresh, recorded_at=now)
                pending = outbox.Pending(key=key, first_seq=first, last_seq=first + len(fresh) - 1)
                outbox.insert_pending(db, pending, now)
        return Remembered(
            conversation_id=conversation_id,
            thread_id=thread.thread_id,
            message_ids=tuple(entry.message_id for entry in entries),
        )


def _thread(
    db: Transaction, key: ScopeKey, conversation_id: str, agent: str | None, created_at: int, now: int
) -> Thread:
    thread = threads.find_thread(db, key, conversation_id)
    if thread is None:
        row = {"conversation_id": conversation_id, "thread_id": random_id("thread"), "agent": agent}
        return threads.open_thread(db, key, {**row, "created_at": created_at, "recorded_at": now})
    if agent is None or agent == thread.agent:
        return thread
    threads.set_agent(db, thread, agent)
    return replace(thread, agent=agent)


def _without_known(db: Transaction, key: ScopeKey, conversation_id: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries whose ids are new; the others must say what the kept message of that id says."""
    ids = [entry.message_id for entry in entries if entry.message.message_id is not None]
    found = messages.find_by_ids(db, key.namespace_id, ids) if ids else {}
    kept = {name: (owner, kept.conversation_id, _said(kept)) for name, (owner, kept) in found.items()}
    fresh = []
    for number, entry in enumerate(entries):
        said = (key, conversation_id, _said(entry.message))
        before = kept.setdefault(entry.message_id, said)
        if before is said:
            fresh.append(entry)
        elif before != said:
            text = f"The id {entry.message_id!r} is taken by a message with other content."
            raise IdConflict(text, param=f"messages[{number}].id")
    return fresh


def _said(message: NewMessage | Message) -> tuple[object, ...]:
    """What makes two messages the same: everything that was said, not when it was."""
    calls = None if message.tool_calls is None else list(message.tool_calls)
    parts = None if message.parts is None else list(message.parts)
    return (message.role, message.text, message.name, message.tool_call_id, calls, parts)
