"""Which of a model's errors is retried, which falls back to the other model, and which is told at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from assistant.errors import (
    ModelContextTooLong,
    ModelError,
    ModelFailed,
    ModelNotFound,
    ModelOutOfQuota,
    ModelRefusedKey,
    ModelRejected,
    ModelUnreachable,
)

T = TypeVar("T")

#: Calls of one model within a turn, at the most.
_ATTEMPTS = 3
#: Seconds that a server may ask us to wait before we rather fall back.
_LONGEST_WAIT = 10.0
#: The other model may succeed where these failed.
_FALLS_BACK = (ModelUnreachable, ModelOutOfQuota, ModelNotFound, ModelFailed, ModelContextTooLong)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One call of a model and how it ended."""

    model: str
    #: The error's code, or None when it succeeded.
    error: str | None


class ErrorHandler:
    """Makes the only retries there are, within one budget of time, and records every attempt."""

    def __init__(self, *, turn_timeout: float) -> None:
        """Take the seconds that a whole turn may spend on its model."""
        self._turn_timeout = turn_timeout

    async def call(self, models: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> tuple[T, str, list[Attempt]]:
        """Ask the models in turn until one answers: the answer, the model, and every attempt.

        Raises:
            ModelError: none did; it is the last model's error.
        """
        attempts: list[Attempt] = []
        last: ModelError = ModelUnreachable()
        try:
            async with asyncio.timeout(self._turn_timeout):
                for model in dict.fromkeys(models):
                    try:
                        return await self._ask(model, ask, attempts), model, attempts
                    except _FALLS_BACK as exc:
                        last = exc
        except TimeoutError as exc:
            raise ModelUnreachable(f"No answer came within {self._turn_timeout:g} seconds.") from exc
        raise last

    async def _ask(self, model: str, ask: Callable[[str], Awaitable[T]], attempts: list[Attempt]) -> T:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                try:
                    answer = await ask(model)
                except Exception as exc:  # a vendor's errors stop here, whatever they are
                    error = translated(exc, model)
                    attempts.append(Attempt(model=model, error=error.code))
                    raise error from exc
                attempts.append(Attempt(model=model, error=None))
        return answer


def translated(exc: Exception, model: str) -> ModelError:
    """A vendor's error as one of ours."""
    import openai

    if isinstance(exc, ModelError):
        return exc
    if isinstance(exc, openai.APITimeoutError):
        return ModelUnreachable(f"The model {model!r} did not answer in time.")
    if isinstance(exc, openai.APIConnectionError):
        return ModelUnreachable("No connection to the model's server.")
    if isinstance(exc, openai.APIStatusError):
        return _of_status(exc, model)
    if isinstance(exc, openai.OpenAIError | ValueError):  # the SDK lets through what json says of a body
        return ModelFailed(f"The model's server sent what cannot be read: {exc}")
    raise exc


def _of_status(exc: Any, model: str) -> ModelError:
    status, code = exc.status_code, exc.code
    if code == "context_length_exceeded":
        return ModelContextTooLong(f"The prompt is longer than the model {model!r} takes.")
    if status in (401, 403):
        return ModelRefusedKey()
    if status == 404:
        return ModelNotFound(f"The model's server has no model {model!r}.")
    if status == 429:
        error = ModelOutOfQuota()
        error.final = code == "insufficient_quota"
        error.retry_after = _seconds(exc.response.headers.get("retry-after"))
        return error
    if status in (408, 409) or status >= 500:
        return ModelFailed(f"The model's server failed with status {status}.")
    return ModelRejected(f"The model's server calls the request wrong: {exc.message}")


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None


def _is_transient(exc: BaseException) -> bool:
    if isinstance(exc, ModelOutOfQuota):
        return not exc.final and (exc.retry_after or 0) <= _LONGEST_WAIT
    return isinstance(exc, ModelUnreachable | ModelFailed)


_backoff = wait_exponential_jitter(multiplier=0.25, max=4, jitter=0.25)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ModelOutOfQuota) and error.retry_after is not None:
        return error.retry_after
    return _backoff(state)
