"""Holds and quarantines outlive a restore: those of the store before hold in the restored one too."""

from collections.abc import Sequence
from dataclasses import dataclass

from memory_engine.errors import ConversationNotFound
from memory_engine.models import Scope, ScopeKey
from memory_engine.storage import changes, marks, messages, pins, quarantines, scopes, tables, threads
from memory_engine.storage.database import Transaction
from memory_engine.storage.marks import Mark
from memory_engine.storage.threads import Thread


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """The holds and quarantines of a store."""

    conversations: Sequence[Mark] = ()
    messages: Sequence[Mark] = ()


def take_along(db: Transaction) -> Marks:
    """Return the holds and quarantines of the store as it is."""
    if "scopes" not in tables.names(db):
        return Marks()
    named = {
        key: Scope(namespace=namespace, user=user)
        for namespace in scopes.namespaces(db)
        for user, key in scopes.of_namespace(db, namespace)
    }
    return Marks(conversations=marks.of_conversations(db, named), messages=marks.of_messages(db, named))


def put_back(db: Transaction, taken: Marks, now: int) -> dict[str, int]:
    """Hold and quarantine the restored rows as the store before did, and return how many were not so already.

    Summaries, links and patterns that rest on a quarantined message are retracted.

    Args:
        db: the restore's transaction.
        taken: the marks of the store before. Those on rows that were not restored are left out.
        now: microseconds.
    """
    holds, quarantined = 0, 0
    for mark in taken.conversations:
        thread = _thread(db, mark)
        if thread is None:
            continue
        if mark.held_at is not None and not marks.is_held(db, thread):
            pins.hold(db, thread, mark.held_at)
            holds += 1
        if mark.quarantine is not None and not thread.quarantined:
            _retract(db, thread.key, messages.seqs_of_thread(db, thread), now)
            quarantines.mark_conversation(db, thread, mark.quarantine)
            quarantined += 1
    quarantined += sum(_quarantine_message(db, mark, now) for mark in taken.messages)
    return {"holds": holds, "quarantines": quarantined}


def _thread(db: Transaction, mark: Mark) -> Thread | None:
    key = scopes.find_scope(db, mark.scope)
    try:
        return None if key is None else threads.find_thread(db, key, mark.name)
    except ConversationNotFound:  # in the backup it belongs to another user
        return None


def _quarantine_message(db: Transaction, mark: Mark, now: int) -> bool:
    key = scopes.find_scope(db, mark.scope)
    found = {} if key is None else messages.find_by_ids(db, key.namespace_id, [mark.name])
    owner, message = found.get(mark.name, (None, None))
    if key is None or owner != key or message is None or marks.is_quarantined(db, key, message.seq):
        return False
    _retract(db, key, [message.seq], now)
    quarantines.mark_message(db, key, message.seq, mark.quarantine)
    return True


def _retract(db: Transaction, key: ScopeKey, seqs: Sequence[int], now: int) -> None:
    if seqs:
        changes.note(db, key, seqs, now)
        changes.delete_derived(db, key, seqs)
