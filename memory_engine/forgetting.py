"""Forgetting on purpose: what goes, who keeps copies of it, and the receipts."""

from collections.abc import Sequence

from memory_engine.checks import check_target
from memory_engine.erasure import Keeper
from memory_engine.errors import InvalidTarget
from memory_engine.joining import Parts
from memory_engine.models import Scope
from memory_engine.ports import Progress, no_progress
from memory_engine.storage.receipts import Receipt


class Forgetting:
    """Erases for good. When a method returns, no answer of the store holds what it erased.

    The receipt is "pending" until a scan of every file of the store, in the background or by `prove`, finds nothing of
    it either. `by` names who asked, for the receipt.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def keeps_copies(self, name: str, keeper: Keeper) -> None:
        """Have somebody who keeps copies of messages in the same database told, by a name of their own."""
        self._parts.eraser.keepers[name] = keeper

    def messages(self, message_ids: Sequence[str], *, scope: Scope, by: str = "local") -> Receipt:
        """Erase these messages, all of them or none.

        Raises:
            EmptyTarget: no message is named; nothing was erased.
            MessageNotFound: some are not in this scope; the error lists them, and nothing was erased.
            StoreError: the store does not answer; nothing was erased.
        """
        with self._parts.eraser.told(scope):
            return self._noted(self._parts.eraser.erase_messages(scope, message_ids, by))

    def conversation(self, conversation_id: str, *, scope: Scope, by: str = "local") -> Receipt:
        """Erase a conversation and all that was said in it.

        Raises:
            EmptyTarget: no conversation is named; nothing was erased.
            ConversationNotFound: there is none of that id in this scope.
            StoreError: the store does not answer; nothing was erased.
        """
        with self._parts.eraser.told(scope):
            return self._noted(self._parts.eraser.erase_conversation(scope, conversation_id, by))

    def user(self, scope: Scope, *, default_user: bool = False, by: str = "local") -> Receipt:
        """Erase a user with everything that was said by and to this user.

        Args:
            scope: whose memory. A scope that names no user is refused, because a missing name must not erase anyone.
            default_user: the namespace's default user is meant, who has no name.
            by: who asked, for the receipt.

        Raises:
            EmptyTarget: the scope names no user, and `default_user` is false; nothing was erased.
            InvalidTarget: the scope names a user, and `default_user` is true; nothing was erased.
            NotFound: there is no such user.
            StoreError: the store does not answer; nothing was erased.
        """
        if not default_user:
            check_target(scope.user, "user")
        elif scope.user is not None:
            raise InvalidTarget("The default user has no name. Name a user, or say default_user.", param="user")
        return self._noted(self._parts.eraser.erase_user(scope, by))

    def namespace(self, namespace: str, *, by: str = "local") -> Receipt:
        """Erase all that an application kept, of all its people.

        Raises:
            EmptyTarget: no namespace is named; nothing was erased.
            NotFound: nothing was ever kept in it.
            StoreError: the store does not answer; nothing was erased.
        """
        return self._noted(self._parts.eraser.erase_namespace(namespace, by))

    def receipt(self, receipt_id: str, *, namespace: str | None = "default") -> Receipt:
        """What was erased, and how far it is proved; without a namespace, of any of them.

        Raises:
            ReceiptNotFound: there is none of that id in this namespace.
        """
        return self._parts.eraser.receipt(namespace, receipt_id)

    def prove(self, receipt_id: str, *, namespace: str | None = "default", progress: Progress = no_progress) -> Receipt:
        """Look for what was erased in every file, now, and once more where that was done before.

        Raises:
            ReceiptNotFound: there is none of that id in this namespace.
            StoreError: the store does not answer.
        """
        if self.receipt(receipt_id, namespace=namespace).state == "pending":
            self._parts.prover.work(progress)
        else:
            self._parts.prover.verify(receipt_id, progress)
        return self.receipt(receipt_id, namespace=namespace)

    def _noted(self, receipt: Receipt) -> Receipt:
        self._parts.notify()
        self._parts.proving.notify()
        return receipt
