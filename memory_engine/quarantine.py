"""Quarantine: what stays in the history as it was said, and is kept out of all that recall and prompts are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory_engine.checks import check_text
from memory_engine.errors import ConversationNotFound, InvalidInput, MessageNotFound, StoreConflict
from memory_engine.history import DEFAULT_SCOPE
from memory_engine.joining import Parts
from memory_engine.models import Held, Message, NewMessage, Scope, ScopeKey, to_micros
from memory_engine.storage import changes, messages, quarantines, scopes, threads
from memory_engine.storage.database import Transaction
from memory_engine.storage.messages import Entry

#: Characters of a reason.
MAX_REASON = 500
#: Writers that may be faster before a quarantine is not taken back.
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """A message, or a conversation with all its messages."""

    key: ScopeKey
    seqs: Sequence[int]
    mark: Callable[[Transaction, Held | None], None]


#: Looks a target up in a scope, which may be one that was never used.
_Find = Callable[[Transaction, ScopeKey | None], _Target]


class Quarantine:
    """Keeps messages and conversations of one store out of recall, and lets them back in."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def hold_message(self, message_id: str, *, reason: str | None = None, scope: Scope = DEFAULT_SCOPE) -> None:
        """Keep a message out of recall from now on; what rests on it is made anew without it.

        Raises:
            MessageNotFound: there is none of that id in this scope.
            InvalidInput: the reason cannot be taken; nothing was changed.
        """
        self._hold(_message(message_id), reason, scope)

    def hold_conversation(
        self, conversation_id: str, *, reason: str | None = None, scope: Scope = DEFAULT_SCOPE
    ) -> None:
        """Keep all that was said in a conversation, and all that will be, out of recall.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
            InvalidInput: the reason cannot be taken; nothing was changed.
        """
        self._hold(_conversation(conversation_id), reason, scope)

    def release_message(self, message_id: str, *, scope: Scope = DEFAULT_SCOPE) -> None:
        """Let a message be recalled again, unless its conversation is quarantined too.

        Raises:
            MessageNotFound: there is none of that id in this scope.
            StoreConflict: others wrote all the while; nothing was changed.
        """
        self._release(_message(message_id), scope)

    def release_conversation(self, conversation_id: str, *, scope: Scope = DEFAULT_SCOPE) -> None:
        """Let a conversation be recalled again, but for messages that are quarantined themselves.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
            StoreConflict: others wrote all the while; nothing was changed.
        """
        self._release(_conversation(conversation_id), scope)

    def _hold(self, find: _Find, reason: str | None, scope: Scope) -> None:
        if reason is not None and len(check_text(reason, "reason")) > MAX_REASON:
            raise InvalidInput(f"A reason has at most {MAX_REASON} characters.", param="reason")
        held = Held(since=self._parts.clock.now(), reason=reason)
        with self._parts.eraser.told(scope), self._parts.database.write() as db:
            target = _locked(db, scope, find)
            self._note(db, target)
            changes.delete_derived(db, target.key, target.seqs)
            target.mark(db, held)
        self._parts.notify()

    def _release(self, find: _Find, scope: Scope) -> None:
        for _ in range(_ATTEMPTS):
            with self._parts.eraser.told(scope), self._parts.database.read() as db:
                target = find(db, scopes.find_scope(db, scope))
                kept = messages.by_seqs(db, target.key, target.seqs)
            entries = self._parts.serving().rememberer.derive([_entry(kept[seq]) for seq in sorted(kept)])
            with self._parts.eraser.told(scope), self._parts.database.write() as db:
                target = _locked(db, scope, find)
                if messages.versions(db, target.key, target.seqs) != {seq: m.version for seq, m in kept.items()}:
                    continue  # something was said or edited meanwhile
                target.mark(db, None)
                self._note(db, target)
                changes.delete_derived(db, target.key, target.seqs)  # it may not have been quarantined at all
                back = messages.versions_in_recall(db, target.key, target.seqs, or_pruned=True)
                derived = zip(sorted(kept), (entry.derived for entry in entries), strict=True)
                rows = [(seq, back[seq], made) for seq, made in derived if seq in back]
                changes.insert_derived(db, target.key, rows)
            self._parts.notify()
            return
        raise StoreConflict

    def _note(self, db: Transaction, target: _Target) -> None:
        if target.seqs:
            changes.note(db, target.key, target.seqs, to_micros(self._parts.clock.now()))


def _locked(db: Transaction, scope: Scope, find: _Find) -> _Target:
    key = scopes.find_scope(db, scope)
    if key is not None:
        scopes.take_changes(db, key, 0)  # locks the scope: what is said or edited from here on sees the mark
    return find(db, key)


def _message(message_id: str) -> _Find:
    def find(db: Transaction, key: ScopeKey | None) -> _Target:
        message = messages.find_in_scope(db, key, message_id)
        if key is None or message is None:
            raise MessageNotFound.of(message_id)
        here, seq = key, message.seq
        return _Target(key=key, seqs=[seq], mark=lambda db, held: quarantines.mark_message(db, here, seq, held))

    return find


def _conversation(conversation_id: str) -> _Find:
    def find(db: Transaction, key: ScopeKey | None) -> _Target:
        thread = None if key is None else threads.find_thread(db, key, conversation_id)
        if thread is None:
            raise ConversationNotFound.of(conversation_id)
        seqs, said_in = messages.seqs_of_thread(db, thread), thread
        return _Target(
            key=thread.key, seqs=seqs, mark=lambda db, held: quarantines.mark_conversation(db, said_in, held)
        )

    return find


def _entry(message: Message) -> Entry:
    said = NewMessage(role=message.role, text=message.text, name=message.name, recallable=message.recallable)
    return Entry(message_id=message.message_id, message=said, created_at=to_micros(message.created_at), derived=None)
