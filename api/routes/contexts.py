"""/v1/memory/context and /contexts: prompts, assembled and kept."""

import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.deps import CallerDep, NamespaceDep, ScopeDep, ServicesDep
from api.lanes import LaneRoute
from api.schemas.memory import ContextIn
from assistant import PromptRequest
from assistant.agents import DEFAULT_AGENT
from memory_engine import Scope
from memory_engine.parsing import parse_time

router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=LaneRoute)


@router.post("/context")
def context(body: ContextIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep) -> dict[str, Any]:
    """Assemble the prompt that would be sent, and say why each part is there."""
    body = caller.limits.fitted(body)
    scope = Scope(namespace=namespace, user=body.user)
    agent = body.agent
    if "agent" not in body.model_fields_set:
        spoke_last = services.engine.history.current_agent(body.conversation_id, scope=scope)
        agent = spoke_last if spoke_last and services.assistant.agents.exists(spoke_last) else DEFAULT_AGENT
    request = PromptRequest(
        conversation_id=body.conversation_id,
        message=body.message,
        agent=agent,
        token_budget=body.token_budget,
        model=body.model,
        as_of=None if body.as_of is None else parse_time(body.as_of, "as_of"),
    )
    prompt = services.assistant.context_manager.assemble(request, scope)
    return {
        "messages": prompt.messages,
        "tokens": prompt.tokens,
        "manifest_id": prompt.manifest_id,
        "manifest": prompt.manifest,
    }


@router.get("/contexts/{manifest_id}")
def kept_context(manifest_id: str, services: ServicesDep, scope: ScopeDep) -> Response:
    """The same messages, byte for byte, with their manifest."""
    messages, manifest = services.assistant.context_manager.load(scope, manifest_id)
    rest = {"tokens": manifest["tokens"], "manifest_id": manifest_id, "manifest": manifest}
    tail = json.dumps(rest, ensure_ascii=False, separators=(",", ":"))
    # The stored bytes go out as they are: parsing and writing them again could change them.
    return Response(f'{{"messages":{messages},{tail[1:]}'.encode(), media_type="application/json")
