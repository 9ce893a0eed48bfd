"""What the stages after consolidation have in common."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

from memory_engine.consolidation.sentences import LONGEST_READ
from memory_engine.models import Message

#: Characters of one conversation that a stage reads in one piece of work.
_MOST_READ = 500_000

#: Asked before each conversation: whether the rest is left for another time.
Until = Callable[[], bool]


def never() -> bool:
    """All of it is done now."""
    return False


def as_read(said: Sequence[Message]) -> list[Message]:
    """Return the messages as a stage reads them: the newest 500,000 characters, and 200,000 of each at most."""
    found, left = list[Message](), _MOST_READ
    for message in reversed(said):
        text = message.text[:LONGEST_READ]
        left -= len(text)
        if left < 0:
            break
        found.append(message if len(text) == len(message.text) else replace(message, text=text))
    return found[::-1]


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
