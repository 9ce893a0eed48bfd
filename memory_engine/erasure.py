"""Erasure: messages and conversations go, with everything that was derived from them or rests on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory_engine.errors import ConversationNotFound, MessageNotFound
from memory_engine.models import Scope, ScopeKey, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import changes, messages, scopes, threads
from memory_engine.storage.database import Database, Transaction

#: Called within the erasing transaction with the scope and the ids of the messages that go: who keeps copies of them
#: elsewhere in the database removes these, and says how many it removed.
AlsoErase = Callable[[Transaction, ScopeKey, Sequence[str]], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What went."""

    message_ids: tuple[str, ...]
    conversation_ids: tuple[str, ...]
    #: Copies that others kept, such as prompts.
    copies: int


class Eraser:
    """Erases what one store holds."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        #: Others who keep copies.
        self.also: list[AlsoErase] = []

    def erase_messages(self, scope: Scope, message_ids: Sequence[str]) -> Erased:
        """Remove these messages, all of them or none.

        Raises:
            MessageNotFound: one is not in this scope; nothing was erased.
            StoreError: the store does not answer; nothing was erased.
        """
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            found = {} if key is None else messages.find_by_ids(db, key.namespace_id, message_ids)
            for name in message_ids:
                if key is None or name not in found or found[name][0] != key:
                    raise MessageNotFound(f"There is no message {name!r}.", param="message_ids")
            assert key is not None  # or nothing was asked for, which the caller refuses
            seqs = sorted({message.seq for _, message in found.values()})
            copies = self._erase(db, key, seqs, list(found))
        return Erased(message_ids=tuple(found), conversation_ids=(), copies=copies)

    def erase_conversation(self, scope: Scope, conversation_id: str) -> Erased:
        """Remove a conversation and all that was said in it.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
            StoreError: the store does not answer; nothing was erased.
        """
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            thread = None if key is None else threads.find_thread(db, key, conversation_id)
            if key is None or thread is None:
                raise ConversationNotFound(f"There is no conversation {conversation_id!r}.", param="conversation_id")
            scopes.take_changes(db, key, 0)  # locks the scope: what is said from here on is said after the erasure
            kept = messages.by_seqs(db, key, messages.seqs_of_thread(db, thread))
            ids = [message.message_id for message in kept.values()]
            copies = self._erase(db, key, sorted(kept), ids)
            threads.delete_thread(db, thread)
        return Erased(message_ids=tuple(ids), conversation_ids=(conversation_id,), copies=copies)

    def _erase(self, db: Transaction, key: ScopeKey, seqs: Sequence[int], ids: Sequence[str]) -> int:
        if not seqs:
            return 0
        changes.note(db, key, seqs, to_micros(self._clock.now()))
        changes.delete_messages(db, key, seqs)
        return sum(also(db, key, ids) for also in self.also)
