"""A message goes down once: prepared outside any transaction, then committed with all that recall needs."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from memory_engine.branching import AT_THE_END, HistoryMoved, Where, settle
from memory_engine.errors import IdConflict, MessageNotFound, StoreConflict, WrongMessage
from memory_engine.lexical.analysis import analyse_message, term_ids
from memory_engine.models import Message, NewMessage, Remembered, Scope, ScopeKey, from_micros, random_id, to_micros
from memory_engine.ports import Clock, Embedder, Progress, no_progress
from memory_engine.redaction import redact_value
from memory_engine.storage import branches, embeddings, messages, outbox, scopes, summaries, threads
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.messages import Derived, Entry
from memory_engine.storage.threads import Thread

#: Messages that are embedded and kept at once where vectors are made later.
_BATCH = 64


class Rememberer:
    """The one way by which messages get into the store."""

    def __init__(
        self, database: Database, embedder: Embedder, clock: Clock, *, term_key: bytes, space_id: int, redacts: bool
    ) -> None:
        """Take the store, the embedder with its space, and whether secrets are redacted before they are kept."""
        self._database = database
        self._embedder = embedder
        self._clock = clock
        self._term_key = term_key
        self._space_id = space_id
        self._redacts = redacts
        self.space = embedder.space
        #: Whether a message is kept with its vectors; else these are made in the background.
        self.embeds_at_once = embedder.is_local

    def remember(
        self,
        scope: Scope,
        conversation_id: str,
        new: Sequence[NewMessage],
        agent: str | None,
        where: Where = AT_THE_END,
    ) -> Remembered:
        """Commit messages; when it returns they are durable and the next recall finds them.

        Raises:
            ConversationNotFound: the conversation is another scope's.
            IdConflict: ids are taken by messages with other content; its details have every one.
            MessageNotFound: the message that they come after is not there; nothing was written.
            HistoryMoved: something was said in the conversation since it was decided where; nothing was written.
            StoreError: the store does not answer; nothing was written.
        """
        now = to_micros(self._clock.now())
        entries = self.prepare(new, now)
        try:
            return self._commit(scope, conversation_id, entries, agent, where)
        except StoreConflict:
            # Another process opened the conversation or took an id meanwhile: now it is there to be seen.
            return self._commit(scope, conversation_id, entries, agent, where)

    def prepare(self, new: Sequence[NewMessage], now: int) -> list[Entry]:
        """Analyse and embed; `now` in microseconds, for messages without a time of their own."""
        entries = [
            Entry(
                message_id=message.message_id or random_id("msg"),
                message=message,
                created_at=now if message.created_at is None else to_micros(message.created_at),
                derived=None,
            )
            for message in map(self.as_kept, new)
        ]
        return self.derive(entries)

    def as_kept(self, message: NewMessage) -> NewMessage:
        """The message as it is to be kept: without its secrets, where these are redacted."""
        if not self._redacts:
            return message
        fields = {name: redact_value(getattr(message, name)) for name in ("text", "parts", "tool_calls", "metadata")}
        return replace(message, **fields)

    def derive(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries with their terms, where recall is to find them, and with their vectors if these are made here."""
        indexed = [entry for entry in entries if entry.message.is_indexed]
        vectors: list[tuple[bytes, ...]] = [()] * len(indexed)
        if self.embeds_at_once:
            vectors = self._embedded([entry.message for entry in indexed])
        derived = {
            id(entry): self.analysed(entry.message, entry.created_at, some)
            for entry, some in zip(indexed, vectors, strict=True)
        }
        return [replace(entry, derived=derived.get(id(entry))) for entry in entries]

    def analysed(self, message: NewMessage | Message, created_at: int, vectors: tuple[bytes, ...] = ()) -> Derived:
        """The message's terms, beside these vectors; `created_at` in microseconds."""
        analysis = analyse_message(message.text, message.name, from_micros(created_at))
        ids = term_ids(analysis.terms, self._term_key)
        return Derived(
            words=analysis.words,
            asks=analysis.asks,
            terms=ids.astype("<u4").tobytes(),
            vectors=vectors,
            space_id=self._space_id,
        )

    def embed_lacking(
        self, key: ScopeKey, *, after: int = 0, until: int | None = None, progress: Progress = no_progress
    ) -> int:
        """Embed the scope's messages after `after`, up to `until`, that have no vector in this space; how many it were.

        Each batch is kept as it is done, so that it can be broken off and goes on where it was.

        Raises:
            EmbedderUnavailable: the embedder does not answer; what is done stays done.
            StoreError: the store does not answer.
        """
        embedded = 0
        while True:
            with self._database.read() as db:
                batch = embeddings.lacking(db, key, self._space_id, after=after, until=until, limit=_BATCH)
            if not batch:
                return embedded
            self._embed(key, batch)
            after = batch[-1].seq
            embedded += len(batch)
            progress("embedding", len(batch))

    def embed_these(self, key: ScopeKey, seqs: Sequence[int]) -> int:
        """Embed those of these messages of the scope that have no vector in this space; how many it were.

        Raises:
            EmbedderUnavailable: the embedder does not answer; what is done stays done.
            StoreError: the store does not answer.
        """
        with self._database.read() as db:
            lack = embeddings.lacking_of(db, key, self._space_id, seqs)
        for start in range(0, len(lack), _BATCH):
            self._embed(key, lack[start : start + _BATCH])
        return len(lack)

    def _embed(self, key: ScopeKey, batch: Sequence[Message]) -> None:
        vectors = self._embedded(batch)
        with self._database.write() as db:
            embeddings.insert_vectors(db, key, self._space_id, list(zip(batch, vectors, strict=True)))

    def _embedded(self, messages: Sequence[NewMessage | Message]) -> list[tuple[bytes, ...]]:
        """The packed vectors of each message, one a chunk; the name belongs to what is embedded."""
        spoken = [f"{message.name}: {message.text}" if message.name else message.text for message in messages]
        chunks = [self._embedder.chunks(text) for text in spoken]
        packed = embeddings.pack(self._embedder.embed([chunk for some in chunks for chunk in some]))
        ends = list(accumulate(len(some) for some in chunks))
        return [packed[end - len(some) : end] for end, some in zip(ends, chunks, strict=True)]

    def _commit(
        self, scope: Scope, conversation_id: str, entries: Sequence[Entry], agent: str | None, where: Where
    ) -> Remembered:
        now = to_micros(self._clock.now())
        with self._database.write() as db:
            key = scopes.ensure_scope(db, scope, now)
            scopes.take_seqs(db, key, 0)  # locks the scope's counter: writers of one scope take turns
            fresh = _without_known(db, key, conversation_id, entries)
            thread = _thread(db, key, conversation_id, agent, (fresh or entries)[0].created_at, now)
            if where is not AT_THE_END:
                thread = _settled(db, thread, where, entries, now)
            if fresh:
                if thread.quarantined:
                    fresh = [replace(entry, derived=None) for entry in fresh]
                first = scopes.take_seqs(db, key, len(fresh))
                messages.insert_entries(db, thread, first, fresh, recorded_at=now)
                pending = outbox.Pending(key=key, first_seq=first, last_seq=first + len(fresh) - 1)
                outbox.insert_pending(db, pending, now)
                summaries.enqueue(db, key, [thread.thread_id], len(fresh), now)
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


def _settled(db: Transaction, thread: Thread, where: Where, entries: Sequence[Entry], now: int) -> Thread:
    """The thread with the branch that the messages go on as its head."""
    if where.newest is not None and branches.last_seq(db, thread) != where.newest:
        raise HistoryMoved
    if where.after is None:
        return thread
    after = messages.find_by_ids(db, thread.key.namespace_id, [where.after]).get(where.after)
    if after is None or after[1].thread_id != thread.thread_id:
        raise MessageNotFound.of(where.after)
    return settle(db, thread, after[1].seq, [entry.message for entry in entries], now)


def _without_known(db: Transaction, key: ScopeKey, conversation_id: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries whose ids are new; the others must say what the kept message of that id says."""
    ids = [entry.message_id for entry in entries if entry.message.message_id is not None]
    found = messages.find_by_ids(db, key.namespace_id, ids) if ids else {}
    kept = {name: (owner, kept.conversation_id, _said(kept)) for name, (owner, kept) in found.items()}
    fresh, wrong = [], []
    for number, entry in enumerate(entries):
        said = (key, conversation_id, _said(entry.message))
        before = kept.setdefault(entry.message_id, said)
        if before is said:
            fresh.append(entry)
        elif before != said:
            text = f"The id {entry.message_id!r} is taken by a message with other content."
            wrong.append(WrongMessage(number, f"messages[{number}].id", text))
    if wrong:
        raise IdConflict(wrong[0].message, param=wrong[0].param, details=wrong)
    return fresh


def _said(message: NewMessage | Message) -> tuple[object, ...]:
    """What makes two messages the same: everything that was said, not when it was."""
    calls = None if message.tool_calls is None else list(message.tool_calls)
    parts = None if message.parts is None else list(message.parts)
    return (message.role, message.text, message.name, message.tool_call_id, calls, parts)
