"""Lanes: bounded, fair, and free again when work fails, waits or is given up."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from assistant.lanes import SMALLEST_POOL, Lane, Lanes
from memory_engine.storage.database import POOL_SIZE
from memory_engine.waits import hold, waiting

#: Longer than any of this takes; a test that would wait for ever fails.
PATIENCE = 10


class Work:
    """Work that begins, and ends when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        return threading.current_thread().name


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane("one", slots=1, threads=4)
    yield made
    made.close()


def occupied(lane: Lane) -> tuple[Work, "Future[str]"]:
    """Work that has the lane's slot."""
    work = Work()
    future = lane.submit(work)
    assert work.begun.wait(PATIENCE)
    return work, future


def ended(*futures: "Future[Any]") -> list[Any]:
    return [future.result(PATIENCE) for future in futures]


def test_lane_returns_the_result_and_runs_on_its_own_threads(lane: Lane) -> None:
    assert asyncio.run(lane.run(lambda: threading.current_thread().name)).startswith("one")


def test_lane_with_two_slots_never_runs_three_at_a_time() -> None:
    two, guard, at_once, most = Lane("two", slots=2), threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        both.wait(PATIENCE)
        with guard:
            at_once -= 1

    ended(*(two.submit(work) for _ in range(20)))
    two.close()
    assert most == 2


def test_lane_runs_one_callers_work_in_order(lane: Lane) -> None:
    first, _ = occupied(lane)
    order: list[int] = []
    rest = [lane.submit(lambda number=number: order.append(number), "a") for number in range(50)]
    first.may_end.set()
    ended(*rest)
    assert order == list(range(50))


def test_caller_with_one_request_does_not_wait_behind_another_with_many(lane: Lane) -> None:
    first, _ = occupied(lane)
    order: list[str] = []
    many = [lane.submit(lambda: order.append("many"), "many") for _ in range(50)]
    few = lane.submit(lambda: order.append("few"), "few")
    first.may_end.set()
    ended(*many, few)
    assert order.index("few") == 1


def test_work_cancelled_before_it_began_is_not_run(lane: Lane) -> None:
    first, _ = occupied(lane)
    ran = threading.Event()

    async def give_up() -> None:
        waits = asyncio.ensure_future(lane.run(ran.set))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits

    asyncio.run(give_up())
    first.may_end.set()
    ended(lane.submit(lambda: None))
    assert not ran.is_set()


def test_slot_is_free_again_after_an_error(lane: Lane) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        lane.submit(fail).result(PATIENCE)
    assert ended(lane.submit(lambda: "next")) == ["next"]


def test_waiting_work_releases_its_slot_and_goes_on_before_new_work(lane: Lane) -> None:
    waits, answered = threading.Event(), threading.Event()
    order: list[str] = []

    def ask() -> None:
        with waiting():
            waits.set()
            assert answered.wait(PATIENCE)
        order.append("asked")

    asked = lane.submit(ask)
    assert waits.wait(PATIENCE)
    other, running = occupied(lane)  # has the slot while the first waits
    new = lane.submit(lambda: order.append("new"))
    answered.set()
    while not lane._resuming:  # the first wants its slot again
        pass
    other.may_end.set()
    ended(asked, running, new)
    assert order == ["asked", "new"]


def test_wait_inside_a_wait_releases_one_slot(lane: Lane) -> None:
    def nested() -> None:
        with waiting(), waiting():
            assert lane._free_slots == 1
        assert lane._free_slots == 0

    ended(lane.submit(nested))


def test_all_threads_waiting_leave_the_rest_queued_until_one_ends(lane: Lane) -> None:
    answered, everybody = threading.Event(), threading.Barrier(lane.threads + 1)

    def ask() -> None:
        with waiting():
            everybody.wait(PATIENCE)
            assert answered.wait(PATIENCE)

    asked = [lane.submit(ask) for _ in range(lane.threads)]
    everybody.wait(PATIENCE)
    late = lane.submit(lambda: "late")
    assert not late.running()
    answered.set()
    assert ended(*asked, late)[-1] == "late"


def test_lock_that_another_has_is_waited_for_without_a_slot(lane: Lane) -> None:
    lock = threading.Lock()

    def take() -> bool:
        with hold(lock):
            return lock.locked()

    lock.acquire()
    taken = lane.submit(take)
    assert ended(lane.submit(lambda: "meanwhile")) == ["meanwhile"]
    lock.release()
    assert ended(taken) == [True]


def test_outside_of_a_lane_waiting_changes_nothing() -> None:
    with waiting(), hold(threading.Lock()):
        pass


def test_closed_lane_finishes_what_it_has_and_takes_no_more(lane: Lane) -> None:
    first, running = occupied(lane)
    queued = lane.submit(lambda: "queued")
    closing = threading.Thread(target=lane.close)
    closing.start()
    while not lane._closing:
        pass
    with pytest.raises(RuntimeError, match="The lane one is closed"):
        lane.submit(lambda: None)
    first.may_end.set()
    closing.join(PATIENCE)
    assert ended(running, queued)[1] == "queued"


@pytest.mark.parametrize("pool_size", [SMALLEST_POOL, 20, POOL_SIZE, 256])
def test_threads_of_all_lanes_fit_the_connections(pool_size: int) -> None:
    lanes = Lanes.within(pool_size)
    lanes.close()
    assert sum(lane.threads for lane in lanes.all) <= pool_size
    assert min(lane.threads for lane in lanes.all) == 4


def test_write_does_not_wait_behind_recalls_or_long_work() -> None:
    lanes = Lanes()
    works = [Work() for _ in range(40)]
    futures = [lane.submit(work) for lane in (lanes.compute, lanes.long) for work in works[:20]]
    try:
        assert ended(lanes.write.submit(lambda: "kept"), lanes.read.submit(lambda: "read")) == ["kept", "read"]
        assert sum(future.done() for future in futures) == 0
    finally:
        for work in works:
            work.may_end.set()
        lanes.close()
