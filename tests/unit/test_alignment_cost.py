"""Alignment takes time linear in what a client sends and in what is stored, whatever both are."""

from collections.abc import Callable
from typing import Any

import pytest

from memory_engine import alignment
from memory_engine.alignment import Key, Path, align

History = tuple[list[Key], list[bool]]


def of(*said: Any) -> History:
    """A history from pairs of role and text."""
    return [(role, text, ()) for role, text in said], [role == "user" for role, _ in said]


def equal(n: int) -> tuple[History, History]:
    return of(*[("user", "a")] * 3 * n), of(*[("user", "a")] * n, ("user", "z"))


def alternating(n: int) -> tuple[History, History]:
    return of(*[("user", "a"), ("assistant", "b")] * n), of(*[("user", "a"), ("assistant", "c")] * n)


def replies_alone(n: int) -> tuple[History, History]:
    stored = [("assistant", "a"), *[("user", "u"), ("user", "v"), ("assistant", "a")] * n]
    return of(*[("assistant", "a")] * n), of(*stored)


def replies_that_differ(n: int) -> tuple[History, History]:
    stored = [said for number in range(n) for said in (("assistant", number), ("user", "u"))]
    return of(*[("assistant", number) for number in range(n)]), of(*stored)


def tools_in_a_row(n: int) -> tuple[History, History]:
    turn = [("tool", "t"), ("assistant", "a")]
    return of(("user", "q"), *turn * n), of(("user", "q"), *[*turn, ("user", "x")] * n)


def steps(monkeypatch: pytest.MonkeyPatch, made: tuple[History, History]) -> int:
    """How often the path was looked into: it is counted, and not timed."""
    count = 0
    found = Path.find

    def counted(self: Path, key: Key, start: int) -> int | None:
        nonlocal count
        count += 1
        return found(self, key, start)

    (sent, users), (keys, stored_users) = made
    with monkeypatch.context() as patched:
        patched.setattr(Path, "find", counted)
        align(sent, users, Path.of(keys, stored_users))
    return count


@pytest.mark.parametrize("shape", [equal, alternating, replies_alone, replies_that_differ, tools_in_a_row])
def test_the_work_grows_with_what_is_sent(
    shape: Callable[[int], tuple[History, History]], monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = steps(monkeypatch, shape(200)), steps(monkeypatch, shape(2_000))
    assert many <= 15 * max(few, 200)
    walks = alignment._FIRST + alignment._LAST
    assert many <= walks * (1 + alignment._AHEAD) * 3 * 2_000


def test_a_turn_left_out_is_found_again() -> None:
    turns = [said for number in range(50) for said in (("user", f"q{number}"), ("assistant", f"a{number}"))]
    sent, users = of(*turns[:20], *turns[40:])
    found = align(sent, users, Path.of(*of(*turns)))
    assert found.matched == {n: n if n < 20 else n + 20 for n in range(len(sent))}
    assert found.new == ()
