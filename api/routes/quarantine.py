"""/v1/memory/…/quarantine: keep a message or a conversation out of recall, and let it back."""

from fastapi import APIRouter

from api.deps import NamespaceDep, ScopeDep, ServicesDep
from api.exact import EXACT, EXACT_OF_USER
from api.lanes import LaneRoute
from api.schemas.memory import ConversationOut, HoldIn, MessageOut, conversation_out, message_out
from memory_engine import Scope

router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=LaneRoute)

_NO_REASON = HoldIn()


@router.post("/messages/{message_id:path}/quarantine", dependencies=[EXACT])
def hold_message(
    message_id: str, services: ServicesDep, namespace: NamespaceDep, body: HoldIn = _NO_REASON
) -> MessageOut:
    """Keep a message out of recall and prompts; it stays in the history, marked."""
    scope = Scope(namespace=namespace, user=body.user)
    services.engine.quarantine.hold_message(message_id, reason=body.reason, scope=scope)
    return message_out(services.engine.history.message(message_id, with_parent=True, scope=scope))


@router.delete("/messages/{message_id:path}/quarantine", dependencies=[EXACT_OF_USER])
def release_message(message_id: str, services: ServicesDep, scope: ScopeDep) -> MessageOut:
    """Let a message be recalled again, unless its conversation is quarantined too."""
    services.engine.quarantine.release_message(message_id, scope=scope)
    return message_out(services.engine.history.message(message_id, with_parent=True, scope=scope))


@router.post("/conversations/{conversation_id:path}/quarantine", dependencies=[EXACT])
def hold_conversation(
    conversation_id: str, services: ServicesDep, namespace: NamespaceDep, body: HoldIn = _NO_REASON
) -> ConversationOut:
    """Keep all that was said in a conversation, and all that will be, out of recall and prompts."""
    scope = Scope(namespace=namespace, user=body.user)
    services.engine.quarantine.hold_conversation(conversation_id, reason=body.reason, scope=scope)
    return conversation_out(services.engine.history.conversation(conversation_id, scope=scope))


@router.delete("/conversations/{conversation_id:path}/quarantine", dependencies=[EXACT_OF_USER])
def release_conversation(conversation_id: str, services: ServicesDep, scope: ScopeDep) -> ConversationOut:
    """Let a conversation be recalled again, but for messages that are quarantined themselves."""
    services.engine.quarantine.release_conversation(conversation_id, scope=scope)
    return conversation_out(services.engine.history.conversation(conversation_id, scope=scope))
