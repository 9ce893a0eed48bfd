"""How much a caller may ask for: of one call, in a minute, and at once."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from api.errors import RequestRefused
from assistant import Settings
from assistant.settings import MAX_TOKEN_BUDGET
from memory_engine.models import MAX_HITS, MAX_MESSAGES

_MINUTE = 60.0
#: What one call may ask for at all.
_OF_A_CALL = {"k": MAX_HITS, "token_budget": MAX_TOKEN_BUDGET, "messages": MAX_MESSAGES}
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a caller may ask for."""

    #: Requests a minute; so many may come at once after a quiet minute.
    requests: int
    #: Bytes of a request's body.
    body: int
    #: Messages that one call may bring.
    messages: int
    #: Hits that one call may ask for.
    k: int
    #: Tokens that one call may ask for.
    token_budget: int
    #: Streamed replies at once.
    streams: int

    @classmethod
    def of_keys(cls, settings: Settings, requests: int | None = None) -> "Limits":
        """Those of a key; `requests` are its own, where it has any."""
        return cls(
            requests=settings.limit_requests if requests is None else requests,
            body=settings.limit_body,
            messages=settings.limit_messages,
            k=settings.limit_k,
            token_budget=settings.limit_token_budget,
            streams=settings.limit_streams,
        )

    @staticmethod
    def of_namespace(settings: Settings) -> int:
        """Requests per minute of all keys of a namespace together."""
        return settings.limit_namespace_requests or settings.limit_requests

    def fitted(self, body: B) -> B:
        """The body of a request; a number that it leaves open is brought within the limits.

        Raises:
            RequestRefused: it asks for more; 413.
        """
        lower = {}
        for name, at_all in _OF_A_CALL.items():
            asked, most = getattr(body, name, None), getattr(self, name)
            wanted = len(asked) if isinstance(asked, list) else asked
            # What nobody may ask is a wrong value, which whoever reads the value tells.
            if wanted is None or not most < wanted <= at_all:
                continue
            if name in body.model_fields_set:
                text = f"{name} is limited to {most:,} a call."
                raise RequestRefused(413, text, code="limit_exceeded", param=name)
            lower[name] = most
        return body.model_copy(update=lower)


#: Of callers on the machine itself: what the service can do at all, and a rate that stops what runs wild.
GENEROUS = Limits(
    requests=600_000,
    body=64 * 1024 * 1024,
    messages=MAX_MESSAGES,
    k=MAX_HITS,
    token_budget=MAX_TOKEN_BUDGET,
    streams=1_000,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """A token bucket: how many requests may come at once, as of a moment (seconds)."""

    left: float
    at: float

    def refilled(self, per_minute: int, now: float) -> "Bucket":
        """As it is at a later moment: a minute fills it."""
        left = min(per_minute, self.left + (now - self.at) * per_minute / _MINUTE)
        return Bucket(left=left, at=now)


class Share(NamedTuple):
    """A rate that several callers share."""

    name: str
    #: Requests per minute.
    requests: int


class Meter:
    """Counts what callers do now. Used by the event loop's thread alone, and so without a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with full buckets; the clock counts seconds from anywhere."""
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._streams: Counter[str] = Counter()

    def take(self, caller: str, limits: Limits, shares: Sequence[Share] = ()) -> None:
        """Count a request of the caller, against the rates that it shares as well.

        Raises:
            RequestRefused: there were too many; 429, with the seconds after which there is room. It is not counted.
        """
        now = self._clock()
        taken = {}
        for name, per_minute in (Share(caller, limits.requests), *shares):
            bucket = self._buckets.get(name, Bucket(left=per_minute, at=now)).refilled(per_minute, now)
            if bucket.left < 1:
                wait = math.ceil((1 - bucket.left) * _MINUTE / per_minute)
                together = "" if name == caller else ", together with other keys"
                text = f"Requests are limited to {per_minute:,} a minute{together}."
                raise RequestRefused(429, text, code="rate_limited", retry_after=wait)
            taken[name] = replace(bucket, left=bucket.left - 1)
        self._buckets.update(taken)

    def open_stream(self, caller: str, limits: Limits) -> Callable[[], None]:
        """Count a streamed reply, until what is returned is called.

        Raises:
            RequestRefused: so many are under way already; 429.
        """
        if self._streams[caller] >= limits.streams:
            text = f"Streamed replies are limited to {limits.streams:,} at once."
            raise RequestRefused(429, text, code="too_many_streams", retry_after=1)
        self._streams[caller] += 1

        def close() -> None:
            self._streams[caller] -= 1

        return close
