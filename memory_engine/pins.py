"""Pins and holds: messages and conversations that no policy touches."""

from datetime import datetime

from memory_engine.errors import ConversationNotFound, MessageNotFound
from memory_engine.history import DEFAULT_SCOPE
from memory_engine.joining import Parts
from memory_engine.models import Scope, to_micros
from memory_engine.storage import messages, pins, scopes, threads


class Pins:
    """Keeps messages and conversations of one store from its policies, and gives them back to them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def pin(self, message_id: str, *, scope: Scope = DEFAULT_SCOPE) -> None:
        """Keep a message from every policy, and rank it higher.

        Raises:
            MessageNotFound: there is none of that id in this scope.
        """
        self._pin(message_id, scope, self._parts.clock.now())

    def unpin(self, message_id: str, *, scope: Scope = DEFAULT_SCOPE) -> None:
        """Let policies rule over a message again.

        Raises:
            MessageNotFound: there is none of that id in this scope.
        """
        self._pin(message_id, scope, None)

    def hold(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> None:
        """Keep all that was said in a conversation, and all that will be, from every policy.

        What is marked already stays marked, and is not removed for as long as the hold lasts.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
        """
        self._hold(conversation_id, scope, self._parts.clock.now())

    def release(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> None:
        """Let policies rule over a conversation again.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
        """
        self._hold(conversation_id, scope, None)

    def _pin(self, message_id: str, scope: Scope, since: datetime | None) -> None:
        with self._parts.eraser.told(scope), self._parts.database.write() as db:
            key = scopes.find_scope(db, scope)
            if key is not None:
                scopes.take_changes(db, key, 0)  # locks the scope: a pruning sees the pin, or was there first
            message = messages.find_in_scope(db, key, message_id)
            if key is None or message is None:
                raise MessageNotFound.of(message_id)
            pins.pin(db, key, message.seq, None if since is None else to_micros(since))

    def _hold(self, conversation_id: str, scope: Scope, since: datetime | None) -> None:
        with self._parts.eraser.told(scope), self._parts.database.write() as db:
            key = scopes.find_scope(db, scope)
            if key is not None:
                scopes.take_changes(db, key, 0)  # as above
            thread = None if key is None else threads.find_thread(db, key, conversation_id)
            if thread is None:
                raise ConversationNotFound.of(conversation_id)
            pins.hold(db, thread, None if since is None else to_micros(since))
