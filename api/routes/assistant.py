"""/v1/assistant: turns of a conversation, agents, and what tools and models did."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.deps import CallerDep, NamespaceDep, PageDep, ScopeDep, ServicesDep
from api.errors import RequestRefused
from api.lanes import LaneRoute
from api.schemas.assistant import AgentOut, ReplyOut, ToolCallOut, TurnIn
from api.streaming import stream_turn
from assistant import Turn
from assistant.storage import model_log, tool_log
from memory_engine import Scope
from memory_engine.models import from_micros, to_micros
from memory_engine.times import parse_time

router = APIRouter(prefix="/v1/assistant", tags=["assistant"], route_class=LaneRoute)


@router.post("/conversations/{conversation_id:path}/messages", response_model=ReplyOut)
async def say(
    conversation_id: str, body: TurnIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep
) -> Any:
    """Say something and get the assistant's reply, at once or as events; both are kept, and memory is in the prompt."""
    body = caller.limits.fitted(body)
    turn = Turn(
        conversation_id=conversation_id,
        message=body.message,
        agent=body.agent,
        model=body.model,
        token_budget=body.token_budget,
        confirmed_tools=body.confirmed_tools,
    )
    scope = Scope(namespace=namespace, user=body.user)
    if body.stream:
        ended = services.meter.open_stream(caller.name, caller.limits)
        return stream_turn(services.assistant, turn, scope, ended)
    reply = await services.assistant.answer(turn, scope)
    return ReplyOut.model_validate(reply, from_attributes=True)


@router.get("/agents")
def agents(services: ServicesDep) -> dict[str, Any]:
    """The agents that there are, and the versions of them that replies were made with."""
    rows = [
        AgentOut(
            name=agent.name,
            description=agent.settings.description,
            version=agent.version,
            model=agent.settings.model,
            temperature=agent.settings.temperature,
            tools=agent.settings.tools,
            versions=[
                {"version": row["version"], "first_used_at": from_micros(row["first_used_at"]), "prompt": row["prompt"]}
                for row in model_log.versions(services.engine, agent.name)
            ],
        )
        for agent in services.assistant.agents.all().values()
    ]
    names = [row.name for row in rows]
    return {"object": "list", "data": rows, "first_id": names[0], "last_id": names[-1], "has_more": False}


@router.get("/tool-calls")
def tool_calls(  # noqa: PLR0913  (one for each filter)
    services: ServicesDep,
    scope: ScopeDep,
    page: PageDep,
    conversation_id: str | None = None,
    tool: str | None = None,
    agent: str | None = None,
    status: Annotated[str | None, Query(pattern="^(started|ok|failed)$")] = None,
) -> dict[str, Any]:
    """What tools were called with and what came of it, newest first."""
    wanted = {"conversation_id": conversation_id, "tool": tool, "agent": agent, "status": status}
    rows, more = tool_log.list_calls(services.engine, scope, page, **wanted)
    data = [_tool_call(row) for row in rows]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


@router.get("/cost")
def cost(
    services: ServicesDep,
    scope: ScopeDep,
    start: Annotated[str | None, Query(alias="from")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
    by: str = "day",
) -> dict[str, Any]:
    """Tokens and dollars, against what sending the whole history every time would have taken."""
    if by not in model_log.GROUPS:
        raise RequestRefused(400, f"by must be one of {', '.join(model_log.GROUPS)}.", code="invalid_value", param="by")
    first = None if start is None else to_micros(parse_time(start, "from"))
    last = None if end is None else to_micros(parse_time(end, "to"))
    rows = services.assistant.ledger.costs(scope, first, last, by)
    return {"object": "list", "data": [_cost(row, by) for row in rows], "has_more": False}


def _tool_call(row: dict[str, Any]) -> ToolCallOut:
    duration = None if row["ended_at"] is None else (row["ended_at"] - row["started_at"]) / 1000
    started = from_micros(row["started_at"])
    return ToolCallOut.model_validate({**row, "id": row["log_id"], "started_at": started, "duration_ms": duration})


def _cost(row: dict[str, Any], by: str) -> dict[str, Any]:
    key = from_micros(int(row["key"])).date().isoformat() if by == "day" else row["key"]
    counts = {
        name: int(row[name] or 0) for name in ("calls", "failed", "estimated", "prompt_tokens", "completion_tokens")
    }
    dollars = None if row["cost"] is None else int(row["cost"]) / 1_000_000
    return {by: key, **counts, "cost": dollars, "whole_history_tokens": int(row["history_tokens"] or 0)}
