"""What a thread does with the CPU's slot that it holds while it waits for a disk, a lock or a server.

A program that bounds how many threads compute at a time names the hook; without one, waiting changes nothing.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

#: Entered before a wait and left after it.
Hook = Callable[[], AbstractContextManager[None]]


class _Thread(threading.local):
    hook: Hook | None = None


_thread = _Thread()


@contextmanager
def hooked(hook: Hook) -> Iterator[None]:
    """Have this thread enter the hook around each of its waits inside the block."""
    _thread.hook = hook
    try:
        yield
    finally:
        _thread.hook = None


@contextmanager
def waiting() -> Iterator[None]:
    """Mark the block as a wait. A wait inside a wait is part of the outer one."""
    hook = _thread.hook
    if hook is None:
        yield
        return
    _thread.hook = None
    try:
        with hook():
            yield
    finally:
        _thread.hook = hook


@contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock; to get it is a wait where another thread has it."""
    if not lock.acquire(blocking=False):
        with waiting():
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
