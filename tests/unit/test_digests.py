"""Keyed hashes of what was erased: whatever tells two things apart is in them."""

import pytest

from memory_engine import Scope
from memory_engine.digests import Digests

ONE = Digests(b"a key of the store")
ANN = Scope(namespace="shop", user="ann")
NAME = ONE.of_name(ANN, "message", "m")
MESSAGE = ONE.of_message(ONE.of_namespace("shop"), "m", "Hello.")


@pytest.mark.parametrize(
    "other",
    [
        Digests(b"another store's key").of_name(ANN, "message", "m"),
        ONE.of_name(Scope(namespace="home", user="ann"), "message", "m"),
        ONE.of_name(Scope(namespace="shop", user="ben"), "message", "m"),
        ONE.of_name(Scope(namespace="shop"), "message", "m"),
        ONE.of_name(ANN, "conversation", "m"),
        ONE.of_name(ANN, "message", "n"),
    ],
)
def test_the_name_of_another_thing_has_another_hash(other: str) -> None:
    assert other != NAME == ONE.of_name(ANN, "message", "m")


@pytest.mark.parametrize(
    "other",
    [
        ONE.of_message(ONE.of_namespace("home"), "m", "Hello."),
        ONE.of_message(ONE.of_namespace("shop"), "n", "Hello."),
        ONE.of_message(ONE.of_namespace("shop"), "m", "Hello!"),
    ],
)
def test_another_message_has_another_hash(other: str) -> None:
    assert other != MESSAGE


def test_where_one_part_ends_and_the_next_begins_is_in_the_hash() -> None:
    assert ONE.of_name(ANN, "ab", "c") != ONE.of_name(ANN, "a", "bc")
    assert ONE.of_message("ab", "c", "") != ONE.of_message("a", "bc", "")
