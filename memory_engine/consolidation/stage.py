"""What the stages after consolidation have in common."""

import threading
from abc import ABC, abstractmethod


class StageWorker(ABC):
    """Does its work for one conversation after another, each in one transaction, so that it can be broken off."""

    def __init__(self, closing: threading.Event) -> None:
        """Take the event that tells it to begin no other conversation."""
        self._closing = closing
        self._alone = threading.Lock()  # two at once would do the same work

    def work(self) -> int:
        """Look at every conversation that waits, until the store is closed, and return how many there were.

        Raises:
            MemoryEngineError: the store, or what else is needed, does not answer; what is done stays done.
        """
        done = 0
        with self._alone:
            while not self._closing.is_set() and self._one():
                done += 1
        return done

    @abstractmethod
    def _one(self) -> bool:
        """Look at one conversation; False when none waits."""
