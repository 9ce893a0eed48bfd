"""/v1/chat/completions and /v1/models: OpenAI's shapes, passed on, with memory where a conversation is named."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.deps import CallerDep, NamespaceDep, ServicesDep
from api.errors import RequestRefused
from api.services import Services
from api.streaming import go_on
from assistant.chat_proxy import ChatProxy, Passed, Prepared
from assistant.chat_request import check_read, check_whole
from assistant.errors import ModelUnreachable
from assistant.offline_responder import OFFLINE_MODEL, offline_reply, quoted_hits
from memory_engine import NewMessage, Scope
from memory_engine.models import random_id

router = APIRouter(prefix="/v1", tags=["chat"])

#: What ends a streamed reply.
_STREAM_END = b"data: [DONE]"


@router.post("/chat/completions")
async def chat_completions(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    namespace: NamespaceDep,
    x_conversation_id: Annotated[str | None, Header(description="The conversation that is remembered.")] = None,
) -> Response:
    """The model's own answer, byte for byte; with a conversation, memory is in the prompt and the turn is kept."""
    body = await _body(request, has_model=services.settings.has_model)
    if body.get("stream") is True:
        request.state.at_end.callback(services.meter.open_stream(caller.name, caller.limits))
    scope = Scope(namespace=namespace, user=body.get("user"))
    proxy = services.assistant.chat_proxy
    prepared = await to_thread.run_sync(lambda: proxy.prepare(body, x_conversation_id, scope))
    remembering = prepared.remembering
    headers = {"x-memory-manifest": remembering.manifest_id} if remembering and remembering.manifest_id else {}
    if not services.settings.has_model:
        answer = await to_thread.run_sync(lambda: _offline(services, prepared, scope))
        answer.headers.update(headers)
        return answer
    passed = await proxy.forward(prepared)
    if passed.headers.get("content-type", "").startswith("text/event-stream"):
        content = _as_it_comes(proxy, prepared, passed)
        return StreamingResponse(content, passed.status, headers={**passed.headers, **headers})
    heard = b"".join([piece async for piece in passed.read()])
    await _remember(proxy, prepared, passed, heard, streamed=False)
    return Response(heard, passed.status, headers={**passed.headers, **headers})


@router.get("/models")
async def models(services: ServicesDep) -> Response:
    """The models of the server behind, or the names that the settings know."""
    if services.settings.has_model:
        passed = await services.assistant.chat_proxy.models()
        return StreamingResponse(passed.read(), passed.status, headers=passed.headers)
    return JSONResponse({"object": "list", "data": [_model(name) for name in _names(services)]})


@router.get("/models/{model:path}")
def model(model: str, services: ServicesDep) -> dict[str, Any]:
    """One of the names that the settings know."""
    if model not in _names(services):
        raise RequestRefused(404, f"The model {model!r} does not exist.", code="model_not_found", param="model")
    return _model(model)


async def _body(request: Request, *, has_model: bool) -> dict[str, Any]:
    """The body, of which what is read here is right; where no model's server judges the rest, that too."""
    try:
        body = json.loads(await request.body())
    except ValueError as exc:
        raise RequestRefused(400, "The body is not JSON.", code="invalid_json") from exc
    if not isinstance(body, dict):
        raise RequestRefused(400, "The body must be an object.", code="invalid_value")
    check_read(body)
    if not has_model:
        check_whole(body)
    return body


async def _remember(proxy: ChatProxy, prepared: Prepared, passed: Passed, heard: bytes, *, streamed: bool) -> None:
    remembering = prepared.remembering
    if remembering is not None and passed.status == 200:
        await to_thread.run_sync(lambda: proxy.remember_reply(remembering, heard, streamed=streamed))


async def _as_it_comes(proxy: ChatProxy, prepared: Prepared, passed: Passed) -> AsyncIterator[bytes]:
    """The pieces of a stream; what they were is kept before the last of them goes, also when the client left before.

    Who has read the end of a reply and asks again at once must find it remembered.
    """
    heard, kept = bytearray(), False

    async def keep() -> None:
        nonlocal kept
        if not kept:
            kept = True
            await _remember(proxy, prepared, passed, bytes(heard), streamed=True)

    try:
        async for piece in passed.read():
            heard += piece
            if _STREAM_END in heard[-len(piece) - len(_STREAM_END) :]:
                await keep()
            yield piece
    except ModelUnreachable:
        await keep()
        raise
    else:
        await keep()
    finally:
        go_on(keep())


def _offline(services: Services, prepared: Prepared, scope: Scope) -> Response:
    """A reply of the offline responder in OpenAI's shape; what it quotes is not remembered as new."""
    recalled = () if prepared.remembering is None else prepared.remembering.recalled
    text = offline_reply(recalled)
    if prepared.remembering is not None:
        kept = NewMessage(
            role="assistant", text=text, recallable=False,
            metadata={"model": OFFLINE_MODEL, "manifest_id": prepared.remembering.manifest_id},
            quotes=tuple(hit.message_id for hit in quoted_hits(recalled)),
        )  # fmt: skip
        services.engine.remember(prepared.remembering.conversation_id, [kept], scope=scope)
    asked = prepared.body.get("n") or 1  # the same reply so many times: there is no other
    shape = {"id": random_id("chatcmpl"), "created": int(time.time()), "model": OFFLINE_MODEL}
    if prepared.body.get("stream") is True:
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
