"""/v1/assistant: turns of a conversation."""

from fastapi import APIRouter

from api.deps import NamespaceDep, ServicesDep
from api.errors import RequestRefused
from api.schemas.assistant import ReplyOut, TurnIn
from assistant import Turn
from memory_engine import Scope

router = APIRouter(prefix="/v1/assistant", tags=["assistant"])


@router.post("/conversations/{conversation_id:path}/messages")
async def say(conversation_id: str, body: TurnIn, services: ServicesDep, namespace: NamespaceDep) -> ReplyOut:
    """Say something and get the assistant's reply; both are kept, and memory was in the prompt."""
    if body.stream:
        raise RequestRefused(400, "Streaming is not implemented yet.", code="not_implemented", param="stream")
    turn = Turn(
        conversation_id=conversation_id,
        message=body.message,
        agent=body.agent,
        model=body.model,
        token_budget=body.token_budget,
    )
    reply = await services.assistant.answer(turn, Scope(namespace=namespace, user=body.user))
    return ReplyOut.model_validate(reply, from_attributes=True)
