"""Pruning: what goes by a namespace's policy. Messages are marked, can be brought back for a while, and then go."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from memory_engine import archive
from memory_engine.attempts import Attempts
from memory_engine.erasure import Eraser, Gone
from memory_engine.errors import ConversationNotFound, IndexUnavailable, MessageNotFound
from memory_engine.indexing import Indexer
from memory_engine.models import Scope, ScopeKey, from_micros, to_micros
from memory_engine.ports import Clock
from memory_engine.retention import DEFAULT_POLICY, MESSAGES, Policy, Rows, Rule, going
from memory_engine.storage import (
    changes,
    links,
    messages,
    notes,
    outlived,
    patterns,
    prunes,
    retention_policies,
    scopes,
    store_settings,
    summaries,
    threads,
)
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.retention_policies import Written
from memory_engine.storage.set_aside import Item
from memory_engine.strata import Listing, OutlivedSummaries, Recalls, Stratum, Versions

#: Rows that go in one transaction: writers wait for no longer than these take.
_SLICE = 12
#: After each, writers get so many times as long as it took: they share the interpreter too, not the lock alone.
_REST = 5
#: Messages that the vector index lets go of at once.
_OF_INDEX = 2_000
_EVERY = timedelta(days=1)
#: The store's setting that says when all namespaces were last pruned.
_LAST = "pruned_at"
#: What its failures are kept under, and the name of the item that is a scope as a whole.
_STAGE, _SCOPE = "pruning", "scope"


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a rule takes of a stratum."""

    stratum: str
    #: The rule in one line.
    rule: str
    #: `mark` for messages that can still be brought back, `remove` for what goes.
    action: str
    rows: int
    #: Of the rows' texts.
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cut:
    """The rows of one scope that a rule takes, by id."""

    key: ScopeKey
    share: Share
    ids: Sequence[Any]
    keep_summaries: bool = False


@dataclass(kw_only=True)
class Pruner:
    """Prunes one store, by hand or once a day; a step that was broken off is done again by the next."""

    database: Database
    clock: Clock
    #: The indexer of the generation in use.
    indexer: Callable[[], Indexer]
    #: Knows who keeps copies of messages, and what was erased.
    eraser: Eraser
    #: Of the daily pruning, by scope.
    attempts: Attempts
    #: Breaks the work off after the piece at hand; what is left goes with the next pruning.
    closing: threading.Event
    #: What policies can speak of besides messages, by name.
    strata: dict[str, Stratum] = field(
        default_factory=lambda: {"versions": Versions(), "summaries": OutlivedSummaries()}
    )
    #: Who knows which messages stood in prompts; nobody until they say so.
    recalls: Recalls | None = None
    #: Called when the vector index has changes to follow.
    on_waiting: Callable[[], None] = field(default=lambda: None)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @property
    def at_work(self) -> bool:
        """Whether pieces are being marked, removed or brought back: what can wait should, for those who write."""
        return self._one_at_a_time.locked()

    def index_pending(self, namespace: str) -> int:
        """Return how many changed messages of the namespace the vector index has still to follow.

        Raises:
            StoreError: the store does not answer.
        """
        with self.database.read() as db:
            found = scopes.find_namespace(db, namespace)
            return 0 if found is None else changes.count_of_namespace(db, found)

    def policy(self, namespace: str) -> Written:
        """The policy in force in a namespace.

        Raises:
            StoreError: the store does not answer.
        """
        with self.database.read() as db:
            written = retention_policies.find(db, scopes.find_namespace(db, namespace))
        return written or Written(policy=DEFAULT_POLICY, written_at=None)

    def write_policy(self, namespace: str, policy: Policy) -> Written:
        """Put a policy in force; it rules from the next pruning on.

        Raises:
            StoreError: the store does not answer; nothing was changed.
        """
        now = to_micros(self.clock.now())
        with self.database.write() as db:
            key = scopes.ensure_scope(db, Scope(namespace=namespace), now)
            retention_policies.put(db, key.namespace_id, policy, now)
        return self.policy(namespace)

    def prune(self, namespace: str, policy: Policy | None = None, *, dry_run: bool = False) -> list[Share]:
        """Do what the policy says now, and tell what went and why; a dry run tells what would go.

        Args:
            namespace: whose rows.
            policy: in place of the one in force, this once.
            dry_run: change nothing.

        Raises:
            StoreError: the store does not answer; what went is gone, and the rest goes with the next pruning.
        """
        chosen, now = policy or self.policy(namespace).policy, to_micros(self.clock.now())
        shares: dict[tuple[str, str, str], Share] = {}
        for key in self._scopes(namespace):
            cuts = self._cuts(key, chosen, now)
            for share in (cut.share for cut in cuts) if dry_run else self._done(key, cuts, now):
                name = (share.stratum, share.rule, share.action)
                before = shares.get(name, replace(share, rows=0, bytes=0))
                shares[name] = replace(share, rows=before.rows + share.rows, bytes=before.bytes + share.bytes)
        if not dry_run and any(share.action == "remove" for share in shares.values() if share.rows):
            self._give_back()
        return [share for share in shares.values() if share.rows]

    def last_done(self) -> datetime | None:
        """When every namespace was last pruned by its policy, by itself; None before the first time.

        Raises:
            StoreError: the store does not answer.
        """
        with self.database.read() as db:
            last = _moment(store_settings.setting(db, _LAST))
        return None if last is None else from_micros(last)

    def work(self) -> None:
        """Prune every namespace by its policy, if that was not done for a day; before that what failed.

        A scope that cannot be pruned is left for later, after the last attempt set aside; the others are pruned.

        Raises:
            MemoryEngineError: the store or the index does not answer; it is tried again.
        """
        for item in self.attempts.due(_STAGE):
            self.attempts.made(item, partial(self._prune_scope, item.key))
        now = to_micros(self.clock.now())
        with self.database.read() as db:
            last, names = _moment(store_settings.setting(db, _LAST)), scopes.namespaces(db)
        if last is not None and 0 <= now - last < _EVERY // timedelta(microseconds=1):
            return
        held_back = self.attempts.held_back(_STAGE)
        for key in (key for name in names for key in self._scopes(name)):
            failed = held_back.get((key, _SCOPE))
            if not failed:
                item = Item(key=key, stage=_STAGE, name=_SCOPE, has_failed=failed is not None)
                self.attempts.made(item, partial(self._prune_scope, key))
            if self.closing.is_set():
                return
        with self.database.write() as db:
            store_settings.put(db, _LAST, str(now))

    def _scopes(self, namespace: str) -> list[ScopeKey]:
        with self.database.read() as db:
            return [key for _, key in scopes.of_namespace(db, namespace)]

    def _prune_scope(self, key: ScopeKey) -> None:
        now = to_micros(self.clock.now())
        with self.database.read() as db:
            written = retention_policies.find(db, key.namespace_id)
        cuts = self._cuts(key, DEFAULT_POLICY if written is None else written.policy, now)
        done = list(self._done(key, cuts, now))
        if any(share.rows and share.action == "remove" for share in done):
            self._give_back()

    def restore_messages(self, scope: Scope, message_ids: Sequence[str]) -> int:
        """Bring back messages that were marked, all of them or none; how many.

        Raises:
            MessageNotFound: one is not in this scope, or is not marked; nothing was changed.
            StoreError: the store does not answer.
        """
        with self.eraser.told(scope), self.database.read() as db:
            key = scopes.find_scope(db, scope)
            found = {} if key is None else messages.find_by_ids(db, key.namespace_id, message_ids)
            for name in message_ids:
                if name not in found or found[name][0] != key:
                    raise MessageNotFound.of(name, "message_ids")
                if not found[name][1].pruned:
                    raise MessageNotFound(f"There is no message {name!r} to bring back.", param="message_ids")
        return 0 if key is None else self._restore(key, [message.seq for _, message in found.values()])

    def restore_conversation(self, scope: Scope, conversation_id: str) -> int:
        """Bring back all of a conversation that was marked; how many messages.

        Raises:
            ConversationNotFound: there is none of that id in this scope.
            StoreError: the store does not answer.
        """
        with self.eraser.told(scope), self.database.read() as db:
            key = scopes.find_scope(db, scope)
            thread = None if key is None else threads.find_thread(db, key, conversation_id)
            if key is None or thread is None:
                raise ConversationNotFound.of(conversation_id)
            seqs = prunes.marked_in(db, key, thread.thread_id)
        return self._restore(key, seqs)

    def restore_since(self, namespace: str, since: datetime, *, scope: Scope | None = None) -> int:
        """Bring back all that was marked at or after a time; how many messages.

        Args:
            namespace: whose messages.
            since: the time.
            scope: only this one; every user of the namespace unless given.

        Raises:
            StoreError: the store does not answer.
        """
        with self.database.read() as db:
            of_one = None if scope is None else scopes.find_scope(db, scope)
            keys = [key for _, key in scopes.of_namespace(db, namespace) if scope is None or key == of_one]
            marked = {key: prunes.marked_since(db, key, to_micros(since)) for key in keys}
        return sum(self._restore(key, seqs) for key, seqs in marked.items())

    def waiting(self, namespace: str) -> Iterator[bytes]:
        """What was pruned and waits for its removal, as lines of JSON; see `memory_engine.archive`."""
        return archive.lines(self.database, namespace)

    def _cuts(self, key: ScopeKey, policy: Policy, now: int) -> list[_Cut]:
        """What goes of a scope: the one place that names it, for the dry run and the run."""
        with self.database.read() as db:
            seqs, size = prunes.expired(db, key, now - policy.restorable)
            why = f"marked for {policy.restorable_days:g} days"
            share = Share(stratum=MESSAGES, rule=why, action="remove", rows=len(seqs), bytes=size)
            cuts = [_Cut(key=key, share=share, ids=seqs)]
            taken: dict[str, set[Any]] = {}
            listing = Listing(db, key, self.strata, self.recalls)
            for rule in policy.rules:
                cut = _cut(key, rule, listing.of(rule), taken.setdefault(rule.stratum, set()), now)
                taken[rule.stratum].update(cut.ids)
                cuts.append(cut)
        return [cut for cut in cuts if cut.ids]

    def _done(self, key: ScopeKey, cuts: Sequence[_Cut], now: int) -> Iterator[Share]:
        """Carry the cuts of a scope out, piece by piece, and tell what really went."""
        marked: list[int] = []
        try:
            for cut in cuts:
                rows = 0
                for piece in self._pieces(cut.ids):
                    gone = self._take(cut, piece, now)
                    rows += len(gone)
                    marked += gone if cut.share.action == "mark" else []
                yield replace(cut.share, rows=rows)
        finally:
            self._let_recall_follow(key, marked)

    def _pieces(self, ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Slices of the ids, with a rest after each; of two who prune at once one waits."""
        with self._one_at_a_time:
            yield from self._slices_with_rest(ids)

    def _slices_with_rest(self, ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
        for start in range(0, len(ids), _SLICE):
            began = time.monotonic()
            yield ids[start : start + _SLICE]
            if self._stopped_resting(began):
                return

    def _give_back(self) -> None:
        """Make the database's file as small as what is left in it, slice by slice."""
        with self._one_at_a_time:
            more = True
            while more:
                began = time.monotonic()
                more = self.database.give_back()
                if self._stopped_resting(began):
                    return

    def _stopped_resting(self, began: float) -> bool:
        """Leave writers their turn after a piece; whether the rest was cut short because the work is to end."""
        self.database.checkpoint()  # else a writer's commit would have to bring all this into the file
        return self.closing.wait(_REST * (time.monotonic() - began))

    def _take(self, cut: _Cut, ids: Sequence[Any], now: int) -> Sequence[Any]:
        with self.database.write() as db:
            scopes.take_changes(db, cut.key, 0)  # locks the scope, as every writer does
            if cut.share.action == "mark":
                return self._mark(db, cut, ids, now)
            if cut.share.stratum == MESSAGES:
                return self._remove(db, cut.key, ids, now)
            return range(self.strata[cut.share.stratum].remove(db, cut.key, ids))

    def _mark(self, db: Transaction, cut: _Cut, seqs: Sequence[int], now: int) -> list[int]:
        gone = prunes.mark(db, cut.key, seqs, by=cut.share.rule[:256], now=now)
        if cut.keep_summaries:
            outlived.let_outlive(db, cut.key, gone, now)
        else:
            summaries.retract(db, cut.key, gone, now)
        links.retract(db, cut.key, gone)
        patterns.retract(db, cut.key, gone)
        return gone

    def _remove(self, db: Transaction, key: ScopeKey, seqs: Sequence[int], now: int) -> list[int]:
        going_now = prunes.still_expired(db, key, seqs)
        gone = sorted(going_now)
        outlived.settle(db, key, gone, now)
        links.retract(db, key, gone)
        patterns.retract(db, key, gone)
        told = Gone(message_ids=list(going_now.values()), note_ids=notes.resting_on(db, key, gone).note_ids)
        for keeper in self.eraser.keepers.values():
            keeper.erase_messages(db, key, told)
        changes.delete_messages(db, key, gone)
        return gone

    def _restore(self, key: ScopeKey, seqs: Sequence[int]) -> int:
        now, back = to_micros(self.clock.now()), list[int]()
        try:
            for piece in self._pieces(seqs):
                with self.database.write() as db:
                    scopes.take_changes(db, key, 0)
                    here_again = prunes.unmark(db, key, piece)
                    outlived.come_back(db, key, here_again)
                    summaries.redo(db, key, here_again, now)
                back += here_again
        finally:
            self._let_recall_follow(key, back)
        return len(back)

    def _let_recall_follow(self, key: ScopeKey, seqs: Sequence[int]) -> None:
        """One change for all these messages, so that what is resident is loaded anew once."""
        if not seqs:
            return
        with self.database.write() as db:
            scopes.take_changes(db, key, 1)
        is_away = False
        for some in _slices(sorted(seqs), _OF_INDEX):
            try:
                if not is_away:
                    self.indexer().replace(key, some)
            except IndexUnavailable:
                is_away = True
            if is_away:  # the background does it when the index answers
                with self.database.write() as db:
                    changes.tell_indexes(db, key, some)
        if is_away:
            self.on_waiting()


def _moment(setting: str | None) -> int | None:
    """The microseconds that a setting says; None where it says none."""
    try:
        return None if setting is None else int(setting)
    except ValueError:
        return None


def _cut(key: ScopeKey, rule: Rule, rows: Rows, taken: set[Any], now: int) -> _Cut:
    ids, size = rows.chosen(going(rule, rows, now), but=taken)
    action = "mark" if rule.stratum == MESSAGES else "remove"
    share = Share(stratum=rule.stratum, rule=rule.text, action=action, rows=len(ids), bytes=size)
    return _Cut(key=key, share=share, ids=ids, keep_summaries=rule.keep_summaries)


def _slices(values: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (values[start : start + size] for start in range(0, len(values), size))
