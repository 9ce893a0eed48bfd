"""What was said, as it was said: conversations and their messages, page by page."""

from datetime import datetime

from memory_engine.checks import check_name
from memory_engine.errors import ConversationNotFound, MessageNotFound
from memory_engine.joining import Parts
from memory_engine.models import Conversation, Message, NewMessage, Page, Scope, Summary, random_id, to_micros
from memory_engine.storage import branches, changes, messages, quarantines, scopes, summaries, threads
from memory_engine.storage.database import Transaction

DEFAULT_SCOPE = Scope()


class History:
    """Reads conversations of a scope; without one, of the default user of the default namespace."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def conversation(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> Conversation:
        """One conversation.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
        """
        with self._parts.eraser.told(scope), self._parts.database.read() as db:
            return threads.get_conversation(db, self._existing(db, scope, conversation_id).key, conversation_id)

    def open_thread(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> str:
        """The id of a conversation's thread; the conversation is opened where it is not there yet.

        Raises:
            InvalidInput: the id cannot be taken.
            ConversationNotFound: the conversation belongs to another user of the namespace.
            StoreError: the store does not answer.
        """
        check_name(conversation_id, "conversation_id")
        now = to_micros(self._parts.clock.now())
        with self._parts.database.write() as db:
            key = scopes.ensure_scope(db, scope, now)
            scopes.take_seqs(db, key, 0)  # locks the scope: a conversation is opened once
            thread = threads.find_thread(db, key, conversation_id)
            if thread is None:
                row = {"conversation_id": conversation_id, "thread_id": random_id("thread"), "agent": None}
                thread = threads.open_thread(db, key, {**row, "created_at": now, "recorded_at": now})
        return thread.thread_id

    def conversation_of(self, thread_id: str, *, scope: Scope = DEFAULT_SCOPE) -> str:
        """The conversation that a thread is our record of.

        Raises:
            ConversationNotFound: there is no such thread in this scope.
        """
        with self._parts.database.read() as db:
            key = scopes.find_scope(db, scope)
            thread = None if key is None else threads.by_id(db, key, thread_id)
        if thread is None:
            raise ConversationNotFound(f"There is no thread {thread_id!r}.", param="thread_id")
        return thread.conversation_id

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
        with self._parts.database.read() as db:
            key = scopes.find_scope(db, scope)
            if key is None:
                if page.after is not None:
                    raise ConversationNotFound.of(page.after, "after")
                return [], False
        found = self._parts.serving().recaller.conversations_with(key, q) if q is not None else []
        wanted = threads.ConversationFilter(agent=agent, name_part=q, besides=found)
        with self._parts.database.read() as db:
            return threads.list_conversations(db, key, page, wanted)

    def messages(
        self, conversation_id: str, page: Page, *, all_branches: bool = False, scope: Scope = DEFAULT_SCOPE
    ) -> tuple[list[Message], bool]:
        """A page of a conversation's messages by their order, and whether more follow; without abandoned branches.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
            MessageNotFound: `page.after` is not in the conversation.
        """
        with self._parts.eraser.told(scope), self._parts.database.read() as db:
            thread = self._existing(db, scope, conversation_id)
            return messages.list_messages(db, thread, page, all_branches=all_branches)

    def newest(
        self, conversation_id: str, limit: int, *, scope: Scope = DEFAULT_SCOPE, until: datetime | None = None,
        before_seq: int | None = None,
    ) -> list[Message]:  # fmt: skip
        """The newest messages of the branch that was spoken on last, oldest of them first; none before it was opened.

        Only those said until `until`, inclusive, in the words that they had then, and those that stand before
        `before_seq`, where these are given. What repeats a quarantined message has its quarantine here.
        """
        with self._parts.database.read() as db:
            thread = threads.find_in(db, scope, conversation_id)
            if thread is None:
                return []
            last = None if until is None else to_micros(until)
            spans = branches.path(branches.of_thread(db, thread), thread.head) if thread.branches else None
            found = messages.newest(db, thread, limit, until=last, before_seq=before_seq, spans=spans)
            found = quarantines.with_those_they_repeat(db, thread.key, found)
            if last is None:
                return found
            return list(changes.as_they_were(db, thread.key, {m.seq: m for m in found}, last).values())

    def message(self, message_id: str, *, with_parent: bool = False, scope: Scope = DEFAULT_SCOPE) -> Message:
        """One message; with `parent_id` if asked, which costs a query.

        Raises:
            MessageNotFound: there is none of that id in this scope.
        """
        with self._parts.eraser.told(scope), self._parts.database.read() as db:
            key = scopes.find_scope(db, scope)
            message = messages.find_in_scope(db, key, message_id)
            if key is None or message is None:
                raise MessageNotFound.of(message_id)
            return messages.with_parents(db, key, [message])[0] if with_parent else message

    def as_kept(self, message: NewMessage) -> NewMessage:
        """The message as it would be kept: without its secrets, where these are redacted."""
        return self._parts.serving().rememberer.as_kept(message)

    def current_agent(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> str | None:
        """The agent that spoke last; None for a conversation without one, or not opened yet.

        Raises:
            ConversationNotFound: the conversation is another user's.
        """
        with self._parts.database.read() as db:
            thread = threads.find_in(db, scope, conversation_id)
            return None if thread is None else thread.agent

    def summaries(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> list[Summary]:
        """A conversation's summaries: its own, then those of its segments in order; none before it was consolidated.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
        """
        with self._parts.eraser.told(scope), self._parts.database.read() as db:
            return summaries.of_conversation(db, self._existing(db, scope, conversation_id))

    def summary(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> Summary | None:
        """A conversation's summary as a whole; None before it was consolidated, or opened.

        Raises:
            ConversationNotFound: the conversation is another user's.
        """
        with self._parts.database.read() as db:
            thread = threads.find_in(db, scope, conversation_id)
            return None if thread is None else summaries.of_whole(db, thread)

    def _existing(self, db: Transaction, scope: Scope, conversation_id: str) -> threads.Thread:
        thread = threads.find_in(db, scope, conversation_id)
        if thread is None:
            raise ConversationNotFound.of(conversation_id)
        return thread
