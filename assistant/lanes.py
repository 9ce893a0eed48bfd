"""Lanes: bounded threads for one kind of work each. No kind of work waits behind another."""

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
    """Threads that run as much work at a time as the lane has slots.

    Callers take turns. The work of one caller runs in order. In a lane with more threads than slots, work releases its
    slot while it waits for a disk, a lock or a server (`memory_engine.waits`). It then resumes before new work starts.
    """

    def __init__(self, name: str, *, slots: int, threads: int | None = None) -> None:
        """Create a lane. Its threads start when they are needed.

        Args:
            name: the lane's name, and the prefix of its threads' names.
            slots: work that runs at a time.
            threads: work that runs or waits at a time. Default: slots.
        """
        self.name = name
        self.threads = threads or slots
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, deque[_Job]] = OrderedDict()
        #: Work that needs a slot again after a wait.
        self._resuming: deque[threading.Event] = deque()
        self._free_slots = slots
        self._free_threads = self.threads
        self._releases = self.threads > slots
        self._closing = False
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix=name)

    @property
    def is_full(self) -> bool:
        """Whether no slot is free, so that new work is queued."""
        return not self._free_slots

    async def run(self, work: Callable[[], T], whose: str = "") -> T:
        """Run work and return its result. Cancelling the caller removes queued work.

        Args:
            work: a function without arguments.
            whose: the caller's namespace; namespaces take turns.

        Raises:
            Exception: the work's own error.
            RuntimeError: the lane is closed.
        """
        return await asyncio.wrap_future(self.submit(work, whose))

    def submit(self, work: Callable[[], T], whose: str = "") -> "Future[T]":
        """Queue work and return its future. Cancelling the future removes queued work.

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
        """Finish the queued work and end the threads."""
        with self._lock:
            self._closing = True
        self._pool.shutdown()

    def _start(self) -> None:
        """Start another thread if work, a slot and a thread are free. The caller holds the lock."""
        if self._queues and self._free_slots and self._free_threads and not self._closing:
            self._free_slots -= 1
            self._free_threads -= 1
            self._pool.submit(self._work)

    def _work(self) -> None:
        """Run work until none is queued, or until resuming work needs the slot."""
        with waits.use_hook(self._released) if self._releases else nullcontext():
            while (job := self._next()) is not None:
                _run_job(*job)

    def _next(self) -> _Job | None:
        """Return the next work, or release the slot and return None."""
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
        """Release a slot to resuming or queued work. The caller holds the lock."""
        if self._resuming:
            self._resuming.popleft().set()
        else:
            self._free_slots += 1
        self._start()

    @contextmanager
    def _released(self) -> Iterator[None]:
        """Release this thread's slot inside the block."""
        with self._lock:
            self._release()
        try:
            yield
        finally:
            self._resume()

    def _resume(self) -> None:
        """Wait for a slot."""
        turn = threading.Event()
        with self._lock:
            if self._free_slots:
                self._free_slots -= 1
                return
            self._resuming.append(turn)
        turn.wait()


def _run_job(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as exc:  # noqa: BLE001  (raised where the result is awaited)
        future.set_exception(exc)
    finally:
        del future, work  # the error's traceback holds this frame, and would hold them in a cycle


#: Threads of the lane that computes, and of each of the three others.
_COMPUTE, _OTHER = 16, 4
#: The smallest pool of connections: with it the lane that computes has as many threads as each of the others.
SMALLEST_POOL = 4 * _OTHER


def _compute_lane(pool_size: int = _COMPUTE + 3 * _OTHER) -> Lane:
    # Two threads that compute at a time contend for the interpreter (ADR 19). The other threads are for work that
    # waits: for a remote embedder, a commit, a PostgreSQL server, or a scope that is loaded.
    return Lane("compute", slots=1, threads=max(1, min(_COMPUTE, pool_size - 3 * _OTHER)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """The lanes of one assistant and of the service around it.

    All lanes together have at most as many threads as the database has connections, so no thread waits for one.
    """

    #: Recall, context and packing: milliseconds of CPU.
    compute: Lane = field(default_factory=_compute_lane)
    #: Short writes, such as a message.
    write: Lane = field(default_factory=lambda: Lane("write", slots=_OTHER))
    #: Reads by id, lists, and the look-up of API keys.
    read: Lane = field(default_factory=lambda: Lane("read", slots=_OTHER))
    #: Seconds or minutes: erasures, prunings, backups, repairs.
    long: Lane = field(default_factory=lambda: Lane("long", slots=_OTHER))

    @classmethod
    def within(cls, pool_size: int) -> "Lanes":
        """Lanes with at most as many threads as the database has connections, which are 16 or more."""
        return cls(compute=_compute_lane(pool_size))

    @property
    def all(self) -> tuple[Lane, ...]:
        """Every lane."""
        return (self.compute, self.write, self.read, self.long)

    def close(self) -> None:
        """Finish the queued work and end the threads."""
        for lane in self.all:
            lane.close()
