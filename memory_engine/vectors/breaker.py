"""A circuit breaker: after a server failed, calls to it fail at once for some seconds, and then one call tries it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from memory_engine.errors import IndexUnavailable
from memory_engine.ports import Clock

#: Seconds without calls after the first failure. They double with each failed try, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 16.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """A server that does not answer."""

    since: datetime
    #: What the last call failed with.
    reason: str

    def __str__(self) -> str:
        return f"does not answer since {self.since:%Y-%m-%d %H:%M:%S} UTC ({self.reason})"


class Breaker:
    """Watches the calls to one server. Safe to use from several threads."""

    def __init__(
        self, server: str, clock: Clock, is_outage: Callable[[Exception], bool], *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Take what errors name the server, and which exceptions mean that it does not answer."""
        self._server = server
        self._clock = clock
        self._is_outage = is_outage
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pause = 0.0
        self._retry_at = 0.0
        self._is_tried = False
        #: None while the server answers.
        self.outage: Outage | None = None
        #: How many outages there were. What was learned of the server before the last one may no longer be true.
        self.outages = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Watch a call.

        Raises:
            IndexUnavailable: the server did not answer lately; the call is not made.
        """
        is_try = self._admit()
        try:
            yield
        except Exception as exc:
            if self._is_outage(exc):
                self._open(exc)
            else:
                self._close(is_try)  # it answered
            raise
        else:
            self._close(is_try)
        finally:
            if is_try:
                self._is_tried = False

    def _admit(self) -> bool:
        """Return whether the call is the one that tries a server that did not answer."""
        with self._lock:
            if self.outage is None:
                return False
            if self._is_tried or self._monotonic() < self._retry_at:
                raise IndexUnavailable(f"{self._server} {self.outage}.")
            self._is_tried = True
            return True

    def _open(self, exc: Exception) -> None:
        reason = str(exc) or type(exc).__name__
        with self._lock:
            if self.outage is None:
                self.outages += 1
                self._pause = _FIRST_PAUSE
                self.outage = Outage(since=self._clock.now(), reason=reason)
            elif self._is_tried:
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                self.outage = Outage(since=self.outage.since, reason=reason)
            self._retry_at = self._monotonic() + self._pause

    def _close(self, is_try: bool) -> None:
        """End the outage if this call tried the server. A call that began before the outage proves nothing."""
        if is_try:
            with self._lock:
                self.outage = None
