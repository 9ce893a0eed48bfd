"""Chat Completions: asks the primary model, then the fallback, at once or as a stream. The one door to openai.

Which parameters a model refuses is learned from its errors and remembered for the process.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx2

from assistant.costs import Usage
from assistant.error_handler import ErrorHandler, TurnBudget
from assistant.errors import ModelBrokeOff, ModelFailed
from assistant.model_names import ModelNames
from assistant.model_reply import ModelReply, StreamedReply, WholeCharacters
from assistant.settings import Settings
from memory_engine.lenient_parsing import storable_text

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: Told each piece of text as it comes.
OnText = Callable[[str], Awaitable[None]]
#: Called with the name of a model before it is asked; what it raises is raised.
BeforeCall = Callable[[str], Awaitable[None]]
#: Parameters that a request can do without, and the codes by which a server refuses one.
_DISPENSABLE = frozenset({"temperature", "stream_options"})
_REFUSED = frozenset({"unsupported_parameter", "unsupported_value"})


async def _at_once(_model: str) -> None:
    """Let every call be made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """What a model is asked."""

    messages: Sequence[dict[str, Any]]
    #: The default model unless given.
    model: str | None = None
    tools: Sequence[dict[str, Any]] = ()
    temperature: float | None = None
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """What a model answered."""

    text: str
    model: str
    #: In the shape of Chat Completions.
    tool_calls: tuple[dict[str, Any], ...]
    usage: Usage | None
    #: What else came with it, such as its reasoning.
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ResponseGenerator:
    """Asks any Chat Completions server."""

    def __init__(self, settings: Settings, errors: ErrorHandler, names: ModelNames) -> None:
        self._settings = settings
        self._errors = errors
        self._names = names
        #: Parameters that each model was found to refuse.
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        # A client belongs to the loop that its connections were made in.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    async def generate(
        self,
        request: ModelRequest,
        budget: TurnBudget,
        on_text: OnText | None = None,
        before_call: BeforeCall = _at_once,
    ) -> Generated:
        """The reply of the model, or of the fallback where it fails.

        Args:
            request: what is asked.
            budget: the turn's; every attempt is noted in it.
            on_text: told the text piece by piece; then the reply is streamed.
            before_call: checks whether a model may be asked.

        Raises:
            ModelBrokeOff: a reply ended in the middle after some of it was told.
            ModelError: neither answered.
        """

        async def ask(name: str) -> tuple[Generated, Usage | None]:
            await before_call(name)
            answered = await self._asked(request, name, budget, on_text)
            return answered, answered.usage

        wanted = (request.model or self._settings.default_model, self._settings.fallback_model)
        models = [await self._names.called(name) for name in wanted]
        answered, _ = await self._errors.call(models, ask, budget, self._names.replacement)
        return answered

    async def _asked(self, request: ModelRequest, model: str, budget: TurnBudget, on_text: OnText | None) -> Generated:
        """Ask one model, and again without a parameter that it refuses."""
        from openai import BadRequestError  # takes most of a second

        while True:
            arguments = _arguments(request, model, min(self._settings.model_timeout, max(0.1, budget.left)))
            if on_text is not None:
                arguments |= {"stream": True, "stream_options": {"include_usage": True}}
            sent = {name: value for name, value in arguments.items() if name not in self._refused[model]}
            try:
                return await self._sent(sent, on_text)
            except BadRequestError as exc:
                if exc.code not in _REFUSED or exc.param not in _DISPENSABLE & sent.keys():
                    raise
                self._refused[model].add(exc.param)

    async def _sent(self, arguments: Mapping[str, Any], on_text: OnText | None) -> Generated:
        # The SDK's own reader of streams cuts lines at what is text, and stops at calls without an index.
        async with self._client().chat.completions.with_streaming_response.create(**arguments) as response:
            is_stream = "text/event-stream" in response.headers.get("content-type", "")
            if on_text is not None and is_stream:
                return await _streamed(response, arguments["model"], on_text)
            return await _whole(response, arguments["model"])

    def _client(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI  # takes most of a second

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = AsyncOpenAI(
                api_key=self._settings.openai_api_key or "none",
                base_url=self._settings.openai_base_url,
                max_retries=0,  # the ErrorHandler makes the only retries
            )
        return self._clients[loop]


def _arguments(request: ModelRequest, model: str, timeout: float) -> dict[str, Any]:
    # The SDK looks through every message and schema for what it might have to rewrite, which takes longer than the
    # prompt did; what goes beside its own arguments goes as it is.
    as_it_is: dict[str, Any] = {"messages": list(request.messages)}
    if request.tools:
        as_it_is["tools"] = list(request.tools)
    arguments: dict[str, Any] = {"model": model, "messages": [], "extra_body": as_it_is, "timeout": timeout}
    if request.temperature is not None:
        arguments["temperature"] = request.temperature
    if request.response_format is not None:
        arguments["response_format"] = dict(request.response_format)
    return arguments


async def _whole(response: Any, model: str) -> Generated:
    reply = ModelReply.of_body(await response.read())
    if reply.first.whole is None:
        raise ModelFailed(_said_of(reply) or "The model's server sent a reply without a message.")
    return _generated(reply, model)


async def _streamed(response: Any, model: str, on_text: OnText) -> Generated:
    """Put a reply together from its pieces."""
    streamed, characters, told = StreamedReply(), WholeCharacters(), list[str]()
    try:
        async for piece in response.iter_bytes():
            await _tell(map(characters.add, streamed.feed(piece)), told, on_text)
        await _tell([*map(characters.add, streamed.end()), characters.end()], told, on_text)
    except httpx2.HTTPError as exc:
        raise _broke_off(told, ModelFailed("The connection to the model's server broke.")) from exc
    reply = streamed.reply
    if reply.error is not None:
        raise _broke_off(told, ModelFailed(_said_of(reply)))
    if not (reply.first.is_complete or (streamed.has_ended and reply.choices)):
        raise _broke_off(told, ModelFailed("The model's server ended the reply in the middle."))
    return _generated(reply, model)


async def _tell(texts: Iterable[str], told: list[str], on_text: OnText) -> None:
    for text in filter(None, texts):
        told.append(text)
        await on_text(text)


def _generated(reply: ModelReply, model: str) -> Generated:
    """The first answer, as it can be stored: what a model says is checked as what a client says is."""
    said = reply.first.stored(set(), {})
    calls = () if said is None else said.tool_calls or ()
    content = reply.first.message.get("content")
    # A text too long to be stored is the client's all the same.
    text = storable_text(content) if said is None and isinstance(content, str) else ""
    return Generated(
        text=text if said is None else said.text,
        model=model,
        tool_calls=tuple(_call(call) for call in calls if isinstance(call.get("function"), Mapping)),
        usage=reply.usage,
        metadata={} if said is None else {name: value for name, value in said.metadata.items() if name != "incomplete"},
    )


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    shown = {name: function[name] if isinstance(function.get(name), str) else "" for name in ("name", "arguments")}
    return {"id": call["id"], "type": "function", "function": shown}


def _said_of(reply: ModelReply) -> str:
    """What the server says of an error that it sent in place of a reply."""
    said = None if reply.error is None else reply.error.get("message")
    return f"The model's server failed: {said}" if isinstance(said, str) else ""


def _broke_off(pieces: list[str], exc: Exception) -> Exception:
    """What is raised: the error itself, as long as nothing was told, so that the model can be asked again."""
    if not pieces:
        return exc
    error = ModelBrokeOff("The reply broke off; what came of it is kept.")
    error.text = "".join(pieces)
    return error
