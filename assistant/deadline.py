"""The moment until which one call of a tool may work, over all its steps."""

import time
from dataclasses import dataclass

from assistant.errors import ToolTimedOut


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadline:
    """A moment of the monotonic clock."""

    #: How long the whole call may take.
    seconds: float
    #: The monotonic clock's time at which it ends.
    ends: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment so many seconds from now."""
        return cls(seconds=seconds, ends=time.monotonic() + seconds)

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.ends

    def left(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            ToolTimedOut: none are.
        """
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise self.error()
        return seconds

    def error(self) -> ToolTimedOut:
        """What to raise when the time is over."""
        return ToolTimedOut(f"It took longer than the {self.seconds:g} seconds that it may.")
