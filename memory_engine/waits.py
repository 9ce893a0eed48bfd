"""Waits for a disk, a lock or a server, marked so that a program can let another thread compute meanwhile.

A program that bounds how many threads compute at a time sets a hook. Without a hook a wait changes nothing.
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
def use_hook(hook: Hook) -> Iterator[None]:
    """Enter the hook around each wait of this thread inside the block."""
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
def hold(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock. Acquiring the lock is a wait if another thread has it."""
    if not lock.acquire(blocking=False):
        with waiting():
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
