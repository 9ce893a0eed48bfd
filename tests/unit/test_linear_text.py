"""Texts made to be slow: each took seconds, or for ever, before its code was linear."""

import random
import re
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from assistant.agents import Agents
from memory_engine.consolidation.sentences import LONGEST_READ, MOST_SENTENCES, Sentence, sentences_of
from memory_engine.lexical import analysis
from memory_engine.lexical.analysis import analyse, analyse_query, words_of
from memory_engine.normal_form import normal_form

_OLD_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’]*|\n+")


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this thread."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


@pytest.mark.parametrize("mark", [".", "…", "?", "!", "…\"'", "。」", "\n"])
def test_sentences_of_a_run_of_marks_take_little_time(mark: str) -> None:
    assert seconds(lambda: sentences_of(mark * 25_000 + "x")) < 0.25


def test_sentences_of_any_text_are_those_of_the_simple_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    alphabet = [*".!?…\"')] \n\tab1。！？」”’é", "e.g. ", "Mr. ", "am 3. ", "... ", "a sentence. "]
    chance = random.Random(17)
    texts = ["".join(chance.choices(alphabet, k=chance.randint(0, 60))) for _ in range(20_000)]
    found = [sentences_of(text) for text in texts]
    monkeypatch.setattr("memory_engine.consolidation.sentences._END", _OLD_END)
    assert found == [sentences_of(text) for text in texts]


def test_sentences_of_a_document_are_those_of_its_beginning() -> None:
    many = sentences_of("One more. " * 50_000)
    assert len(many) == MOST_SENTENCES
    assert many[1] == Sentence(start=10, end=19)
    assert sentences_of("word " * 300_000)[-1].end <= LONGEST_READ


@pytest.mark.parametrize(
    "text",
    [
        "позови" + " " * 8_000 + "x",
        "позови " * 4_000,
        "switch" + " " * 16_000,
        "@" * 16_000,
        "соедини" + "-соедини" * 2_000,
    ],
)
def test_an_agent_is_looked_for_in_little_time(text: str) -> None:
    agents = Agents()
    assert seconds(lambda: agents.asked_for(text)) < 0.25
    assert agents.asked_for(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "@pm what is next?", "  @pm", "Switch  me\nover to the pm", "could you put me through to pm", "speak with pm",
        "passe-moi à l'agent pm", "parler avec pm", "переключи меня на pm", "соедини со pm", "позови агента pm",
        "позови   pm", "переключите на агента pm",
    ],
)  # fmt: skip
def test_an_agent_is_asked_for_as_before(text: str) -> None:
    assert Agents().asked_for(text) == "pm"


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_many_marks_on_one_letter_are_normalised_in_little_time(form: Any) -> None:
    assert seconds(lambda: normal_form(form, "a" + "\u0301\u0316" * 20_000)) < 0.5
    assert seconds(lambda: normal_form(form, "ﷺ" * 20_000)) < 0.5


def test_normal_forms_of_ordinary_texts_are_exact() -> None:
    chance = random.Random(3)
    for word in (
        "e\u0301te\u0301 ",
        "слово ",
        "나는 한국",
        "漢字かな",
        "ﬁne ",
        "Ångström ",
        "\u1112\u1161\u11ab\u1100 ",
        "हिन्दी ",
    ):
        text = "".join(chance.choice([word, "plain "]) for _ in range(300))
        for form in ("NFC", "NFKC"):
            assert normal_form(form, text) == unicodedata.normalize(form, text)  # type: ignore[arg-type]


def test_a_word_of_a_megabyte_is_analysed_in_little_time() -> None:
    assert seconds(lambda: analyse("ge" * 40_000)) < 0.5  # German: its endings were terms, each of them
    assert "dampfschifffahrt" in analyse("die Donaudampfschifffahrt ist eine Fahrt auf der Donau").terms


def test_words_of_a_long_text_are_those_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The pier's opening, e\u0301te\u0301 2026; c’est l’été: ｗｉｄｅ 港口 и слова. " * 2_000
    pieces = words_of(text)
    monkeypatch.setattr(analysis, "_PIECE", 10**9)
    assert pieces == words_of(text)


def test_a_query_of_many_words_is_read_as_far_as_it_is_used() -> None:
    text = " ".join(f"word{number}" for number in range(500))
    assert analyse_query(text, 200) == analyse_query(text)[:200]
    long = " ".join(f"word{number}" for number in range(100_000))
    assert seconds(lambda: analyse_query(long, 200)) < 1.0
