"""Times in questions, told from the rules of each language."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.lexical.time_expressions import Interval, time_asked

#: A Wednesday.
NOW = datetime(2023, 8, 16, 15, 30, tzinfo=UTC)


def days(start: str, end: str) -> Interval:
    return Interval(
        start=datetime.fromisoformat(start).replace(tzinfo=UTC), end=datetime.fromisoformat(end).replace(tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("What did Ann find on 8 May 2023?", "2023-05-08", "2023-05-09"),
        ("What did Ann find on May 8th?", "2023-05-08", "2023-05-09"),
        ("What did Ann find on the 3rd of September?", "2022-09-03", "2022-09-04"),
        ("Where was Ann on December 1,2022?", "2022-12-01", "2022-12-02"),
        ("What did Ann buy in June 2023?", "2023-06-01", "2023-07-01"),
        ("What did Ann buy in mid-August?", "2023-08-01", "2023-09-01"),
        ("What was decided in May?", "2023-05-01", "2023-06-01"),
        ("What was logged in 2023-05?", "2023-05-01", "2023-06-01"),
        ("What was logged on 2023-05-31?", "2023-05-31", "2023-06-01"),
        ("Where did Ann travel in 2022?", "2022-01-01", "2023-01-01"),
        ("Where was Ann in the winter of 2021?", "2021-12-01", "2022-03-01"),
        ("Where was Ann between August 11 and August 15 2023?", "2023-08-11", "2023-08-16"),
        ("What did I say yesterday?", "2023-08-15", "2023-08-16"),
        ("What did I say the day before yesterday?", "2023-08-14", "2023-08-15"),
        ("What did I cook last week?", "2023-08-07", "2023-08-14"),
        ("What did I cook last weekend?", "2023-08-12", "2023-08-14"),
        ("Who came last Saturday?", "2023-08-12", "2023-08-13"),
        ("What did I cook this month?", "2023-08-01", "2023-09-01"),
        ("Which museum did I see two months ago?", "2023-06-01", "2023-07-02"),
        ("What did I buy 10 days ago?", "2023-08-05", "2023-08-08"),
        ("What did I cook in the past few months?", "2023-05-17", "2023-08-17"),
        ("Where did I go last spring?", "2023-03-01", "2023-06-01"),
        ("Where did I go last summer?", "2022-06-01", "2022-09-01"),
        ("What did we do last year?", "2022-01-01", "2023-01-01"),
        ("Qu'est-ce que Paul a dit le 3 mars ?", "2023-03-03", "2023-03-04"),
        ("Où étions-nous en août 2022 ?", "2022-08-01", "2022-09-01"),
        ("Qu'a dit Paul la semaine dernière ?", "2023-08-07", "2023-08-14"),
        ("Qu'est-ce que j'ai acheté il y a deux mois ?", "2023-06-01", "2023-07-02"),
        ("Où sommes-nous allés l'été dernier ?", "2022-06-01", "2022-09-01"),
        ("Qu'avons-nous décidé avant-hier ?", "2023-08-14", "2023-08-15"),
        ("Was hat Paul am 8. Mai 2023 gesagt?", "2023-05-08", "2023-05-09"),
        ("Wo waren wir im März?", "2023-03-01", "2023-04-01"),
        ("Was habe ich letzte Woche gekauft?", "2023-08-07", "2023-08-14"),
        ("Was habe ich vor zwei Monaten gekauft?", "2023-06-01", "2023-07-02"),
        ("Was haben wir gestern beschlossen?", "2023-08-15", "2023-08-16"),
        ("Was stand im Protokoll vom 08.05.2023?", "2023-05-08", "2023-05-09"),
        ("¿Qué dijo Ana el 3 de marzo de 2022?", "2022-03-03", "2022-03-04"),
        ("¿Dónde estuvimos en junio?", "2023-06-01", "2023-07-01"),
        ("¿Qué hicimos la semana pasada?", "2023-08-07", "2023-08-14"),
        ("¿Qué compré hace dos meses?", "2023-06-01", "2023-07-02"),
        ("¿Qué dijo Ana ayer?", "2023-08-15", "2023-08-16"),
        ("Что Аня говорила в марте?", "2023-03-01", "2023-04-01"),
        ("Кто дежурил утром 20 мая?", "2023-05-20", "2023-05-21"),
        ("Что решили после августовской аварии?", "2023-08-01", "2023-09-01"),
        ("Что мы решили на прошлой неделе?", "2023-08-07", "2023-08-14"),
        ("Что я купил два месяца назад?", "2023-06-01", "2023-07-02"),
        ("Что я купил неделю назад?", "2023-08-06", "2023-08-14"),
        ("Где мы были прошлым летом?", "2022-06-01", "2022-09-01"),
        ("Куда мы ездили в прошлом году?", "2022-01-01", "2023-01-01"),
        ("Что он сказал вчера?", "2023-08-15", "2023-08-16"),
        ("去年十一月大家说了什么？", "2022-11-01", "2022-12-01"),
        ("11月26号为什么不能上线？", "2022-11-26", "2022-11-27"),
        ("2023年5月8日发生了什么？", "2023-05-08", "2023-05-09"),
        ("上周说了什么？", "2023-08-07", "2023-08-14"),
        ("昨天说了什么？", "2023-08-15", "2023-08-16"),
        ("两个月前买了什么？", "2023-06-01", "2023-07-02"),
    ],
)
def test_a_time_in_a_question(question: str, start: str, end: str) -> None:
    assert time_asked(question, NOW) == days(start, end)


@pytest.mark.parametrize(
    "question",
    [
        "May I bring my dog?",
        "When may I call Ann?",
        "Who may have it by May be damned?",
        "How should they march on?",
        "What made the fall so bad?",
        "Which dish did Ann make?",
        "How many weeks ago did I move?",
        "Сколько месяцев назад я переехал?",
        "What happened in the last week of the trip?",
        "What does room 2022 cost?",
        "What was due on 31 February 2023?",
        "Was gibt es hier?",
        "Quelle a été la réponse ?",
        "Сколько месяцев длился ремонт?",
        "每个月付多少租金？",
    ],
)
def test_no_time_in_a_question(question: str) -> None:
    assert time_asked(question, NOW) is None


def test_the_narrowest_time_counts() -> None:
    assert time_asked("What did Ann do last year on 3 June 2022?", NOW) == days("2022-06-03", "2022-06-04")


def test_a_date_without_a_year_is_not_after_the_newest_message() -> None:
    newest = datetime(2022, 4, 1, tzinfo=UTC)
    assert time_asked("Where did Ann go in May?", NOW, newest) == days("2021-05-01", "2021-06-01")
    assert time_asked("Where did Ann go last week?", NOW, newest) == days("2023-08-07", "2023-08-14")


def test_days_are_those_of_the_asker() -> None:
    zone = timezone(timedelta(hours=9))
    found = time_asked("What did I say yesterday?", datetime(2023, 8, 16, 1, 0, tzinfo=zone))
    assert found == Interval(start=datetime(2023, 8, 15, tzinfo=zone), end=datetime(2023, 8, 16, tzinfo=zone))


WORDS = """
in on last 2 999 ago years months weeks of may 31 february 2023 2023-13 0 weekend yesterday 十 三 月 日 上周
прошлой неделе назад лет il y a ans vor jahren hace años - and 99.99.1999
"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join), st.datetimes(timezones=st.just(UTC)))
def test_any_text_at_any_time_is_read(question: str, now: datetime) -> None:
    found = time_asked(question, now)
    assert found is None or found.start < found.end
