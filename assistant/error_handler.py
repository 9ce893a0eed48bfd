"""Which of a model's errors is retried, which falls back to the other model, and which is told at once.

| error | what is done |
|---|---|
| no connection, no answer in time, 408, 409, 5xx, nonsense | asked again after a growing wait, then the other model |
| 429 | asked again after the wait that it names, if that is short; then the other model |
| 429 for want of quota, 404 (the model is gone) | the other model at once; of a 404 first the one that replaces it |
| the prompt is too long | the prompt is made shorter by who called; then the other model |
| the reply broke off | told; what came is kept |
| 401, 403, refused, any other 4xx | told at once |
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from assistant.costs import Usage
from assistant.errors import (
    ModelBrokeOff,
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

#: Calls of one model for one reply, and of all models within a turn, at the most.
_ATTEMPTS, _MOST = 3, 24
#: Seconds that a server may ask us to wait before we rather fall back.
_LONGEST_WAIT = 10.0
#: The other model may succeed where these failed.
_FALLS_BACK = (ModelUnreachable, ModelOutOfQuota, ModelNotFound, ModelFailed)
_LIMIT = re.compile(r"maximum context length is ([\d,]+)|context (?:window|limit|length) of ([\d,]+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One call of a model and how it ended."""

    model: str
    #: The error's code, or None when it succeeded.
    error: str | None
    #: Seconds.
    latency: float
    #: None where it failed, or the server does not say.
    usage: Usage | None


@dataclass(kw_only=True, slots=True)
class TurnBudget:
    """What one turn may spend on models: time and attempts, over all its calls."""

    seconds: float
    #: `time.monotonic` when it ends.
    deadline: float
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()


class ErrorHandler:
    """Makes the only retries there are, within one budget of time and attempts, and records every attempt."""

    def __init__(self, *, turn_timeout: float) -> None:
        """Take the seconds that a whole turn may spend on its models."""
        self._turn_timeout = turn_timeout

    def begin(self) -> TurnBudget:
        """The budget of a turn that begins now."""
        return TurnBudget(seconds=self._turn_timeout, deadline=time.monotonic() + self._turn_timeout)

    async def call(
        self,
        models: Sequence[str],
        ask: Callable[[str], Awaitable[tuple[T, Usage | None]]],
        budget: TurnBudget,
        replacement: Callable[[str], str | None],
    ) -> tuple[T, str]:
        """Ask the models in turn until one answers: the answer, and the model.

        Args:
            models: the names to ask, in order.
            ask: asks one of them.
            budget: the turn's; every attempt is noted in it.
            replacement: names the model to ask next where the server has no such model, or gives None.

        Raises:
            ModelError: none did; it is the last model's error.
        """
        last: ModelError = ModelUnreachable()
        left, named = deque(dict.fromkeys(models)), set(models)
        try:
            async with asyncio.timeout(max(0.0, budget.left)):
                while left:
                    model = left.popleft()
                    try:
                        return await self._ask(model, ask, budget), model
                    except _FALLS_BACK as exc:
                        last = exc
                        other = replacement(model) if isinstance(exc, ModelNotFound) else None
                    if other is not None and other not in named:
                        named.add(other)
                        left.appendleft(other)
        except TimeoutError as exc:
            raise ModelUnreachable(f"No answer came within {budget.seconds:g} seconds.") from exc
        raise last

    async def _ask(self, model: str, ask: Callable[[str], Awaitable[tuple[T, Usage | None]]], budget: TurnBudget) -> T:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if len(budget.attempts) >= _MOST:
                    raise ModelRejected(f"The turn needed more than {_MOST} calls of a model.")
                started = time.monotonic()
                try:
                    answer, usage = await ask(model)
                except asyncio.CancelledError:  # the turn's time is over, or nobody wants it any more
                    _note(budget, model, "cancelled", started)
                    raise
                except Exception as exc:  # a vendor's errors stop here, whatever they are
                    error = translated(exc, model)
                    _note(budget, model, error.code, started)
                    raise error from exc
                _note(budget, model, None, started, usage)
        return answer


def _note(budget: TurnBudget, model: str, error: str | None, started: float, usage: Usage | None = None) -> None:
    latency = time.monotonic() - started
    budget.attempts.append(Attempt(model=model, error=error, latency=latency, usage=usage))


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
    if code == "context_length_exceeded" or (status == 400 and _LIMIT.search(exc.message)):
        error = ModelContextTooLong(f"The prompt is longer than the model {model!r} takes.")
        error.limit = _limit(exc.message)
        return error
    if status in (401, 403):
        return ModelRefusedKey()
    if status == 404:
        return ModelNotFound(f"The model's server has no model {model!r}.")
    if status == 429:
        return _out_of_quota(exc)
    if status in (408, 409) or status >= 500:
        return ModelFailed(f"The model's server failed with status {status}.")
    return ModelRejected(f"The model's server calls the request wrong: {exc.message}")


def _out_of_quota(exc: Any) -> ModelOutOfQuota:
    error = ModelOutOfQuota()
    error.final = exc.code == "insufficient_quota"
    error.retry_after = _seconds(exc.response.headers.get("retry-after"))
    return error


def _limit(message: str) -> int | None:
    found = _LIMIT.search(message)
    return None if found is None else int((found.group(1) or found.group(2)).replace(",", ""))


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None


def _is_transient(exc: BaseException) -> bool:
    if isinstance(exc, ModelOutOfQuota):
        return not exc.final and (exc.retry_after or 0) <= _LONGEST_WAIT
    return isinstance(exc, ModelUnreachable | ModelFailed) and not isinstance(exc, ModelBrokeOff)


_backoff = wait_exponential_jitter(multiplier=0.25, max=4, jitter=0.25)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ModelOutOfQuota) and error.retry_after is not None:
        return error.retry_after
    return _backoff(state)
