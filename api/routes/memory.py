"""/v1/memory: remember, recall, conversations, stats."""

import time
from dataclasses import asdict
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api.access import ADMIN
from api.caller import Caller
from api.deps import CallerDep, NamespaceDep, PageDep, ScopeDep, ServicesDep
from api.errors import RequestRefused
from api.lanes import LaneRoute
from api.schemas.memory import (
    Branches,
    ConversationOut,
    EditIn,
    FateOut,
    MessageOut,
    RecallIn,
    RecallOut,
    ReindexedOut,
    ReindexIn,
    ReindexingOut,
    RememberIn,
    RememberOut,
    WhyNotIn,
    conversation_out,
    hit_out,
    message_out,
    summary_out,
    support_out,
)
from assistant import budget_fates, within_budget
from memory_engine import RecallQuery, Scope
from memory_engine.times import parse_time

router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=LaneRoute)


@router.post("/messages", status_code=201)
def remember(body: RememberIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep) -> RememberOut:
    """Keep messages: durable when answered, recallable at once, in the order given.

    Messages are taken as the openai SDK dumps them. A refused call stores nothing and lists every wrong message in
    `error.details`; with `"on_invalid": "skip"` the others are stored and the wrong ones are listed in `skipped`.
    """
    body = caller.limits.fitted(body)
    kept = services.engine.remember(
        body.conversation_id,
        body.messages,
        scope=Scope(namespace=namespace, user=body.user),
        agent=body.agent,
        on_invalid=body.on_invalid,
    )
    return RememberOut.model_validate(kept, from_attributes=True)


@router.post("/recall", response_model_exclude_none=False)
def recall(body: RecallIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep) -> RecallOut:
    """The messages that speak to the query, best first; nothing relevant gives an empty list.

    With `"scope": "namespace"`, which takes a key of the scope `admin`, every user's messages.
    """
    body = caller.limits.fitted(body)
    scope = _scope(body, caller, namespace)
    started = time.perf_counter()
    engine = services.engine
    if scope is None:
        found = engine.across_users.search(namespace, _query(body))
    else:
        found = engine.search(_query(body), scope=scope)
    hits = list(found.hits)
    if body.token_budget is not None:
        hits = within_budget(hits, body.token_budget, services.assistant.counter)
    took = (time.perf_counter() - started) * 1000
    funnel = dict(found.funnel, returned=len(hits)) if body.explain else None
    support = engine.across_users.support(namespace, hits) if scope is None else engine.support(hits, scope=scope)
    return RecallOut(
        hits=[hit_out(hit, hit.user if scope is None else scope.user) for hit in hits],
        support=[support_out(summary) for summary in support],
        took_ms=round(took, 3),
        funnel=funnel,
        notice=found.notice,
    )


@router.post("/recall/why-not")
def why_not(body: WhyNotIn, services: ServicesDep, caller: CallerDep, namespace: NamespaceDep) -> FateOut:
    """At which stage a message falls out when the question is asked, and by how much."""
    body = caller.limits.fitted(body)
    if body.scope is not None:
        raise RequestRefused(400, "why-not asks one user's memory.", code="not_implemented", param="scope")
    engine, scope = services.engine, Scope(namespace=namespace, user=body.user)
    fate = engine.why_not(_query(body), body.message_id, scope=scope)
    if fate.stage == "returned" and body.token_budget is not None:
        hits = engine.search(_query(body), scope=scope).hits
        packed = budget_fates(hits, body.token_budget, services.assistant.counter)
        fate = next((left for hit, left in packed if left and hit.message_id == body.message_id), fate)
    return FateOut(
        message_id=body.message_id, stage=fate.stage, detail=fate.detail, figures=dict(fate.figures), why=dict(fate.why)
    )


@router.get("/conversations")
def conversations(
    services: ServicesDep,
    scope: ScopeDep,
    page: PageDep,
    q: Annotated[str | None, Query(max_length=1000)] = None,
    agent: Annotated[str | None, Query(max_length=256)] = None,
) -> dict[str, Any]:
    """Conversations in the order in which they were opened, newest first unless asked otherwise."""
    rows, has_more = services.engine.history.conversations(page, scope=scope, q=q, agent=agent)
    return _listed([conversation_out(row) for row in rows], "conversation_id", has_more)


@router.get("/conversations/{conversation_id:path}/messages")
def conversation_messages(
    conversation_id: str, services: ServicesDep, scope: ScopeDep, page: PageDep, branches: Branches = "active"
) -> dict[str, Any]:
    """A conversation's messages by their order, newest first unless asked otherwise.

    Abandoned branches are listed with `branches=all` only.
    """
    rows, has_more = services.engine.history.messages(
        conversation_id, page, all_branches=branches == "all", scope=scope
    )
    return _listed([message_out(row) for row in rows], "message_id", has_more)


@router.get("/conversations/{conversation_id:path}/summaries")
def conversation_summaries(conversation_id: str, services: ServicesDep, scope: ScopeDep) -> dict[str, Any]:
    """What was said in few words: the conversation's summary first, then those of its segments in order."""
    found = services.engine.history.summaries(conversation_id, scope=scope)
    return _listed([summary_out(summary) for summary in found], "summary_id", has_more=False)


@router.get("/conversations/{conversation_id:path}")
def conversation(conversation_id: str, services: ServicesDep, scope: ScopeDep) -> ConversationOut:
    """One conversation."""
    return conversation_out(services.engine.history.conversation(conversation_id, scope=scope))


@router.get("/stats")
def stats(services: ServicesDep, namespace: NamespaceDep) -> dict[str, int]:
    """How much the namespace holds, by stratum."""
    found = services.engine.stats(namespace)
    return {name: getattr(found, name) for name in found.__slots__}


@router.post("/doctor")
def doctor(services: ServicesDep, repair: bool = False) -> dict[str, Any]:
    """Check that what is derived matches the messages, and mend it where asked."""
    return {"findings": services.examined(repair=repair)}


@router.post("/backup")
def backup(services: ServicesDep) -> StreamingResponse:
    """A copy of every namespace, as a file that `memory-engine restore` reads; for this machine's commands."""
    pieces = services.engine.backup()
    first = next(pieces)  # a store that does not answer says so before the answer has begun
    return StreamingResponse(chain([first], pieces), media_type="application/zip")


@router.post("/reindex")
def reindex(body: ReindexIn, services: ServicesDep) -> ReindexedOut:
    """Embed every message with another embedder and then use it; the present one serves until that is done."""
    done = services.engine.reindex(body.embedder, rollback=body.rollback)
    return ReindexedOut(embedder=done.embedder, before=done.before, embedded=done.embedded)


@router.get("/reindex")
def reindexing(services: ServicesDep) -> ReindexingOut:
    """How far the reindexing under way is."""
    running = services.engine.reindexing
    return ReindexingOut() if running is None else ReindexingOut(running=True, **asdict(running))


@router.patch("/messages/{message_id:path}")
def edit(message_id: str, body: EditIn, services: ServicesDep, namespace: NamespaceDep) -> MessageOut:
    """Give a message another content or other metadata; what it said before is kept as a version."""
    changed = body.model_dump(exclude_unset=True, include={"content", "metadata"})
    if not changed:
        raise RequestRefused(400, "Name the content or the metadata that is to change.", code="invalid_value")
    return message_out(services.engine.edit(message_id, changed, scope=Scope(namespace=namespace, user=body.user)))


def _scope(body: RecallIn, caller: Caller, namespace: str) -> Scope | None:
    """Whose memory is asked; None for every user's of the namespace."""
    if body.scope is None:
        return Scope(namespace=namespace, user=body.user)
    caller.require(ADMIN)
    if body.user is not None:
        text = "Name a user or the scope namespace, not both."
        raise RequestRefused(400, text, code="invalid_value", param="scope")
    return None


def _query(body: RecallIn) -> RecallQuery:
    times = {
        name: None if value is None else parse_time(value, name)
        for name, value in (("after", body.after), ("before", body.before), ("as_of", body.as_of))
    }
    return RecallQuery(
        text=body.query,
        k=body.k,
        conversation_id=body.conversation_id,
        exclude_conversation_ids=tuple(body.exclude_conversation_ids),
        roles=tuple(body.roles),
        agent=body.agent,
        metadata=body.metadata,
        min_score=body.min_score,
        explain=body.explain,
        all_branches=body.branches == "all",
        after=times["after"],
        before=times["before"],
        as_of=times["as_of"],
    )


def _listed(rows: list[Any], id_field: str, has_more: bool) -> dict[str, Any]:
    ids = [getattr(row, id_field) for row in rows]
    return {
        "object": "list",
        "data": [row.model_dump(mode="json") for row in rows],
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }
