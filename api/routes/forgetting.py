"""/v1/memory: what is erased for good, and the receipts of it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header

from api.caller import Caller
from api.deps import CallerDep, NamespaceDep, ServicesDep
from api.exact import EXACT_TARGET
from api.lanes import LaneRoute
from api.schemas.forgetting import EraseConversationIn, EraseIn, EraseMessagesIn, EraseNamespaceIn, ReceiptOut
from memory_engine import Receipt, Scope
from memory_engine.errors import InvalidTarget, NotFound
from memory_engine.forgetting import Forgetting

router = APIRouter(prefix="/v1/memory", tags=["forgetting"], route_class=LaneRoute)


@router.post("/erase", dependencies=[EXACT_TARGET])
def erase(
    body: EraseIn, services: ServicesDep, namespace: NamespaceDep, caller: CallerDep,
    x_namespace: Annotated[str | None, Header()] = None,
) -> ReceiptOut:  # fmt: skip
    """Erase messages, a conversation, a whole user or the whole namespace. It cannot be undone.

    The body names exactly one target. With messages or a conversation, `user` only says whose they are.
    A whole user or namespace needs `"all": true`. Unknown ids are listed in a 404, and nothing is erased.
    """
    named, forgetting = body.root, services.engine.forgetting
    if isinstance(named, EraseNamespaceIn):
        return _receipt_out(_erased_namespace(named, forgetting, caller, x_namespace))
    scope = Scope(namespace=namespace, user=named.user if "user" in named.model_fields_set else None)
    if isinstance(named, EraseMessagesIn):
        return _receipt_out(forgetting.messages(named.message_ids, scope=scope, by=caller.name))
    if isinstance(named, EraseConversationIn):
        return _receipt_out(forgetting.conversation(named.conversation_id, scope=scope, by=caller.name))
    return _receipt_out(forgetting.user(scope, by=caller.name))


def _erased_namespace(
    named: EraseNamespaceIn, forgetting: Forgetting, caller: Caller, x_namespace: str | None
) -> Receipt:  # fmt: skip
    if caller.namespace not in (None, named.namespace):
        raise InvalidTarget("A caller erases its own namespace only.", param="namespace")
    if x_namespace not in (None, named.namespace):
        raise NotFound(f"X-Namespace names another namespace than {named.namespace!r}.", param="namespace")
    return forgetting.namespace(named.namespace, by=caller.name)


async def get_owner(
    caller: CallerDep, namespace: NamespaceDep, x_namespace: Annotated[str | None, Header()] = None
) -> str | None:
    """Whose receipts are asked for; None for any, which only the machine's own commands may ask."""
    return None if caller.is_machine and x_namespace is None else namespace


OwnerDep = Annotated[str | None, Depends(get_owner)]


@router.get("/receipts/{receipt_id}")
def receipt(receipt_id: str, services: ServicesDep, owner: OwnerDep) -> ReceiptOut:
    """What was erased, and how far that is proved."""
    return _receipt_out(services.engine.forgetting.receipt(receipt_id, namespace=owner))


@router.post("/receipts/{receipt_id}/verify")
def verify(receipt_id: str, services: ServicesDep, owner: OwnerDep) -> ReceiptOut:
    """Look through every byte of the store's files for what the receipt stands for, now."""
    return _receipt_out(services.engine.forgetting.prove(receipt_id, namespace=owner))


def _receipt_out(found: Receipt) -> ReceiptOut:
    return ReceiptOut.model_validate(found, from_attributes=True)
