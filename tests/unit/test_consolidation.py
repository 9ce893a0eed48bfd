"""The pure parts of consolidation: sentences, segments, and which sentences say most."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.consolidation import extracting, segments
from memory_engine.consolidation.extracting import Candidate
from memory_engine.consolidation.sentences import sentences_of

HOUR = 3600 * 1_000_000


def split(text: str) -> list[str]:
    return [sentence.of(text) for sentence in sentences_of(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Weiss met J. Doe at 3.30 p.m. on Friday.", ["Dr. Weiss met J. Doe at 3.30 p.m. on Friday."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        ("Version 2.1 is out\nTry it", ["Version 2.1 is out", "Try it"]),
        ("我们搬家了。你呢？好！", ["我们搬家了。", "你呢？", "好！"]),
        ("Ça va ? Oui… Bien sûr.", ["Ça va ?", "Oui…", "Bien sûr."]),
        ("Переезжаем в мае, т.е. скоро. Ура!", ["Переезжаем в мае, т.е. скоро.", "Ура!"]),
        ("Wie am 8. Mai besprochen. Gut.", ["Wie am 8. Mai besprochen.", "Gut."]),
        ("I am 8. Then I am 19. Then", ["I am 8.", "Then I am 19.", "Then"]),
        ("", []),
        (" \n\n ... \n 🙂 ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(max_size=1500))
def test_sentences_lose_no_letter_and_never_overlap(text: str) -> None:
    found = sentences_of(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    covered = {at for sentence in found for at in range(sentence.start, sentence.end)}
    assert all(at in covered for at, character in enumerate(text) if character.isalnum())


def vectors(*kinds: int) -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal((len(kinds), 8)) * 0.05
    rows = np.eye(8)[list(kinds)] + noise
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_shift_of_topic_and_an_idle_gap_begin_segments() -> None:
    kinds = [0] * 9 + [1] * 10 + [2] * 3
    times = [n * 60_000_000 for n in range(19)] + [3 * HOUR + n for n in range(3)]
    assert segments.boundaries(times, vectors(*kinds)) == [9, 19]
    assert segments.boundaries([], np.zeros((0, 8), np.float32)) == []
    assert segments.boundaries([0], vectors(0)) == []


def test_no_segment_is_longer_than_the_longest() -> None:
    edges = [0, *segments.boundaries([0] * 200, vectors(*[0] * 200)), 200]
    lengths = np.diff(edges)
    assert lengths.max() <= segments.LONGEST
    assert lengths.min() >= 6


def candidate(words: str, message: int = 0, *, asks: bool = False) -> Candidate:
    terms = frozenset(words.split())
    return Candidate(terms=terms, words=len(words.split()), asks=asks, message=message)


def test_rare_words_win_over_small_talk_and_questions() -> None:
    said = [
        candidate("hello there how are things", 0),
        candidate("hello how are things there", 1),
        candidate("database moves from oracle to postgresql", 2),
        candidate("database moves from oracle where exactly", 3, asks=True),
        candidate("hello there things", 4),
    ]
    assert extracting.chosen(said, vectors(0, 0, 1, 1, 0), 5)[0] == 2


def test_what_repeats_a_chosen_sentence_comes_later() -> None:
    said = [
        candidate("database moves from oracle to postgresql", 0),
        candidate("database moves from oracle to postgresql soon", 1),
        candidate("invoices keep their numbers for auditors", 2),
    ]
    same = vectors(1, 1, 2)
    assert extracting.chosen(said, same, 12) in ([0, 2], [1, 2])


@pytest.mark.parametrize("words", [0, 10, 10_000])
def test_as_many_words_as_asked_and_in_order(words: int) -> None:
    said = [candidate(f"word{n} item{n} thing{n} place{n} time{n}", n) for n in range(200)]
    found = extracting.chosen(said, vectors(*(n % 8 for n in range(200))), words)
    assert found == sorted(set(found))
    assert len(found) == min(words // 5, 120)
    assert extracting.chosen([], np.zeros((0, 8), np.float32), words) == []
