"""MemoryEngine: remember and recall, with the parts joined in one place."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memory_engine import backup, doctor, status
from memory_engine.checks import check_name
from memory_engine.clock import SystemClock
from memory_engine.editing import Editor
from memory_engine.embedding import EmbedderOptions
from memory_engine.errors import ConversationNotFound, EmptyTarget, InvalidTarget
from memory_engine.following import Following
from memory_engine.forgetting import Forgetting
from memory_engine.history import DEFAULT_SCOPE, History
from memory_engine.intake import remember_call
from memory_engine.joining import Options, Parts, join
from memory_engine.models import (
    NOTHING,
    Fate,
    Message,
    NewMessage,
    OnInvalid,
    RecallHit,
    RecallQuery,
    Recollection,
    Remembered,
    Scope,
    ScopeKey,
    Stats,
    Summary,
    to_micros,
)
from memory_engine.namespace_recall import SUPPORTED, NamespaceRecall
from memory_engine.patterns.knowledge import Notes, Patterns
from memory_engine.pins import Pins
from memory_engine.ports import Clock, Progress, SummaryWriter, no_progress
from memory_engine.quarantine import Quarantine
from memory_engine.recall.candidates import DEFAULT_THRESHOLD
from memory_engine.reindexing import Reindexed, Reindexer, ReindexProgress
from memory_engine.status import PartStatus
from memory_engine.storage import scopes, summaries
from memory_engine.storage.database import POOL_SIZE, Transaction
from memory_engine.storage.receipts import Receipt


class MemoryEngine:
    """A memory that keeps every word and finds it again. Safe to use from several threads.

    Open it with `MemoryEngine.open`; use it as a context manager, or close it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reindexer = Reindexer(parts)
        #: What repeats, and what people state of themselves.
        self.patterns = Patterns(parts.database, parts.clock)
        #: What always stands in the prompt.
        self.notes = Notes(parts.database, parts.clock)
        #: What stays in the history and is kept out of recall.
        self.quarantine = Quarantine(parts)
        #: What no policy touches.
        self.pins = Pins(parts)
        #: What goes by policies, and comes back within their window.
        self.pruner = parts.pruner
        #: What joins conversations.
        self.links = parts.connections
        self._editor = Editor(parts.database, parts.clock, parts.eraser)
        #: What is forgotten on purpose.
        self.forgetting = Forgetting(parts)
        #: What was said, as it was said.
        self.history = History(parts)
        #: Clients that send their history with every request.
        self.following = Following(parts)
        #: Recall over all users of a namespace.
        self.across_users = NamespaceRecall(parts)
        self.database = parts.database
        self.clock = parts.clock

    @classmethod
    def open(  # noqa: PLR0913  (all but the first have a default)
        cls,
        data_dir: str | Path = "./memory-data",
        *,
        database_url: str | None = None,
        chroma_url: str | None = None,
        embedder: str | None = None,
        embedder_options: EmbedderOptions | None = None,
        clock: Clock | None = None,
        index_threshold: int = DEFAULT_THRESHOLD,
        summary_writer: SummaryWriter | None = None,
        redact_secrets: bool = False,
        pool_size: int = POOL_SIZE,
    ) -> "MemoryEngine":
        """Open a store, made on first use, and migrate it.

        Args:
            data_dir: the folder of what is embedded; not touched when both URLs are given.
            database_url: a SQLAlchemy URL; a SQLite file in the folder unless given.
            chroma_url: a Chroma server; embedded in the folder unless given.
            embedder: the name of the embedder that the store must have; unless given, the one that it has, and
                `static` for a new store.
            embedder_options: what some embedders need beside their name.
            clock: tells the time; the machine's clock unless given.
            index_threshold: scopes of at least so many messages get a Chroma collection.
            summary_writer: puts summaries in better words, in the background; they are quotations unless given.
            redact_secrets: keep messages with `[redacted: …]` in place of keys, tokens, card numbers and the like.
            pool_size: connections to the database that threads share; six more are opened when these are in use.

        Raises:
            StoreInUse: another process owns the folder, or serves the PostgreSQL database.
            StoreUnavailable: the folder or the database cannot be used.
            SchemaMismatch: a later version of the program wrote the database.
            EmbedderMismatch: the store's vectors are another embedder's.
            EmbedderUnavailable: the embedder cannot be had.
        """
        options = Options(
            data_dir=Path(data_dir),
            database_url=database_url,
            chroma_url=chroma_url,
            embedder=embedder,
            embedder_options=embedder_options or EmbedderOptions(),
            clock=clock or SystemClock(),
            index_threshold=index_threshold,
            summary_writer=summary_writer,
            redact_secrets=redact_secrets,
            pool_size=pool_size,
        )
        return cls(join(options))

    def close(self) -> None:
        """Finish the background step at hand, close the database, and let go of the folder."""
        self._parts.close()

    def __enter__(self) -> "MemoryEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def remember(
        self,
        conversation_id: str,
        messages: Sequence[Mapping[str, Any] | NewMessage],
        *,
        scope: Scope = DEFAULT_SCOPE,
        agent: str | None = None,
        on_invalid: OnInvalid = "refuse",
    ) -> Remembered:
        """Keep messages, in the order given. When it returns they are durable and can be recalled.

        Args:
            conversation_id: the application's name for the conversation, opened on first use.
            messages: 1 to 1,000 messages in OpenAI's shape, or `NewMessage`s.
            scope: whose memory it is.
            agent: the agent that speaks in them.
            on_invalid: `skip` keeps the messages that can be kept, and returns the others as `skipped`.

        Raises:
            InvalidInput: a value is wrong, or an id is taken; nothing was written. Its `details` have every wrong
                message.
            ConversationNotFound: the conversation belongs to another user of the namespace.
            StoreError: the store does not answer; nothing was written.
        """
        check_name(conversation_id, "conversation_id")
        if agent is not None:
            check_name(agent, "agent")
        rememberer = self._parts.serving().rememberer
        remembered = remember_call(rememberer, scope, conversation_id, messages, agent=agent, on_invalid=on_invalid)
        self._parts.notify()
        return remembered

    def edit(self, message_id: str, changed: Mapping[str, Any], *, scope: Scope = DEFAULT_SCOPE) -> Message:
        """Give a message another `content` or other `metadata`; what it said before is kept as a version.

        Raises:
            MessageNotFound: there is none of that id in this scope.
            InvalidInput: the content or the metadata cannot be taken; nothing was changed.
            StoreError: the store does not answer; nothing was changed.
        """
        edited = self._editor.edit(scope, message_id, changed, self._parts.serving().rememberer)
        self._parts.notify()
        return edited

    def erase(
        self,
        *,
        message_ids: Sequence[str] | None = None,
        conversation_id: str | None = None,
        scope: Scope = DEFAULT_SCOPE,
        by: str = "local",
    ) -> Receipt:
        """Remove messages, or a conversation, with everything that rests on them. It cannot be undone.

        When it returns no answer holds them any more; the receipt is pending until no file does either.

        Raises:
            EmptyTarget: neither is named, or what is named is empty; nothing was erased.
            InvalidTarget: both are named; nothing was erased.
            NotFound: some of them are not in this scope; nothing was erased.
            StoreError: the store does not answer; nothing was erased.
        """
        if message_ids is not None and conversation_id is not None:
            raise InvalidTarget("Name either message_ids or a conversation_id.", param="message_ids")
        if conversation_id is not None:
            return self.forgetting.conversation(conversation_id, scope=scope, by=by)
        if message_ids is None:
            raise EmptyTarget("Name either message_ids or a conversation_id.", param="message_ids")
        return self.forgetting.messages(message_ids, scope=scope, by=by)

    def recall(self, query: str, k: int = 10, *, scope: Scope = DEFAULT_SCOPE, **filters: Any) -> list[RecallHit]:
        """The messages that speak to the query, best first; empty when nothing does.

        Args:
            query: a question or some words, in any language.
            k: how many at most.
            scope: whose memory it is.
            filters: further fields of `RecallQuery`, such as `conversation_id`, `after`, `as_of`, `roles`.

        Raises:
            InvalidInput: a value is wrong.
            ConversationNotFound: a filter names a conversation that is not there.
            StoreError: the store does not answer.
        """
        return list(self.search(RecallQuery(text=query, k=k, **filters), scope=scope).hits)

    def search(self, query: RecallQuery, *, scope: Scope = DEFAULT_SCOPE) -> Recollection:
        """As `recall`, with how many messages were left at each stage."""
        with self.database.read() as db:
            key = scopes.find_scope(db, scope)
        if key is None:
            if query.named:
                raise ConversationNotFound.of(query.named[0])
            return NOTHING
        return self._parts.serving().recaller.recall(key, query)

    def why_not(self, query: RecallQuery, message_id: str, *, scope: Scope = DEFAULT_SCOPE) -> Fate:
        """At which stage a message falls out when the query is asked, and by how much.

        Raises:
            MessageNotFound: there is none of that id in this scope.
            ConversationNotFound: a filter names a conversation that is not there.
        """
        message = self.history.message(message_id, scope=scope)
        with self.database.read() as db:
            key = scopes.find_scope(db, scope)
        assert key is not None  # the message is in it
        return self._parts.serving().recaller.fate(key, query, message)

    def stats(self, namespace: str = "default") -> Stats:
        """How much the namespace holds, by stratum; bytes are those of texts, terms and vectors."""
        return status.stats(self.database, namespace)

    def support(self, hits: Sequence[RecallHit], *, scope: Scope = DEFAULT_SCOPE) -> list[Summary]:
        """The summaries of the segments in which the first hits stand, in the order of the hits."""
        with self.database.read() as db:
            key = scopes.find_scope(db, scope)
            seqs = [hit.seq for hit in hits[:SUPPORTED]]
            found = [] if key is None or not seqs else summaries.of_segments_with(db, key, seqs)
        return sorted(found, key=lambda summary: next(n for n, hit in enumerate(hits) if summary.covers(hit)))

    def consolidate(self) -> int:
        """Bring summaries, links and patterns up with all that was said; how many conversations it took.

        The background does this by itself, for conversations that fell silent or grew much.

        Raises:
            StoreError: the store does not answer; what is done stays done.
        """
        return self._parts.consolidate(all_that_wait=True)

    def parts(self, namespace: str | None = None) -> dict[str, PartStatus]:
        """Return how the engine's parts are: database, vectors, embedder, outbox, and what is not as it should be.

        Background threads that ended are started again.

        Args:
            namespace: names set-aside work of this namespace only. Default: of every namespace.
        """
        return status.of_parts(self._parts, namespace)

    def examine(self, *, repair: bool = False, progress: Progress = no_progress) -> list[doctor.Finding]:
        """Check that the store is sound and what is derived matches the messages, and mend it where asked."""
        now = to_micros(self.clock.now())
        found = doctor.examine(self._parts.serving(), now=now, repair=repair, progress=progress)
        if repair:
            self._parts.try_again()
        return found

    def backup(self, progress: Progress = no_progress) -> Iterator[bytes]:
        """A copy of everything in SQL, of one moment, in pieces; `StoreError` when the store does not answer."""
        return backup.stream(self.database, self.clock.now(), progress)

    def reindex(self, embedder: str | None = None, *, rollback: bool = False) -> Reindexed:
        """Embed every message with this embedder and then use it; the present one serves until that is done.

        Without a name the vector index is rebuilt. With `rollback` the memory goes back to the embedder before.

        Raises:
            InvalidInput: there is no embedder to go back to.
            ReindexRunning: it is under way already.
            EmbedderUnavailable: the embedder cannot be had; the present one goes on serving.
            StoreError: the store does not answer.
        """
        return self._reindexer.roll_back() if rollback else self._reindexer.reindex(embedder)

    @property
    def reindexing(self) -> ReindexProgress | None:
        """How far a `reindex` under way is."""
        return self._reindexer.progress

    def ensure_scope(self, db: Transaction, scope: Scope) -> ScopeKey:
        """The scope's key within an open transaction, for tables that others keep beside the memory's."""
        return scopes.ensure_scope(db, scope, to_micros(self.clock.now()))

    def find_scope(self, db: Transaction, scope: Scope) -> ScopeKey | None:
        """The scope's key within an open transaction, or None when it was never used."""
        return scopes.find_scope(db, scope)

    def find_namespace(self, db: Transaction, namespace: str) -> int | None:
        """The namespace's number within an open transaction, or None when it was never used."""
        return scopes.find_namespace(db, namespace)
