"""What the stages after consolidation have in common."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

#: Asked before each conversation: whether the rest is left for another time.
Until = Callable[[], bool]


def never() -> bool:
    """All of it is done now."""
    return False


class StageWorker(ABC):
    """Does its work for one conversation after another, each in one transaction, so that it can be broken off."""

    def __init__(self) -> None:
        self._alone = threading.Lock()  # two at once would do the same work

    def work(self, until: Until = never) -> int:
        """Look at every conversation that waits, and return how many there were.

        Raises:
            MemoryEngineError: the store, or what else is needed, does not answer; what is done stays done.
        """
        done = 0
        with self._alone:
            while not until() and self._one():
                done += 1
        return done

    @abstractmethod
    def _one(self) -> bool:
        """Look at one conversation; False when none waits."""
