"""/v1/memory: what goes by policies and comes back, and the pins and holds that keep things from them."""

from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import StreamingResponse

from api.deps import NamespaceDep, ScopeDep, ServicesDep
from api.errors import RequestRefused
from api.exact import EXACT, EXACT_OF_USER
from api.lanes import LaneRoute
from api.schemas.memory import ConversationOut, MessageOut, conversation_out, message_out
from api.schemas.retention import KeepIn, PolicyOut, PrunedOut, PruneIn, RestoredOut, RestoreIn, ShareOut
from api.services import Services
from memory_engine import Scope
from memory_engine.checks import check_name
from memory_engine.retention import read_policy
from memory_engine.storage.retention_policies import Written
from memory_engine.times import parse_time

router = APIRouter(prefix="/v1/memory", tags=["retention"], route_class=LaneRoute)

_NOBODY = KeepIn()


@router.get("/retention")
def policy(services: ServicesDep, namespace: NamespaceDep) -> PolicyOut:
    """The policy in force in the namespace."""
    return _policy_out(services, services.engine.pruner.policy(namespace))


@router.put("/retention", dependencies=[EXACT])
def write_policy(
    body: Annotated[dict[str, Any], Body()], services: ServicesDep, namespace: NamespaceDep
) -> PolicyOut:  # fmt: skip
    """Put a policy in force, in place of the one before; it rules from the next pruning on."""
    return _policy_out(services, services.engine.pruner.write_policy(namespace, read_policy(body)))


def _policy_out(services: Services, found: Written) -> PolicyOut:
    last = services.engine.pruner.last_done()
    return PolicyOut(policy=found.policy.as_json(), written_at=found.written_at, last_pruned_at=last)


@router.post("/prune", dependencies=[EXACT])
def prune(body: PruneIn, services: ServicesDep, namespace: NamespaceDep) -> PrunedOut:
    """Apply the retention policy now. A dry run reports what would be removed, and changes nothing."""
    pruner, chosen = services.engine.pruner, None
    if body.policy is not None:
        in_force = pruner.policy(namespace).policy
        chosen = read_policy(body.policy, restorable_days=in_force.restorable_days)
    shares = pruner.prune(namespace, chosen, dry_run=body.dry_run)
    data = [ShareOut.model_validate(share, from_attributes=True) for share in shares]
    return PrunedOut(dry_run=body.dry_run, data=data, index_pending=pruner.index_pending(namespace))


@router.get("/pruned")
def pruned(services: ServicesDep, namespace: NamespaceDep) -> StreamingResponse:
    """What was pruned and waits for its removal, as lines of JSON: to be kept elsewhere, or brought back."""
    lines = services.engine.pruner.waiting(namespace)
    first = next(lines, b"")  # a store that does not answer says so before the answer has begun
    return StreamingResponse(chain([first], lines), media_type="application/x-ndjson")


@router.post("/restore", dependencies=[EXACT])
def restore(body: RestoreIn, services: ServicesDep, namespace: NamespaceDep) -> RestoredOut:
    """Bring back what was pruned and is not removed yet."""
    if len(body.model_fields_set & {"message_ids", "conversation_id", "since"}) != 1:
        text = "Name one thing: message_ids, a conversation_id, or since, the time of the pruning."
        raise RequestRefused(400, text, code="invalid_value", param="message_ids")
    if body.scope is not None and (body.since is None or body.user is not None):
        text = "The scope namespace goes with since, and without a user."
        raise RequestRefused(400, text, code="invalid_value", param="scope")
    pruner, scope = services.engine.pruner, Scope(namespace=namespace, user=body.user)
    if body.message_ids:
        restored = pruner.restore_messages(scope, body.message_ids)
    elif body.conversation_id is not None:
        check_name(body.conversation_id, "conversation_id")
        restored = pruner.restore_conversation(scope, body.conversation_id)
    else:
        since = parse_time(body.since, "since")
        restored = pruner.restore_since(namespace, since, scope=None if body.scope else scope)
    return RestoredOut(restored=restored, index_pending=pruner.index_pending(namespace))


@router.post("/messages/{message_id:path}/pin", dependencies=[EXACT])
def pin(message_id: str, services: ServicesDep, namespace: NamespaceDep, body: KeepIn = _NOBODY) -> MessageOut:
    """Keep a message from every policy, and rank it a little higher."""
    scope = Scope(namespace=namespace, user=body.user)
    services.engine.pins.pin(message_id, scope=scope)
    return message_out(services.engine.history.message(message_id, with_parent=True, scope=scope))


@router.delete("/messages/{message_id:path}/pin", dependencies=[EXACT_OF_USER])
def unpin(message_id: str, services: ServicesDep, scope: ScopeDep) -> MessageOut:
    """Let policies rule over a message again."""
    services.engine.pins.unpin(message_id, scope=scope)
    return message_out(services.engine.history.message(message_id, with_parent=True, scope=scope))


@router.post("/conversations/{conversation_id:path}/hold", dependencies=[EXACT])
def hold(
    conversation_id: str, services: ServicesDep, namespace: NamespaceDep, body: KeepIn = _NOBODY
) -> ConversationOut:
    """Keep all that was said in a conversation, and all that will be, from every policy."""
    scope = Scope(namespace=namespace, user=body.user)
    services.engine.pins.hold(conversation_id, scope=scope)
    return conversation_out(services.engine.history.conversation(conversation_id, scope=scope))


@router.delete("/conversations/{conversation_id:path}/hold", dependencies=[EXACT_OF_USER])
def release(conversation_id: str, services: ServicesDep, scope: ScopeDep) -> ConversationOut:
    """Let policies rule over a conversation again."""
    services.engine.pins.release(conversation_id, scope=scope)
    return conversation_out(services.engine.history.conversation(conversation_id, scope=scope))
