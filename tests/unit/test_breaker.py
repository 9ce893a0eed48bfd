"""The breaker of a server: refused at once after a failure, tried once after a pause, healed by that try alone."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from memory_engine.errors import IndexUnavailable
from memory_engine.vectors.breaker import Breaker
from memory_engine.vectors.time_limit import seconds_left, time_limit
from tests.fakes import FixedClock


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def breaker(timer: Timer, clock: FixedClock) -> Breaker:
    return Breaker("The server", clock, lambda exc: isinstance(exc, OSError), monotonic=timer)


def fail(breaker: Breaker) -> None:
    with pytest.raises(OSError, match="refused"), breaker.admitted():
        raise OSError("refused")


@contextmanager
def refused(breaker: Breaker) -> Iterator[None]:
    with pytest.raises(IndexUnavailable, match=r"The server does not answer since .*refused"), breaker.admitted():
        raise AssertionError("the call was made")
    yield


def test_a_failure_refuses_calls_until_a_try_succeeds(breaker: Breaker, timer: Timer) -> None:
    fail(breaker)
    with refused(breaker):
        timer.now += 1.1
    with breaker.admitted(), refused(breaker):
        assert breaker.outage is not None, "one call tries the server, and others are refused meanwhile"
    assert breaker.outage is None
    with breaker.admitted():
        assert breaker.outages == 1


def test_pauses_double_up_to_a_bound(breaker: Breaker, timer: Timer, clock: FixedClock) -> None:
    since, pauses = clock.now(), []
    fail(breaker)
    for _ in range(7):
        began = timer.now
        while breaker._retry_at > timer.now:
            timer.now += 0.5
        pauses.append(timer.now - began)
        clock.advance(days=1)
        fail(breaker)
    assert pauses == [1, 2, 4, 8, 16, 16, 16]
    assert breaker.outage is not None
    assert breaker.outage.since == since
    assert breaker.outages == 1


def test_an_error_that_the_server_answers_is_no_outage(breaker: Breaker) -> None:
    with pytest.raises(ValueError, match="no such collection"), breaker.admitted():
        raise ValueError("no such collection")
    assert breaker.outage is None


def test_a_call_from_before_the_outage_does_not_end_it(breaker: Breaker) -> None:
    with breaker.admitted():
        fail(breaker)
    assert breaker.outage is not None


def test_a_time_limit_is_of_its_thread_and_the_earlier_one_holds() -> None:
    with time_limit(5), time_limit(60):
        assert 4 < seconds_left(0) <= 5
        elsewhere: list[float] = []
        thread = threading.Thread(target=lambda: elsewhere.append(seconds_left(7)))
        thread.start()
        thread.join()
        assert elsewhere == [7]
    with time_limit(0.01):
        time.sleep(0.02)
        assert seconds_left(7) == 0
