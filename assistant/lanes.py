"""Lanes: threads for one kind of work each, bounded, so that no kind of work waits behind another."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from memory_engine import waits

T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class Lane:
    """Runs work on threads, at most as many at a time as the lane has slots.

    Callers take turns, and the work of one caller is run in the order in which it came. Where a lane has more threads
    than slots, work that waits for a disk, a lock or a server releases its slot until the wait is over; it then goes on
    before any work that has not begun.
    """

    def __init__(self, name: str, *, slots: int, threads: int | None = None) -> None:
        """Make a lane; its threads are started when they are needed.

        Args:
            name: the lane's name, and the first part of its threads' names.
            slots: how much work runs at a time.
            threads: how much work may have begun, those that wait among it. Default: as many as slots.
        """
        self.name = name
        #: Most work that may have begun at a time.
        self.threads = threads or slots
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, deque[_Job]] = OrderedDict()
        #: Work that was waiting and needs a slot to go on.
        self._resuming: deque[threading.Event] = deque()
        self._free_slots = slots
        self._free_threads = self.threads
        self._releases = self.threads > slots
        self._closing = False
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix=name)

    @property
    def is_full(self) -> bool:
        """Whether work that is put in now has to wait."""
        return not self._free_slots

    async def run(self, work: Callable[[], T], whose: str = "") -> T:
        """Run work and return its result; work that has not begun when the caller is cancelled is not run.

        Args:
            work: what is run.
            whose: the caller; callers take turns.

        Raises:
            Exception: whatever the work raises.
            RuntimeError: the lane is closed.
        """
        return await asyncio.wrap_future(self.submit(work, whose))

    def submit(self, work: Callable[[], T], whose: str = "") -> "Future[T]":
        """Put work in the lane and return its future, which cancels the work as long as it has not begun.

        Raises:
            RuntimeError: the lane is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closing:
                raise RuntimeError(f"The lane {self.name} is closed.")
            self._queues.setdefault(whose, deque()).append((future, work))
            self._start()
        return future

    def close(self) -> None:
        """Finish what was put in the lane and end its threads."""
        with self._lock:
            self._closing = True
        self._pool.shutdown()

    def _start(self) -> None:
        """Have another thread work if one may; the lock is held."""
        if self._queues and self._free_slots and self._free_threads and not self._closing:
            self._free_slots -= 1
            self._free_threads -= 1
            self._pool.submit(self._work)

    def _work(self) -> None:
        """Run work until none waits, or until work that was waiting needs the slot."""
        with waits.hooked(self._released) if self._releases else nullcontext():
            while (job := self._next()) is not None:
                _do(*job)

    def _next(self) -> _Job | None:
        """Take the next work; None when this thread has given its slot up."""
        with self._lock:
            if self._queues and not self._resuming:
                whose, jobs = self._queues.popitem(last=False)
                job = jobs.popleft()
                if jobs:
                    self._queues[whose] = jobs
                return job
            self._free_threads += 1
            self._release()
            return None

    def _release(self) -> None:
        """Pass the slot on; the lock is held."""
        if self._resuming:
            self._resuming.popleft().set()
        else:
            self._free_slots += 1
        self._start()

    @contextmanager
    def _released(self) -> Iterator[None]:
        """Let other work have this thread's slot inside the block."""
        with self._lock:
            self._release()
        try:
            yield
        finally:
            self._resume()

    def _resume(self) -> None:
        turn = threading.Event()
        with self._lock:
            if self._free_slots:
                self._free_slots -= 1
                return
            self._resuming.append(turn)
        turn.wait()


def _do(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as exc:  # noqa: BLE001  (raised where the result is awaited)
        future.set_exception(exc)
    finally:
        del future, work  # the error's traceback holds this frame, and would hold them in a cycle


def _compute() -> Lane:
    # One slot: threads that compute at the same time take the interpreter from each other, and all get slower.
    # The other threads wait: for an embedder behind a server, a commit, a PostgreSQL server, or a scope that is loaded.
    return Lane("compute", slots=1, threads=16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """The lanes of one assistant and of the service around it.

    All threads together are no more than the database has connections: none of them waits for one.
    """

    #: Recall, context and packing: what computes for milliseconds.
    compute: Lane = field(default_factory=_compute)
    #: Short writes, such as a message.
    write: Lane = field(default_factory=lambda: Lane("write", slots=4))
    #: Reads by id, lists, and the rows of an API key.
    read: Lane = field(default_factory=lambda: Lane("read", slots=4))
    #: What takes seconds or minutes: erasures, prunings, backups, repairs.
    long: Lane = field(default_factory=lambda: Lane("long", slots=4))

    @property
    def all(self) -> tuple[Lane, ...]:
        """Every lane."""
        return (self.compute, self.write, self.read, self.long)

    def close(self) -> None:
        """Finish what was put in the lanes and end their threads."""
        for lane in self.all:
            lane.close()
