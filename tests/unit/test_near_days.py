"""Days named without a month, in sentences that speak of the past and in others."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.lexical.time_expressions import Interval, time_asked, times_named
from memory_engine.links.references import references_in

#: A Wednesday.
NOW = datetime(2023, 8, 16, 15, 30, tzinfo=UTC)


def named(sentence: str, now: datetime = NOW) -> list[Interval]:
    return times_named([sentence], now, sentence)[0]


@pytest.mark.parametrize(
    ("sentence", "day"),
    [
        ("We agreed on Monday that the crew sleeps aboard.", 14),
        ("On Monday, we agreed to sleep aboard.", 14),
        ("On Monday he said he would come.", 14),
        ("We met the painter on Wednesday.", 9),
        ("Which paint did we choose on Tuesday?", 15),
        ("In Thursday's call we chose the blue paint.", 10),
        ("Friday the 11th we met the painters.", 11),
        ("The notes from Friday say so.", 11),
        ("Your letter of the 3rd asks for blue.", 3),
        ("Tom's review ended on the 6th.", 6),
        ("On the 10th we told the crew.", 10),
        ("On a choisi la peinture bleue lundi.", 14),
        ("Lundi, on avait dit que le mât attendrait.", 14),
        ("Comme convenu vendredi, je garde la clé.", 11),
        ("Le 10 nous avons vu le peintre.", 10),
        ("Votre lettre du 3 demande du bleu.", 3),
        ("Wie am Montag besprochen, bleibt der Mast.", 14),
        ("Was wir am Dienstag beschlossen haben, gilt.", 15),
        ("Am 10. haben wir den Maler getroffen.", 10),
        ("Der Brief vom 3. liegt hier.", 3),
        ("El lunes acordamos pintar el barco.", 14),
        ("Como dijimos el martes, el mástil espera.", 15),
        ("La carta del 3 pide más azul.", 3),
        ("В понедельник мы договорились красить лодку.", 14),
        ("Как решили в среду, мачта подождёт.", 9),
        ("После пятницы мы передумали.", 11),
        ("10-го мы видели маляра.", 10),
        ("周一我们说好了蓝色。", 14),
        ("10号我们讨论过桅杆。", 10),
    ],
)
def test_a_day_that_is_past(sentence: str, day: int) -> None:
    start = datetime(2023, 8, day, tzinfo=UTC)
    assert named(sentence) == [Interval(start=start, end=start + timedelta(days=1))]
    assert time_asked(sentence, NOW) is None, "a question's time is another matter"


@pytest.mark.parametrize(
    "sentence",
    [
        "On Monday we deploy.",
        "On Monday we will deploy what we agreed.",
        "We agreed to deploy on Monday.",
        "As we agreed, on Monday the crew sleeps aboard.",
        "He said he would come on Monday.",
        "They moved it to Monday.",
        "It is scheduled on Friday.",
        "Start the review of the plan on Monday.",
        "The launch was set for Monday.",
        "The launch is planned for Friday the 18th.",
        "Let's talk on the 20th.",
        "I was on the 2nd floor.",
        "Lundi on peint le mât.",
        "On a décidé de peindre lundi.",
        "On a repoussé au lundi.",
        "La fête est prévue le 20.",
        "Am Montag streichen wir den Mast.",
        "Wir haben vereinbart, dass wir am Montag streichen.",
        "Die Sitzung wurde auf Montag verschoben.",
        "Am 20. werden wir segeln.",
        "El lunes pintamos el mástil.",
        "Decidimos pintar el lunes.",
        "Lo dejamos para el lunes.",
        "В понедельник красим мачту.",
        "Решили красить мачту в понедельник.",
        "Перенесли на 20-го.",
        "Мы сломали 2-го робота.",
        "周一刷桅杆。",
        "我们说好周一刷桅杆。",
        "周一之前刷完了。",
        "每周一都开过会。",
        "我住过10号楼。",
    ],
)
def test_a_day_that_is_not(sentence: str) -> None:
    assert named(sentence) == []


def test_a_number_is_a_day_of_the_last_month_that_had_it() -> None:
    assert named("We met on the 20th.")[0].start == datetime(2023, 7, 20, tzinfo=UTC)
    assert named("We met on the 16th.")[0].start == datetime(2023, 7, 16, tzinfo=UTC)
    assert named("We met on the 20th.", datetime(2023, 1, 5, tzinfo=UTC))[0].start == datetime(2022, 12, 20, tzinfo=UTC)
    assert named("We met on the 31st.", datetime(2023, 7, 5, tzinfo=UTC)) == [], "June has no such day"
    assert named("We met on Friday the 10th.") == [], "it was a Thursday"


def test_a_date_with_its_month_is_read_as_a_whole() -> None:
    assert [time.start.month for time in named("We met on Monday 8 May, as agreed.")] == [5]
    assert [time.start.month for time in named("Nous nous sommes vus le lundi 8 mai.")] == [5]


def test_a_reference_by_such_a_day() -> None:
    (reference,) = references_in("Wie am 8. vereinbart, bleibt der Mast blau, und die Segel auch.", NOW)
    assert reference.has_cue
    assert [start for start, _ in reference.times] == [datetime(2023, 8, 8, tzinfo=UTC)]
    assert references_in("We met the painter on Monday.", NOW)[0].times
    assert references_in("On Monday we paint the mast.", NOW) == []


WORDS = """
on Monday the 31st 10 lundi le du 3 am vom Montag 8. haben gesagt el lunes dijo в среду 10-го решили 周一 说好 , to .
"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=14).map(" ".join), st.datetimes(timezones=st.just(UTC)))
def test_any_sentence_at_any_time_is_read(sentence: str, now: datetime) -> None:
    for time in named(sentence, now):
        assert time.start < time.end
