"""Attempts at background work: what an item raises stops neither the other items nor the thread."""

import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import TypeVar

from memory_engine.errors import StoreConflict, blames_item
from memory_engine.models import ScopeKey, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import set_aside
from memory_engine.storage.database import Database
from memory_engine.storage.set_aside import Item

_Read = TypeVar("_Read")
_Other = TypeVar("_Other")
#: Microseconds between two looks at the table where nothing is known to wait: another process may have written there.
_GLANCE = 60_000_000
#: The folders of the service's own code, up to which a file's path is left out.
_PACKAGES = ("memory_engine", "assistant", "api")


class Attempts:
    """Counts how often items failed. Failed items are tried again after a while, and set aside after the last time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        #: When each item that failed in this process is tried again; microseconds.
        self._retries: dict[Item, int] = {}
        #: When a stage's rows are looked at next.
        self._next_look: dict[str, int] = {}
        #: The stages that had rows at the last look.
        self._with_failures: set[str] = set()

    def made(self, item: Item, work: Callable[[], object]) -> bool:
        """Do the work of an item and return whether it was done; otherwise the failure is noted.

        Raises:
            MemoryEngineError: the store, the embedder, the index or the writer does not answer; nothing is noted.
        """
        try:
            work()
        except Exception as exc:  # whatever an item raises must not stop the others
            if not blames_item(exc):
                raise
            self._note(item, described(exc))
            return False
        if item.has_failed or item in self._retries:
            self._retries.pop(item, None)
            with self._database.write() as db:
                set_aside.clear(db, item)
        return True

    def _note(self, item: Item, error: str) -> None:
        now = self._now()
        try:
            with self._database.write() as db:
                retry_at = set_aside.note(db, item, error, now)
        except StoreConflict:
            return  # another process noted it, or the conversation has just been erased
        self._with_failures.add(item.stage)
        self._retries.pop(item, None)
        if retry_at is not None:
            self._retries[item] = retry_at
            self._next_look[item.stage] = min(retry_at, self._next_look.get(item.stage, retry_at))

    def waits(self, item: Item) -> bool:
        """Whether an item that failed in this process is to be tried again later than now."""
        return self._now() < self._retries.get(item, 0)

    def are_waiting(self) -> bool:
        """Whether an item that failed in this process is soon tried again."""
        now = self._now()
        for item, retry_at in list(self._retries.items()):
            if not now < retry_at + _GLANCE:  # its conversation is gone, or another process did it
                self._retries.pop(item, None)
        return bool(self._retries)

    def due(self, stage: str) -> list[Item]:
        """The items of a stage that failed and are to be tried now.

        Raises:
            StoreError: the store does not answer.
        """
        now = self._now()
        if now < self._next_look.get(stage, 0) <= now + _GLANCE:
            return []
        failed = self._failed(stage)
        later = [retry_at for _, retry_at in failed if retry_at > now]
        self._next_look[stage] = min([now + _GLANCE, *later])
        return [item for item, retry_at in failed if set_aside.is_due(retry_at, now)]

    def held_back(self, stage: str) -> dict[tuple[ScopeKey, str], bool]:
        """The scope and name of each item of a stage that failed, with whether it is left alone for now.

        Raises:
            StoreError: the store does not answer.
        """
        now = self._now()
        return {(item.key, item.name): not set_aside.is_due(at, now) for item, at in self._failed(stage)}

    def settle(self, key: ScopeKey, stage: str, names: list[str]) -> None:
        """Forget that these items failed, because they were done in another way.

        Raises:
            StoreError: the store does not answer.
        """
        if stage in self._with_failures and names:
            with self._database.write() as db:
                set_aside.clear_names(db, key, stage, names)

    def look_again(self) -> None:
        """Look at the table at the next opportunity."""
        self._next_look.clear()

    def _failed(self, stage: str) -> list[tuple[Item, int]]:
        with self._database.read() as db:
            failed = set_aside.failed(db, stage)
        if failed:
            self._with_failures.add(stage)
        else:
            self._with_failures.discard(stage)
        return failed

    def _now(self) -> int:
        return to_micros(self._clock.now())


def unless_damaged(read: Callable[[], _Read], otherwise: _Other) -> _Read | _Other:
    """Return what is read of others than the item at hand, or `otherwise` where their rows are damaged.

    The stages of the conversation that has the damaged rows name them.

    Raises:
        StoreError: the store does not answer.
    """
    try:
        return read()
    except Exception as exc:  # a damaged row raises anything
        if not blames_item(exc):
            raise
        return otherwise


def described(exc: BaseException) -> str:
    """Return the error's class and where it was raised, without its words: these may quote a message."""
    cause = f" ({type(exc.__cause__).__name__})" if exc.__cause__ is not None else ""
    places = [(_own_path(frame.f_code.co_filename), frame.f_code.co_name, line)
              for frame, line in traceback.walk_tb(exc.__traceback__)]  # fmt: skip
    ours = [place for place in places if place[0] is not None]
    if not ours:
        return type(exc).__name__ + cause
    path, name, line = ours[-1]
    return f"{type(exc).__name__}{cause} in {name}, {path}:{line}"


def _own_path(path: str) -> str | None:
    """The part of a file's path within the service's own code; None for another's."""
    parts = PurePath(path).parts
    at = max((number for number, part in enumerate(parts[:-1]) if part in _PACKAGES), default=None)
    return None if at is None else "/".join(parts[at:])
