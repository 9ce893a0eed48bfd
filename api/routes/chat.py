"""/v1/chat/completions and /v1/models: OpenAI's shapes, passed on, with memory where a conversation is named."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.deps import CallerDep, NamespaceDep, ServicesDep
from api.errors import RequestRefused
from api.lanes import LaneRoute
from api.services import Services
from api.streaming import go_on
from assistant.chat_proxy import Heard, Prepared
from assistant.chat_request import check_whole, read_request
from assistant.errors import ModelUnreachable
from assistant.lanes import Lane
from assistant.model_server import Answered
from assistant.offline_responder import OFFLINE_MODEL, offline_reply, quoted_hits
from memory_engine import NewMessage, Scope
from memory_engine.models import random_id

T = TypeVar("T")

router = APIRouter(prefix="/v1", tags=["chat"], route_class=LaneRoute)

#: Seconds that a request waits for its memory, and an answer for being stored; then it goes on without.
_PATIENCE, _LAST_WAIT = 10.0, 3.0
#: Names what is known not to be stored, as codes.
_NOTICE = "x-memory-notice"


@router.post("/chat/completions")
async def chat_completions(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    namespace: NamespaceDep,
    x_conversation_id: Annotated[str | None, Header(description="The conversation that is remembered.")] = None,
    x_memory_history: Annotated[
        str | None, Header(description="Whose history counts: `client` or `stored`. Default: what the client sends.")
    ] = None,
) -> Response:
    """The model's own answer, byte for byte; with a conversation, memory is in the prompt and the turn is stored."""
    raw = await request.body()
    body = _parsed(raw)
    if not services.settings.has_model:
        check_whole(body)
    if body.get("stream") is True:
        request.state.at_end.callback(services.meter.open_stream(caller.name, caller.limits))
    asked = read_request(raw, body, x_conversation_id, x_memory_history)
    scope = Scope(namespace=namespace, user=asked.user)
    proxy = services.assistant.chat_proxy
    lanes = services.lanes
    candidates = await proxy.candidates(asked)
    model = candidates.model
    prepared = await _in_time(lanes.compute, lambda: proxy.prepare(asked, scope, model), namespace, _PATIENCE)
    if prepared is None:
        prepared = proxy.without_memory(asked, scope, model, "memory_timeout")
    if not services.settings.has_model:
        answer = await lanes.write.run(lambda: _offline(services, prepared), namespace)
        answer.headers.update(_about(prepared, prepared.notices))
        return answer
    if proxy.has_caps:
        candidates = await lanes.compute.run(lambda: proxy.within_caps(prepared, candidates), namespace)
    started = time.monotonic()
    answered = await proxy.server.ask(prepared.changed, prepared.plain, candidates)
    heard = Heard(proxy, prepared, answered, started)
    if answered.passed.is_stream:
        headers = {**answered.passed.headers, **_about(prepared, _notices(prepared, answered))}
        content = _as_it_comes(answered, heard, lambda: _in_time(lanes.write, heard.stored, namespace, _LAST_WAIT))
        return StreamingResponse(content, answered.passed.status, headers=headers)
    whole = b"".join([piece async for piece in answered.passed.read()])
    failed = await _in_time(lanes.write, lambda: heard.whole(whole), namespace, _LAST_WAIT)
    notices = _notices(prepared, answered) | ({"answer_late"} if failed is None else failed)
    headers = {**answered.passed.headers, **_about(prepared, notices)}
    return Response(whole, answered.passed.status, headers=headers)


@router.get("/models")
async def models(services: ServicesDep) -> Response:
    """The models of the server behind, or the names that the settings know."""
    if services.settings.has_model:
        passed = await services.assistant.chat_proxy.server.models()
        return StreamingResponse(passed.read(), passed.status, headers=passed.headers)
    return JSONResponse({"object": "list", "data": [_model(name) for name in _names(services)]})


@router.get("/models/{model:path}")
def model(model: str, services: ServicesDep) -> dict[str, Any]:
    """One of the names that the settings know."""
    if model not in _names(services):
        raise RequestRefused(404, f"The model {model!r} does not exist.", code="model_not_found", param="model")
    return _model(model)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise RequestRefused(400, "The body is not valid JSON.", code="invalid_json") from exc
    if not isinstance(body, dict):
        raise RequestRefused(400, "The body must be a JSON object.", code="invalid_value")
    return body


async def _in_time(lane: Lane, work: Callable[[], T], whose: str, seconds: float) -> T | None:
    """What the work gives, or None where it takes longer; it then goes on by itself.

    A client must have its answer also while the store is locked or loading.
    """
    task = asyncio.ensure_future(lane.run(work, whose))
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if done:
        return task.result()
    go_on(_finished(task))
    return None


async def _finished(task: "asyncio.Future[Any]") -> None:
    """Wait for work that took too long. What it raises was counted where it was raised."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _notices(prepared: Prepared, answered: Answered) -> frozenset[str]:
    left_out = prepared.plain is not None and not answered.as_changed
    return prepared.notices | {"memory_left_out"} if left_out else prepared.notices


def _about(prepared: Prepared, notices: "frozenset[str] | set[str]") -> dict[str, str]:
    """Headers that say what the memory did."""
    remembering = prepared.remembering
    manifest = remembering.manifest_id if remembering is not None else ""
    shown = {"x-memory-manifest": manifest} if manifest and "memory_left_out" not in notices else {}
    return {**shown, _NOTICE: ",".join(sorted(notices))} if notices else shown


async def _as_it_comes(
    answered: Answered, heard: Heard, store: Callable[[], Awaitable[object]]
) -> AsyncIterator[bytes]:
    """The pieces of a stream; what they were is stored before the last of them goes, also when the client left before.

    Who has read the end of a reply and asks again at once must find it remembered.
    """
    stored = False

    async def store_once() -> None:
        nonlocal stored
        if not stored:
            stored = True
            await store()

    try:
        async for piece in answered.passed.read():
            if heard.feed(piece):
                await store_once()
            yield piece
    except ModelUnreachable:
        await store_once()
        raise
    else:
        await store_once()
    finally:
        go_on(store_once())


def _offline(services: Services, prepared: Prepared) -> Response:
    """A reply of the offline responder in OpenAI's shape; what it quotes is not remembered as new."""
    remembering, body = prepared.remembering, prepared.request.body
    recalled = () if remembering is None else remembering.recalled
    text = offline_reply(recalled)
    if remembering is not None:
        kept = NewMessage(
            role="assistant", text=text, recallable=False,
            metadata={"model": OFFLINE_MODEL, "manifest_id": remembering.manifest_id},
            quotes=tuple(hit.message_id for hit in quoted_hits(recalled)),
        )  # fmt: skip
        following = services.engine.following
        following.answer(remembering.conversation_id, [kept], after=remembering.after, scope=remembering.scope)
    asked = body.get("n") or 1  # n copies of one reply: there is no other
    shape = {"id": random_id("chatcmpl"), "created": int(time.time()), "model": OFFLINE_MODEL}
    if body.get("stream") is True:
        told = [
            {"index": number, "delta": delta, "finish_reason": reason}
            for number in range(asked)
            for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop"))
        ]
        chunks = [{**shape, "object": "chat.completion.chunk", "choices": [choice]} for choice in told]
        frames = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return Response(frames, media_type="text/event-stream")
    message = {"role": "assistant", "content": text}
    choices = [{"index": number, "message": message, "finish_reason": "stop"} for number in range(asked)]
    return JSONResponse({**shape, "object": "chat.completion", "choices": choices})


def _names(services: Services) -> list[str]:
    settings = services.settings
    return list(dict.fromkeys([settings.default_model, settings.fallback_model, *settings.model_aliases]))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "memory-engine"}
