"""A background thread outlives whatever its work raises, and is started again where it ends all the same."""

import threading
from collections.abc import Callable

import pytest

from memory_engine.errors import StoreUnavailable
from memory_engine.indexing import BackgroundWorker

_SECONDS = 30


class Work:
    """Raises what it is given, once each, and then does nothing."""

    def __init__(self, *raises: BaseException) -> None:
        self.raises = list(raises)
        self.done = threading.Event()

    def __call__(self) -> None:
        if self.raises:
            raise self.raises.pop(0)
        self.done.set()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> "Callable[[Work], BackgroundWorker]":
    monkeypatch.setattr("memory_engine.indexing._RETRY_SECONDS", 0.01)
    workers = []

    def start(work: Work) -> BackgroundWorker:
        worker = BackgroundWorker(work, at_once=True)
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.stop()


def ended(worker: BackgroundWorker) -> None:
    thread = worker._thread
    assert thread is not None
    thread.join(_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize("exc", [KeyError("id"), RecursionError(), UnicodeDecodeError("utf-8", b"", 0, 1, "x")])
def test_a_round_that_raises_is_repeated_on_the_same_thread(
    started: Callable[[Work], BackgroundWorker], exc: Exception
) -> None:
    work = Work(exc, StoreUnavailable("The disk is gone."))
    worker = started(work)
    thread = worker._thread
    assert work.done.wait(_SECONDS)
    assert worker._thread is thread


def test_a_thread_that_ends_is_started_again_by_the_next_notice(started: Callable[[Work], BackgroundWorker]) -> None:
    work = Work(SystemExit())
    worker = started(work)
    ended(worker)
    assert worker.problem is not None
    assert "SystemExit" in worker.problem
    worker.notify()
    assert work.done.wait(_SECONDS)
    assert worker.revive()


def test_a_thread_that_cannot_be_started_again_is_told(
    started: Callable[[Work], BackgroundWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(SystemExit())
    worker = started(work)
    ended(worker)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not worker.revive()
    monkeypatch.undo()
    assert worker.revive(), "as soon as there are threads again"
    assert work.done.wait(_SECONDS)


def test_a_worker_that_was_stopped_is_not_started_again(started: Callable[[Work], BackgroundWorker]) -> None:
    worker = started(Work())
    worker.stop()
    worker.notify()
    assert worker.revive()
    ended(worker)
