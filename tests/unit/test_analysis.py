"""From texts to terms, in several languages."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_engine.lexical.analysis import analyse, analyse_message, analyse_query, term_ids


def meet(said: str, asked: str) -> set[str]:
    """The words of the question that find the message."""
    terms = set(analyse(said).terms)
    return {term.word for term in analyse_query(asked) if terms.intersection(term.stems)}


@pytest.mark.parametrize(
    ("said", "asked", "words"),
    [
        ("We were painting the kitchens.", "Who paints kitchens?", {"paints", "kitchens"}),
        ("Nous avons visité l'appartement hier.", "visiter appartement", {"visiter", "appartement"}),
        ("Мы переехали в Белград.", "Когда переехать в Белград?", {"белград"}),
        ("Wir haben die Häuser gesehen.", "Haus gesehen", {"gesehen"}),
        ("Vivimos en casas pequeñas.", "casa pequeña", {"casa", "pequeña"}),
        ("Ana's cat", "the cat of Ana", {"cat", "ana"}),
        ("See RW-212 and v2.3.1", "What was rw-212?", {"rw", "212", "rw-212"}),
        ("我喜欢吃苹果", "苹果好吃吗", {"苹果"}),
    ],
)
def test_a_question_meets_the_message(said: str, asked: str, words: set[str]) -> None:
    assert meet(said, asked) >= words


def test_stop_words_say_nothing() -> None:
    assert analyse_query("what is the of and") == []
    assert analyse("to be or not to be").terms == ()
    assert analyse("to be or not to be").words == 6


def test_a_message_is_also_its_speaker_and_its_date() -> None:
    terms = set(analyse_message("Hello", "Ana Maria", datetime(2026, 5, 8, tzinfo=UTC)).terms)
    for asked in ("Ana", "maria", "8 May 2026", "le 8 mai", "8 мая"):
        assert any(terms.intersection(term.stems) for term in analyse_query(asked)), asked


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_analysed_and_always_the_same_way(text: str) -> None:
    assert analyse(text) == analyse(text)
    assert analyse(f"{text} boat").words == analyse(text).words + 1
    assert analyse_query(text) == analyse_query(text)


def test_term_ids_depend_on_the_key() -> None:
    assert term_ids(["boat"], b"a" * 16) != term_ids(["boat"], b"b" * 16)
    assert term_ids(["boat", "boat"], b"a" * 16).tolist() == [term_ids(["boat"], b"a" * 16)[0]] * 2


def test_a_german_compound_is_found_by_its_head() -> None:
    said = analyse("Wir haben gestern die neue Wärmepumpe und die Einkommensteuer besprochen.").terms
    for word in ("Pumpe", "Steuer", "Wärmepumpe"):
        (asked,) = analyse_query(word)
        assert set(asked.stems) & set(said), word
    assert "pump" not in analyse("We talked about the heatpump yesterday.").terms
