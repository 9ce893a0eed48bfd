"""Chat Completions: asks the primary model, then the fallback. The one door to the openai package."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assistant.error_handler import Attempt, ErrorHandler
from assistant.errors import ModelFailed
from assistant.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """What a model answered."""

    text: str
    model: str
    tool_calls: tuple[dict[str, Any], ...]
    usage: dict[str, int] | None
    attempts: tuple[Attempt, ...]


class ResponseGenerator:
    """Asks any Chat Completions server."""

    def __init__(self, settings: Settings, errors: ErrorHandler) -> None:
        self._settings = settings
        self._errors = errors

    async def generate(self, messages: Sequence[dict[str, Any]], model: str | None = None) -> Generated:
        """The reply of the model, or of the fallback where it fails.

        Raises:
            ModelError: neither answered.
        """
        from openai import AsyncOpenAI  # takes most of a second

        settings = self._settings
        asked = model or settings.default_model
        names = [settings.model_aliases.get(name, name) for name in (asked, settings.fallback_model)]
        async with AsyncOpenAI(
            api_key=settings.openai_api_key or "none",
            base_url=settings.openai_base_url,
            timeout=settings.model_timeout,
            max_retries=0,  # the ErrorHandler makes the only retries
        ) as client:

            async def ask(name: str) -> Any:
                completion = await client.chat.completions.create(model=name, messages=list(messages))  # type: ignore[arg-type]
                choices = getattr(completion, "choices", None)
                if not choices or getattr(choices[0], "message", None) is None:
                    raise ModelFailed("The model's server sent a reply without a message.")
                return completion

            completion, name, attempts = await self._errors.call(names, ask)
        message = completion.choices[0].message
        return Generated(
            text=message.content or "",
            model=name,
            tool_calls=tuple(call.model_dump() for call in message.tool_calls or ()),
            usage=None if completion.usage is None else _usage(completion.usage),
            attempts=tuple(attempts),
        )


def _usage(usage: Any) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: getattr(usage, name) for name in names}
