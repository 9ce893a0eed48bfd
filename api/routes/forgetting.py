"""/v1/memory: what is erased for good, and the receipts of it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header

from api.caller import Caller
from api.deps import CallerDep, NamespaceDep, ServicesDep
from api.errors import RequestRefused
from api.lanes import LaneRoute
from api.schemas.forgetting import EraseIn, ReceiptOut
from api.services import Services
from memory_engine import Receipt, Scope

router = APIRouter(prefix="/v1/memory", tags=["forgetting"], route_class=LaneRoute)


@router.post("/erase")
def erase(body: EraseIn, services: ServicesDep, namespace: NamespaceDep, caller: CallerDep) -> ReceiptOut:
    """Erase messages, a conversation, a user or the namespace, with everything that rests on them. No undo."""
    named = [bool(body.message_ids), body.conversation_id is not None, body.namespace is not None]
    if sum(named) > 1 or (body.namespace is not None and body.user is not None):
        raise RequestRefused(
            400,
            "Name one thing: messages, a conversation, a user or the namespace.",
            code="invalid_value",
            param="message_ids",
        )
    if not any(named) and body.user is None:
        raise RequestRefused(
            400,
            "Name message_ids, a conversation_id, a user or the namespace.",
            code="invalid_value",
            param="message_ids",
        )
    return _receipt_out(_erased(body, services, namespace, caller))


def _erased(body: EraseIn, services: Services, namespace: str, caller: Caller) -> Receipt:
    forgetting, scope = services.engine.forgetting, Scope(namespace=namespace, user=body.user)
    if body.message_ids:
        return forgetting.messages(body.message_ids, scope=scope, by=caller.name)
    if body.conversation_id is not None:
        return forgetting.conversation(body.conversation_id, scope=scope, by=caller.name)
    if body.namespace is None:
        return forgetting.user(scope, by=caller.name)
    if body.namespace != namespace and not caller.is_machine:
        raise RequestRefused(400, "A caller erases its own namespace only.", code="invalid_value", param="namespace")
    return forgetting.namespace(body.namespace, by=caller.name)


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
