"""Erasure: what is to be forgotten goes from every stratum at once, and a receipt stands for it until it is proved."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from memory_engine.canaries import Hasher, canaries_of, forms_of
from memory_engine.checks import check_target, check_targets
from memory_engine.digests import Digests
from memory_engine.errors import ConversationNotFound, Erased, MessageNotFound, NotFound, ReceiptNotFound
from memory_engine.models import Message, Scope, ScopeKey, random_id, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import changes, damaged, messages, notes, receipts, retention_policies, scopes, threads
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.receipts import Receipt

#: Messages of a user or a namespace that go in one transaction.
_SLICE = 200
#: Who asks for what a backup must not bring back.
_RESTORE = "restore"


@dataclass(frozen=True, kw_only=True, slots=True)
class Going:
    """An erasure under way."""

    receipt_id: str
    #: Keyed hash of the namespace.
    owner: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """Messages that go, by their ids."""

    message_ids: Sequence[str]
    #: Those that repeated their words: they stay, emptied, but what copied them goes too.
    quoting_ids: Sequence[str] = ()
    #: By which kept prompts name the versions of notes that go with them.
    note_ids: Sequence[str] = ()
    #: None for what a policy removes.
    receipt_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedAgain:
    """What restored rows held of what was erased before; it went with receipts of its own."""

    messages: int = 0
    #: Those that went whole, with messages that are not counted here.
    users: int = 0
    receipt_ids: tuple[str, ...] = ()


class Keeper(Protocol):
    """Keeps copies of messages elsewhere in the same database, such as prompts or logs."""

    def erase_messages(self, db: Transaction, key: ScopeKey, gone: Gone) -> Mapping[str, int]:
        """Remove what holds these messages; how many rows, by place."""
        ...

    def erase_scope(self, db: Transaction, key: ScopeKey) -> Mapping[str, int]:
        """Remove all that is kept for a scope whose messages are gone; how many rows, by place."""
        ...

    def take_along(self, db: Transaction) -> Any:
        """Return what the store forbids, before a restore replaces it. A false value where it forbids nothing."""
        ...

    def put_back(self, db: Transaction, taken: Any) -> Mapping[str, int]:
        """Forbid it in the restored store too, and return counts of what was changed.

        `taken` is what `take_along` returned, or None where the store before was never used.
        """
        ...


class Eraser:
    """Erases what one store holds."""

    def __init__(self, database: Database, clock: Clock, digests: Digests, hasher: Hasher) -> None:
        self._database = database
        self._clock = clock
        self._digests = digests
        self._hasher = hasher
        #: Who keeps copies, by name.
        self.keepers: dict[str, Keeper] = {}

    def erase_messages(self, scope: Scope, message_ids: Sequence[str], by: str) -> Receipt:
        """Remove these messages, all of them or none.

        Raises:
            EmptyTarget: no message is named; nothing was erased.
            MessageNotFound: some are not in this scope; the error lists them, and nothing was erased.
            StoreError: the store does not answer; nothing was erased.
        """
        named = check_targets(message_ids, "message_ids")
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            found = {} if key is None else messages.find_by_ids(db, key.namespace_id, named)
            missing = [name for name in named if key is None or name not in found or found[name][0] != key]
            if key is None or missing:
                raise MessageNotFound.of_several(missing)
            gone = [message for _, message in found.values()]
            going = self._open(db, scope, "messages", by, [key])
            self._remove(db, key, gone, going)
            self._note_names(db, scope, going, "message", [message.message_id for message in gone])
            return self._read(db, going.owner, going.receipt_id)

    def erase_conversation(self, scope: Scope, conversation_id: str, by: str) -> Receipt:
        """Remove a conversation and all that was said in it.

        Raises:
            EmptyTarget: no conversation is named; nothing was erased.
            ConversationNotFound: there is none of that id in this scope.
            StoreError: the store does not answer; nothing was erased.
        """
        check_target(conversation_id, "conversation_id")
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            thread = None if key is None else threads.find_thread(db, key, conversation_id)
            if key is None or thread is None:
                raise ConversationNotFound.of(conversation_id)
            scopes.take_changes(db, key, 0)  # locks the scope: what is said from here on is said after the erasure
            kept = damaged.as_kept(db, key, messages.seqs_of_thread(db, thread))
            going = self._open(db, scope, "conversation", by, [key])
            self._remove(db, key, list(kept.values()), going)
            self._look_for(db, going, [conversation_id, *receipts.outlived_words_of(db, key, thread.thread_id)])
            self._note_names(db, scope, going, "message", [message.message_id for message in kept.values()])
            self._note_names(db, scope, going, "conversation", [conversation_id])
            threads.delete_thread(db, thread)
            self._count(db, going, {"conversations": 1})
            return self._read(db, going.owner, going.receipt_id)

    def erase_user(self, scope: Scope, by: str) -> Receipt:
        """Remove a person of a namespace: nobody finds them any more when this returns, and their rows then go.

        Raises:
            NotFound: nothing was ever said by or to them.
            StoreError: the store does not answer; nothing was erased.
        """
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            if key is None:
                raise NotFound(f"There is no user {scope.user!r}.", param="user")
            going = self._open(db, scope, "user", by, [key])
            scopes.hide_scope(db, key, going.receipt_id)
            self._look_for(db, going, [scope.user or ""])
            self._note_names(db, scope, going, "user", [""])
            return self._read(db, going.owner, going.receipt_id)

    def erase_namespace(self, namespace: str, by: str) -> Receipt:
        """Remove an application's whole memory: nobody finds it any more when this returns, and its rows then go.

        Raises:
            EmptyTarget: no namespace is named; nothing was erased.
            NotFound: nothing was ever kept in it.
            StoreError: the store does not answer; nothing was erased.
        """
        check_target(namespace, "namespace")
        with self._database.write() as db:
            found = scopes.of_namespace(db, namespace)
            if not found:
                raise NotFound(f"There is no namespace {namespace!r}.", param="namespace")
            keys = [key for _, key in found]
            going = self._open(db, Scope(namespace=namespace), "namespace", by, keys)
            self._look_for(db, going, [namespace, *(user or "" for user, _ in found)])
            retention_policies.forget(db, keys[0].namespace_id)
            scopes.hide_namespace(db, keys[0].namespace_id, going.receipt_id)
            self._note_names(db, Scope(namespace=namespace), going, "namespace", [""])
            return self._read(db, going.owner, going.receipt_id)

    def receipt(self, namespace: str | None, receipt_id: str) -> Receipt:
        """The namespace's receipt of that id, or without a namespace whosesoever it is.

        Raises:
            ReceiptNotFound: there is none.
        """
        with self._database.read() as db:
            owner = None if namespace is None else self._digests.of_namespace(namespace)
            return self._read(db, owner, receipt_id)

    @contextmanager
    def told(self, scope: Scope) -> Iterator[None]:
        """Where messages or a conversation are not found because this scope erased them, say so, with the receipts.

        Stands outside the transaction that looks for it.

        Raises:
            Erased: all of them were erased here. To every other scope they were never there.
        """
        try:
            yield
        except (MessageNotFound, ConversationNotFound) as exc:
            kind = "message" if isinstance(exc, MessageNotFound) else "conversation"
            with self._database.read() as db:
                by = {name: receipts.erased_by(db, self._digests.of_name(scope, kind, name)) for name in exc.names}
            if not by or None in by.values():
                raise
            told = [f"The {kind} {name!r} was erased: {receipt_id}." for name, receipt_id in by.items()]
            raise Erased(" ".join(told), param=exc.param) from exc

    def remove_hidden(self, key: ScopeKey, going: Going) -> None:
        """Remove, slice by slice, the rows of a scope that nobody finds any more; broken off, it can be done again.

        Raises:
            StoreError: the store does not answer; what went is gone.
        """
        while True:
            with self._database.write() as db:
                seqs = messages.first_seqs(db, key, _SLICE)
                if not seqs:
                    self._look_for(db, going, [*scopes.names_in(db, key), *receipts.outlived_words_of(db, key)])
                    counts = dict[str, int]()
                    for keeper in self.keepers.values():  # before the scope's own row, which theirs name
                        counts |= keeper.erase_scope(db, key)
                    self._count(db, going, counts | scopes.delete_scope(db, key))
                    return
                # Copies go with the scope, all at once: to look for these messages in each would be done for nothing.
                gone = list(damaged.as_kept(db, key, seqs).values())
                self._count(db, going, self._remove_messages(db, key, gone, going))

    def erase_again(self, db: Transaction, made_at: int) -> ErasedAgain:
        """Take what was erased out of rows that were copied at `made_at` (microseconds)."""
        removed, users, receipt_ids = 0, 0, list[str]()
        for namespace in scopes.namespaces(db):
            for user, key in scopes.of_namespace(db, namespace):
                scope = Scope(namespace=namespace, user=user)
                if self._went_whole(db, scope, made_at):
                    going = self._open(db, scope, "user", _RESTORE, [key])
                    scopes.hide_scope(db, key, going.receipt_id)
                    self._note_names(db, scope, going, "user", [""])
                    users += 1
                    receipt_ids.append(going.receipt_id)
                elif (known := self._erase_known(db, scope, key, made_at)) is not None:
                    removed += known[1]
                    receipt_ids.append(known[0].receipt_id)
        return ErasedAgain(messages=removed, users=users, receipt_ids=tuple(receipt_ids))

    def _went_whole(self, db: Transaction, scope: Scope, made_at: int) -> bool:
        whole = [(scope, "user"), (Scope(namespace=scope.namespace), "namespace")]
        digests = [self._digests.of_name(whose, kind, "") for whose, kind in whole]
        return bool(receipts.erased_since(db, digests, made_at))

    def _erase_known(self, db: Transaction, scope: Scope, key: ScopeKey, made_at: int) -> tuple[Going, int] | None:
        """Remove messages of a scope that the list names, and conversations erased whole since the rows were copied.

        Returns the erasure and how many messages it took; None where there was none of them.

        Of such a conversation the list need not name every message: some may have gone before it, by a policy.
        """
        owner = self._digests.of_namespace(scope.namespace)
        after, gone = 0, dict[str, Message]()
        while seqs := messages.first_seqs(db, key, _SLICE, after=after):
            after = seqs[-1]
            digest_of = {
                self._digests.of_message(owner, message.message_id, message.text): message
                for message in messages.by_seqs(db, key, seqs).values()
            }
            named = [digest_of[digest] for digest in receipts.suppressed(db, list(digest_of))]
            gone |= {message.message_id: message for message in named}
        named_so = {
            self._digests.of_name(scope, "conversation", thread.conversation_id): thread
            for thread in threads.of_scope(db, key)
        }
        whole = [named_so[digest] for digest in sorted(receipts.erased_since(db, list(named_so), made_at))]
        for thread in whole:
            said = messages.by_seqs(db, key, messages.seqs_of_thread(db, thread)).values()
            gone |= {message.message_id: message for message in said}
        going = None
        if gone:
            going = self._open(db, scope, "messages", _RESTORE, [key])
            self._remove(db, key, list(gone.values()), going)
            self._note_names(db, scope, going, "message", list(gone))
        for thread in whole:
            threads.delete_thread(db, thread)
        return None if going is None else (going, len(gone))

    def _remove(self, db: Transaction, key: ScopeKey, gone: Sequence[Message], going: Going) -> None:
        """Remove messages, all that rests on them, and the copies that others keep."""
        ids = [message.message_id for message in gone]
        quoting = receipts.quoting(db, key, ids)
        note_ids = notes.resting_on(db, key, [message.seq for message in gone]).note_ids
        counts = self._remove_messages(db, key, gone, going) | {"quotes": len(quoting)}
        if quoting:
            changes.note(db, key, list(quoting), to_micros(self._clock.now()))
            receipts.redact(db, key, list(quoting))
            changes.delete_derived(db, key, list(quoting))
        told = Gone(message_ids=ids, quoting_ids=list(quoting.values()), note_ids=note_ids, receipt_id=going.receipt_id)
        for keeper in self.keepers.values():
            counts |= keeper.erase_messages(db, key, told)
        self._count(db, going, counts)

    def _remove_messages(self, db: Transaction, key: ScopeKey, gone: Sequence[Message], going: Going) -> dict[str, int]:
        """Remove messages and all that rests on them, and note what to look for; how many rows, by place."""
        seqs = sorted(message.seq for message in gone)
        counts = receipts.rows_of(db, key, seqs)
        told = list(receipts.ever_said(db, key, gone))
        texts = [text for said in told for text in said.texts]
        own = receipts.own_words_of(db, key, seqs)
        self._look_for(db, going, [*texts, *own], receipts.derived_of(db, key, seqs))
        # A backup may hold it in the words of any of its versions.
        digests = [self._digests.of_message(going.owner, said.message_id, said.text) for said in told]
        receipts.suppress(db, going.receipt_id, digests)
        if seqs:
            changes.note(db, key, seqs, to_micros(self._clock.now()))
            changes.delete_messages(db, key, seqs)
        return counts

    def _note_names(self, db: Transaction, scope: Scope, going: Going, kind: str, names: Sequence[str]) -> None:
        receipts.note_names(db, going.receipt_id, [self._digests.of_name(scope, kind, name) for name in names])

    def _open(self, db: Transaction, scope: Scope, kind: str, by: str, keys: Sequence[ScopeKey]) -> Going:
        going = Going(receipt_id=random_id("rcpt"), owner=self._digests.of_namespace(scope.namespace))
        row = {"kind": kind, "requested_by": by, "requested_at": to_micros(self._clock.now()), "counts": {}}
        places = [list(key) for key in keys]
        receipts.open_receipt(db, {"receipt_id": going.receipt_id, "owner": going.owner, "scopes": places, **row})
        return going

    def _look_for(self, db: Transaction, going: Going, texts: Iterable[str], stored: Iterable[bytes] = ()) -> None:
        forms = [form for text in texts for form in forms_of(text)]
        found = canaries_of(self._hasher, [*forms, *stored])
        if len(found):
            receipts.add_canaries(db, going.receipt_id, found.astype("<u8").tobytes())

    def _count(self, db: Transaction, going: Going, more: Mapping[str, int]) -> None:
        before = receipts.counts(db, going.receipt_id)
        total = {place: before.get(place, 0) + more.get(place, 0) for place in {**before, **more}}
        receipts.write(db, going.receipt_id, counts=total)

    def _read(self, db: Transaction, owner: str | None, receipt_id: str) -> Receipt:
        found = receipts.find(db, owner, receipt_id)
        if found is None:
            raise ReceiptNotFound(f"There is no receipt {receipt_id!r}.", param="receipt_id")
        return found
