"""Chat Completions: asks the primary model, then the fallback, at once or as a stream. The one door to openai."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from assistant.costs import Usage
from assistant.error_handler import ErrorHandler, TurnBudget
from assistant.errors import ModelBrokeOff, ModelFailed
from assistant.settings import Settings
from memory_engine.models import random_id

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: Told each piece of text as it comes.
OnText = Callable[[str], Awaitable[None]]
#: Models that reason take no temperature.
_REASONING = ("o1", "o3", "o4", "gpt-5")


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


class ResponseGenerator:
    """Asks any Chat Completions server."""

    def __init__(self, settings: Settings, errors: ErrorHandler) -> None:
        self._settings = settings
        self._errors = errors
        # A client belongs to the loop that its connections were made in.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    def models(self, wanted: str | None) -> list[str]:
        """The models that are asked, in order, by the names that the server knows."""
        names = (wanted or self._settings.default_model, self._settings.fallback_model)
        return [self._settings.model_aliases.get(name, name) for name in names]

    async def generate(self, request: ModelRequest, budget: TurnBudget, on_text: OnText | None = None) -> Generated:
        """The reply of the model, or of the fallback where it fails.

        Args:
            request: what is asked.
            budget: the turn's; every attempt is noted in it.
            on_text: told the text piece by piece; then the reply is streamed.

        Raises:
            ModelBrokeOff: a reply ended in the middle after some of it was told.
            ModelError: neither answered.
        """
        client = self._client()

        async def ask(name: str) -> tuple[Generated, Usage | None]:
            arguments = _arguments(request, name, min(self._settings.model_timeout, max(0.1, budget.left)))
            if on_text is None:
                answered = _of_completion(await client.chat.completions.create(**arguments), name)
            else:
                streamed = {**arguments, "stream": True, "stream_options": {"include_usage": True}}
                answered = await _of_stream(await client.chat.completions.create(**streamed), name, on_text)
            return answered, answered.usage

        answered, _ = await self._errors.call(self.models(request.model), ask, budget)
        return answered

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
    if request.temperature is not None and not model.startswith(_REASONING):
        arguments["temperature"] = request.temperature
    if request.response_format is not None:
        arguments["response_format"] = dict(request.response_format)
    return arguments


def _of_completion(completion: Any, model: str) -> Generated:
    choices = getattr(completion, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise ModelFailed("The model's server sent a reply without a message.")
    message = choices[0].message
    return Generated(
        text=message.content or message.refusal or "",
        model=model,
        tool_calls=tuple(_call(call.id, call.function) for call in message.tool_calls or () if call.type == "function"),
        usage=_usage(completion.usage),
    )


async def _of_stream(stream: Any, model: str, on_text: OnText) -> Generated:
    """Put a reply together from its pieces."""
    pieces: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    usage, ended = None, False
    try:
        async for chunk in stream:
            usage = _usage(getattr(chunk, "usage", None)) or usage
            for choice in chunk.choices or ():
                ended = ended or choice.finish_reason is not None
                text = choice.delta.content or choice.delta.refusal or ""
                for call in choice.delta.tool_calls or ():
                    _add_call(calls, call)
                if text:
                    pieces.append(text)
                    await on_text(text)
    except Exception as exc:
        raise _broke_off(pieces, exc) from exc
    if not ended:
        raise _broke_off(pieces, ModelFailed("The model's server ended the reply in the middle."))
    made = tuple(_call(call["id"], call) for _, call in sorted(calls.items()))
    return Generated(text="".join(pieces), model=model, tool_calls=made, usage=usage)


def _broke_off(pieces: list[str], exc: Exception) -> Exception:
    """What is raised: the error itself, as long as nothing was told, so that the model can be asked again."""
    if not pieces:
        return exc
    error = ModelBrokeOff("The reply broke off; what came of it is kept.")
    error.text = "".join(pieces)
    return error


def _add_call(calls: dict[int, dict[str, str]], piece: Any) -> None:
    call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
    call["id"] = piece.id or call["id"]
    if piece.function is not None:
        call["name"] += piece.function.name or ""
        call["arguments"] += piece.function.arguments or ""


def _call(call_id: str, function: Any) -> dict[str, Any]:
    named = function if isinstance(function, dict) else {"name": function.name, "arguments": function.arguments}
    shown = {"name": named["name"] or "", "arguments": named["arguments"] or ""}
    # Some servers give calls no id, and an answer must name one.
    return {"id": call_id or random_id("call"), "type": "function", "function": shown}


def _usage(usage: Any) -> Usage | None:
    if usage is None:
        return None
    return Usage(prompt_tokens=usage.prompt_tokens or 0, completion_tokens=usage.completion_tokens or 0)
