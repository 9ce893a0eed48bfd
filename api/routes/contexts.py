"""/v1/memory/context and /contexts: prompts, assembled and kept."""

import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.deps import CallerDep, NamespaceDep, ScopeDep, ServicesDep
from api.lanes import LaneRoute
from api.schemas.memory import ContextIn
from assistant import CustomAssistant, PromptRequest, Turn
from assistant.context_manager import Prompt
from memory_engine import Scope
from memory_engine.times import parse_time

router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=LaneRoute)


@router.post("/context")
def context(body: ContextIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep) -> dict[str, Any]:
    """Assemble the prompt that a turn would send, and say why each part is there.

    Without `agent`, the agent is chosen as a turn does. `"agent": null` is memory and message alone, without tools.
    """
    body = caller.limits.fitted(body)
    prompt = _prompt(body, services.assistant, Scope(namespace=namespace, user=body.user))
    return {
        "messages": prompt.messages,
        "tokens": prompt.tokens,
        "manifest_id": prompt.manifest_id,
        "manifest": prompt.manifest,
    }


def _prompt(body: ContextIn, assistant: CustomAssistant, scope: Scope) -> Prompt:
    as_of = None if body.as_of is None else parse_time(body.as_of, "as_of")
    if body.agent is None and "agent" in body.model_fields_set:
        request = PromptRequest(
            conversation_id=body.conversation_id,
            message=body.message,
            agent=None,
            token_budget=body.token_budget,
            model=body.model,
            as_of=as_of,
        )
        return assistant.context_manager.assemble(request, scope)
    turn = Turn(
        conversation_id=body.conversation_id,
        message=body.message,
        agent=body.agent,
        model=body.model,
        token_budget=body.token_budget if "token_budget" in body.model_fields_set else None,
    )
    return assistant.prompt_of(turn, scope, as_of=as_of)


@router.get("/contexts/{manifest_id}")
def kept_context(manifest_id: str, services: ServicesDep, scope: ScopeDep) -> Response:
    """The same messages, byte for byte, with their manifest."""
    messages, manifest = services.assistant.context_manager.load(scope, manifest_id)
    rest = {"tokens": manifest["tokens"], "manifest_id": manifest_id, "manifest": manifest}
    tail = json.dumps(rest, ensure_ascii=False, separators=(",", ":"))
    # The stored bytes go out as they are: parsing and writing them again could change them.
    return Response(f'{{"messages":{messages},{tail[1:]}'.encode(), media_type="application/json")
