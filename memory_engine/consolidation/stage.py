"""What the stages after consolidation have in common."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from memory_engine.attempts import Attempts
from memory_engine.consolidation.sentences import LONGEST_READ
from memory_engine.models import Message, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import derivation_queue
from memory_engine.storage.database import Database
from memory_engine.storage.derivation_queue import Stage, Waiting

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

    #: The stage of the derivation queue that it works through.
    stage: ClassVar[Stage]

    def __init__(self, database: Database, clock: Clock, attempts: Attempts) -> None:
        self._database = database
        self._clock = clock
        self._attempts = attempts
        self._alone = threading.Lock()  # two at once would do the same work

    def work(self, until: Until = never) -> int:
        """Look at every conversation that waits, and return how many there were.

        A conversation whose work fails is left for later; after the last attempt it is set aside.

        Raises:
            MemoryEngineError: the store, or what else is needed, does not answer; what is done stays done.
        """
        done = 0
        with self._alone:
            while not until() and (waiting := self._next()) is not None:
                self._attempts.made(waiting.item, partial(self._one, waiting))
                done += 1
        return done

    def _next(self) -> Waiting | None:
        with self._database.read() as db:
            return derivation_queue.next_for(db, self.stage, to_micros(self._clock.now()))

    @abstractmethod
    def _one(self, waiting: Waiting) -> None:
        """Look at one conversation."""
