"""The token bucket and the count of streams."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import RequestRefused
from api.limits import GENEROUS, Bucket, Limits, Meter
from api.schemas.memory import ContextIn, RecallIn
from assistant import load_settings
from assistant.errors import SettingsInvalid


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(requests: int = 60, streams: int = 2) -> Limits:
    return replace(GENEROUS, requests=requests, streams=streams, k=50)


def test_a_minutes_worth_may_come_at_once_and_then_as_it_refills() -> None:
    seconds = Seconds()
    meter = Meter(seconds)
    for _ in range(60):
        meter.take("a", limits())
    with pytest.raises(RequestRefused) as refused:
        meter.take("a", limits())
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    meter.take("b", limits())  # another's requests are counted apart
    seconds.now += 1
    meter.take("a", limits())
    with pytest.raises(RequestRefused):
        meter.take("a", limits())


@given(
    per_minute=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 200)), max_size=20),
)
def test_never_more_than_the_rate_and_one_full_bucket(per_minute: int, steps: list[tuple[float, int]]) -> None:
    seconds, taken = Seconds(), 0
    meter, allowed = Meter(seconds), replace(GENEROUS, requests=per_minute)
    for wait, wanted in steps:
        seconds.now += wait
        for _ in range(wanted):
            try:
                meter.take("a", allowed)
            except RequestRefused:
                break
            taken += 1
    assert taken <= per_minute * (1 + seconds.now / 60) + 1e-6


def test_after_the_seconds_that_it_names_there_is_room() -> None:
    seconds = Seconds()
    meter = Meter(seconds)
    meter.take("a", limits(1))
    with pytest.raises(RequestRefused) as refused:
        meter.take("a", limits(1))
    seconds.now += refused.value.retry_after or 0
    meter.take("a", limits(1))


def test_a_bucket_is_never_fuller_than_full() -> None:
    assert Bucket(left=3, at=0).refilled(10, 3600).left == 10


def test_a_stream_that_ended_makes_room() -> None:
    meter = Meter()
    close, _ = meter.open_stream("a", limits()), meter.open_stream("a", limits())
    with pytest.raises(RequestRefused) as refused:
        meter.open_stream("a", limits())
    assert refused.value.status == 429
    close()
    meter.open_stream("a", limits())


def test_over_the_limit_is_413_and_what_nobody_may_ask_is_left_to_its_reader() -> None:
    assert limits().fitted(RecallIn(query="x", k=50)).k == 50
    with pytest.raises(RequestRefused) as refused:
        limits().fitted(RecallIn(query="x", k=51))
    assert (refused.value.status, refused.value.param) == (413, "k")
    limits().fitted(RecallIn.model_construct(query="x", k=1_001))
    GENEROUS.fitted(RecallIn(query="x", k=1_000, token_budget=1_000_000))


def test_what_a_call_leaves_open_is_brought_within_the_limits() -> None:
    few = replace(GENEROUS, k=5, token_budget=100)
    asked = few.fitted(RecallIn(query="x"))
    assert (asked.k, asked.token_budget) == (5, None)
    assert few.fitted(ContextIn(conversation_id="c")).token_budget == 100


@pytest.mark.parametrize("name", ["MESSAGES", "K", "TOKEN_BUDGET"])
def test_a_setting_above_what_any_call_takes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = {"MESSAGES": 1_000, "K": 1_000, "TOKEN_BUDGET": 1_000_000}[name]
    monkeypatch.setenv(f"MEMORY_ENGINE_LIMIT_{name}", str(most))
    assert getattr(load_settings(), f"limit_{name.lower()}") == most
    monkeypatch.setenv(f"MEMORY_ENGINE_LIMIT_{name}", str(most + 1))
    with pytest.raises(SettingsInvalid, match=f"LIMIT_{name} is wrong: more than {most:,} is not taken by any call"):
        load_settings()
