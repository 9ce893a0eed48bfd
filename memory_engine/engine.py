"""MemoryEngine: remember and recall, with the parts joined in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memory_engine import doctor
from memory_engine.clock import SystemClock
from memory_engine.embedding import DEFAULT_EMBEDDER
from memory_engine.errors import ConversationNotFound, InvalidInput, MessageNotFound, StoreError
from memory_engine.joining import Options, Parts, join
from memory_engine.models import (
    MAX_MESSAGES,
    NOTHING,
    Conversation,
    Fate,
    Message,
    NewMessage,
    Page,
    RecallHit,
    RecallQuery,
    Recollection,
    Remembered,
    Scope,
    ScopeKey,
    Stats,
    check_name,
    parse_message,
    to_micros,
)
from memory_engine.ports import Clock
from memory_engine.recall.recaller import DEFAULT_THRESHOLD
from memory_engine.storage import messages, migrations, outbox, scopes, threads
from memory_engine.storage.database import Transaction

DEFAULT_SCOPE = Scope()


@dataclass(frozen=True, kw_only=True, slots=True)
class PartStatus:
    """How a part of the engine is."""

    ok: bool
    detail: str


class MemoryEngine:
    """A memory that keeps every word and finds it again. Safe to use from several threads.

    Open it with `MemoryEngine.open`; use it as a context manager, or close it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.database = parts.database
        self.clock = parts.clock

    @classmethod
    def open(
        cls,
        data_dir: str | Path = "./memory-data",
        *,
        database_url: str | None = None,
        chroma_url: str | None = None,
        embedder: str = DEFAULT_EMBEDDER,
        clock: Clock | None = None,
        index_threshold: int = DEFAULT_THRESHOLD,
    ) -> "MemoryEngine":
        """Open a store, made on first use, and migrate it.

        Args:
            data_dir: the folder of what is embedded; not touched when both URLs are given.
            database_url: a SQLAlchemy URL; a SQLite file in the folder unless given.
            chroma_url: a Chroma server; embedded in the folder unless given.
            embedder: the name of the embedder.
            clock: tells the time; the machine's clock unless given.
            index_threshold: scopes of at least so many messages get a Chroma collection.

        Raises:
            StoreInUse: another process owns the folder.
            StoreUnavailable: the folder or the database cannot be used.
            SchemaMismatch: a later version of the program wrote the database.
            EmbedderUnavailable: the embedder cannot be had.
        """
        options = Options(
            data_dir=Path(data_dir),
            database_url=database_url,
            chroma_url=chroma_url,
            embedder=embedder,
            clock=clock or SystemClock(),
            index_threshold=index_threshold,
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
    ) -> Remembered:
        """Keep messages, in the order given. When it returns they are durable and can be recalled.

        Args:
            conversation_id: the application's name for the conversation, opened on first use.
            messages: 1 to 1,000 messages in OpenAI's shape, or `NewMessage`s.
            scope: whose memory it is.
            agent: the agent that speaks in them.

        Raises:
            InvalidInput: a value is wrong, or an id is taken; nothing was written.
            ConversationNotFound: the conversation belongs to another user of the namespace.
            StoreError: the store does not answer; nothing was written.
        """
        check_name(conversation_id, "conversation_id")
        if agent is not None:
            check_name(agent, "agent")
        if not 1 <= len(messages) <= MAX_MESSAGES:
            raise InvalidInput(f"A call takes 1 to {MAX_MESSAGES:,} messages.", param="messages")
        new = [
            message if isinstance(message, NewMessage) else parse_message(message, f"messages[{number}]")
            for number, message in enumerate(messages)
        ]
        remembered = self._parts.rememberer.remember(scope, conversation_id, new, agent)
        self._parts.worker.notify()
        return remembered

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
            if named := query.conversation_id or next(iter(query.exclude_conversation_ids), None):
                raise _unknown(named)
            return NOTHING
        return self._parts.recaller.recall(key, query)

    def why_not(self, query: RecallQuery, message_id: str, *, scope: Scope = DEFAULT_SCOPE) -> Fate:
        """At which stage a message falls out when the query is asked, and by how much.

        Raises:
            MessageNotFound: there is none of that id in this scope.
            ConversationNotFound: a filter names a conversation that is not there.
        """
        seq = self.message(message_id, scope=scope).seq
        with self.database.read() as db:
            key = scopes.find_scope(db, scope)
        assert key is not None  # the message is in it
        return self._parts.recaller.fate(key, query, seq)

    def conversation(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> Conversation:
        """One conversation.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
        """
        with self.database.read() as db:
            return threads.get_conversation(db, self._existing(db, scope, conversation_id).key, conversation_id)

    def conversations(
        self, page: Page, *, scope: Scope = DEFAULT_SCOPE, q: str | None = None, agent: str | None = None
    ) -> tuple[list[Conversation], bool]:
        """A page of conversations in the order in which they were opened, and whether more follow.

        Args:
            page: which part of the list.
            scope: whose memory it is.
            q: only those with this in their id, or with a message that has all its words.
            agent: only those in which this agent spoke last.
        """
        with self.database.read() as db:
            key = scopes.find_scope(db, scope)
            if key is None:
                if page.after is not None:
                    raise _unknown(page.after, "after")
                return [], False
        found = self._parts.recaller.conversations_with(key, q) if q is not None else []
        wanted = threads.ConversationFilter(agent=agent, name_part=q, besides=found)
        with self.database.read() as db:
            return threads.list_conversations(db, key, page, wanted)

    def messages(self, conversation_id: str, page: Page, *, scope: Scope = DEFAULT_SCOPE) -> tuple[list[Message], bool]:
        """A page of a conversation's messages by their order, and whether more follow.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
            MessageNotFound: `page.after` is not in the conversation.
        """
        with self.database.read() as db:
            return messages.list_messages(db, self._existing(db, scope, conversation_id), page)

    def newest(
        self, conversation_id: str, limit: int, *, scope: Scope = DEFAULT_SCOPE, until: datetime | None = None,
        before_seq: int | None = None,
    ) -> list[Message]:  # fmt: skip
        """A conversation's newest messages, oldest of them first; none for a conversation not opened yet.

        Only those said until `until`, inclusive, and those that stand before `before_seq`, where these are given.
        """
        with self.database.read() as db:
            thread = self._thread(db, scope, conversation_id)
            if thread is None:
                return []
            last = None if until is None else to_micros(until)
            return messages.newest(db, thread, limit, until=last, before_seq=before_seq)

    def message(self, message_id: str, *, scope: Scope = DEFAULT_SCOPE) -> Message:
        """One message.

        Raises:
            MessageNotFound: there is none of that id in this scope.
        """
        with self.database.read() as db:
            key = scopes.find_scope(db, scope)
            found = {} if key is None else messages.find_by_ids(db, key.namespace_id, [message_id])
        owner, message = found.get(message_id, (None, None))
        if message is None or owner != key:
            raise MessageNotFound(f"There is no message {message_id!r}.", param="message_id")
        return message

    def current_agent(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> str | None:
        """The agent that spoke last; None for a conversation without one, or not opened yet.

        Raises:
            ConversationNotFound: the conversation is another user's.
        """
        with self.database.read() as db:
            thread = self._thread(db, scope, conversation_id)
            return None if thread is None else thread.agent

    def stats(self, namespace: str = "default") -> Stats:
        """How much the namespace holds, by stratum; bytes are those of texts, terms and vectors."""
        with self.database.read() as db:
            namespace_id = scopes.find_namespace(db, namespace)
            counts = messages.count_rows(db, namespace_id if namespace_id is not None else -1)
        return Stats(**counts, summaries=0, links=0, patterns=0)

    def parts(self) -> dict[str, PartStatus]:
        """How the engine's parts are: database, vectors, embedder, outbox."""
        try:
            with self.database.read() as db:
                waiting, _ = outbox.lag(db)
        except StoreError as exc:
            return {"database": PartStatus(ok=False, detail=exc.message)}
        dialect = "SQLite" if self.database.is_sqlite else "PostgreSQL"
        problem = self._parts.worker.problem
        vectors = f"exact below {self._parts.patient.threshold:,} messages in a scope, Chroma from there on"
        return {
            "database": PartStatus(ok=True, detail=f"{dialect}, schema {migrations.HEAD}"),
            "vectors": PartStatus(ok=problem is None, detail=problem or vectors),
            "embedder": PartStatus(ok=True, detail=self._parts.rememberer.space.name),
            "outbox": PartStatus(ok=problem is None, detail=f"{waiting} waiting"),
        }

    def examine(self, *, repair: bool = False, progress: doctor.Progress = doctor.no_progress) -> list[doctor.Finding]:
        """Check that what is derived matches the messages, and mend it where asked.

        Raises:
            StoreError: the store does not answer.
        """
        return doctor.examine(self._parts.patient, repair=repair, progress=progress)

    def ensure_scope(self, db: Transaction, scope: Scope) -> ScopeKey:
        """The scope's key within an open transaction, for tables that others keep beside the memory's."""
        return scopes.ensure_scope(db, scope, to_micros(self.clock.now()))

    def find_namespace(self, db: Transaction, namespace: str) -> int | None:
        """The namespace's number within an open transaction, or None when it was never used."""
        return scopes.find_namespace(db, namespace)

    def _thread(self, db: Transaction, scope: Scope, conversation_id: str) -> threads.Thread | None:
        key = scopes.find_scope(db, scope)
        if key is None:
            namespace_id = scopes.find_namespace(db, scope.namespace)
            if namespace_id is None:
                return None
            key = ScopeKey(namespace_id, scopes.NOBODY)
        return threads.find_thread(db, key, conversation_id)

    def _existing(self, db: Transaction, scope: Scope, conversation_id: str) -> threads.Thread:
        thread = self._thread(db, scope, conversation_id)
        if thread is None:
            raise _unknown(conversation_id)
        return thread


def _unknown(conversation_id: str, param: str = "conversation_id") -> ConversationNotFound:
    return ConversationNotFound(f"There is no conversation {conversation_id!r}.", param=param)
