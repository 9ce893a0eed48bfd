"""When a question asks about: the dates and relative times in it, resolved against the question's own time.

Rules only (`time_words`). Where several times are named the narrowest counts, and where two bound one stretch, that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise

from memory_engine.lexical.analysis import language_of, words_of
from memory_engine.lexical.near_days import near_days
from memory_engine.lexical.time_words import Language, languages, number_of
from memory_engine.normal_form import normal_form

_DAY = timedelta(days=1)
_UNIT_DAYS: Mapping[str, float] = {"day": 1, "weekend": 7, "week": 7, "month": 30.44, "year": 365.25}
#: How long ago something was is said to within this share of it.
_UNSURE = 0.1
_LONGEST_AGO = timedelta(days=36_525)
#: Characters of a text that are read: a question of more is a document.
_LONGEST = 2_000
_HAN = re.compile("[\u4e00-\u9fff]")

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A stretch of time, from `start` up to and without `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class _Times:
    """What the times in a question are told from."""

    #: The question's own time.
    now: datetime
    #: When the newest message was said: a date without a year is not after it.
    newest: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class _Named:
    """What one expression names; a part that it lacks is None."""

    year: int | None
    month: int | None
    day: int | None
    season: int | None
    weekday: int | None
    unit: str | None
    count: int | None
    days_ago: int | None
    years_ago: int | None
    #: How it stands to now: "ago", "last" or "this"; None for a date.
    relation: str | None


def time_asked(text: str, now: datetime, newest: datetime | None = None) -> Interval | None:
    """The stretch of time that a question names, or None where it names none.

    Args:
        text: the question.
        now: the question's own time, with a zone; days are that zone's days.
        newest: when the newest message that may answer was said; the question's own time unless given.
    """
    plain = _plain(text)
    language, patterns = languages()[_language_of(plain)]
    times = _Times(now=now, newest=min(now, newest or now))
    found = _found(_matches(plain, patterns), language, times)
    return _joined(plain, found, language) or min(
        (interval for _, interval in found), key=lambda each: each.end - each.start, default=None
    )


def times_named(sentences: Sequence[str], now: datetime, around: str) -> list[list[Interval]]:
    """Every stretch of time that each of the sentences names, in its order.

    A day without a month is the last such day, in sentences that speak of the past.

    Args:
        sentences: of one text.
        now: as for `time_asked`.
        around: that text, which tells its language better than a few words do.
    """
    name = _language_of(_plain(around))
    language, patterns = languages()[name]
    near = near_days(name)
    times = _Times(now=now, newest=now)
    named = []
    for plain in map(_plain, sentences):
        matches = [
            match
            for match in _matches(plain, (*patterns, *near.patterns))
            if match.re not in near.patterns or near.are_past(plain, match)
        ]
        named.append([interval for _, interval in _found(matches, language, times)])
    return named


def _language_of(plain: str) -> str:
    return "chinese" if _HAN.search(plain) else language_of(words_of(plain))


def _plain(text: str) -> str:
    return normal_form("NFKC", text[:_LONGEST]).lower().replace("’", "'")


def _matches(plain: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[re.Match[str]]:
    """What the patterns find; none reads what another has read."""
    taken: list[Span] = []
    for pattern in patterns:
        for match in pattern.finditer(plain):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                yield match


def _found(matches: Iterable[re.Match[str]], language: Language, times: _Times) -> list[tuple[Span, Interval]]:
    """Every time that is named, and where it stands, in the text's order."""
    found = ((match.span(), _resolved(_named(match, language), times)) for match in matches)
    return sorted(((span, interval) for span, interval in found if interval), key=lambda each: each[0])


def _joined(plain: str, found: Sequence[tuple[Span, Interval]], language: Language) -> Interval | None:
    """From the first to the second of two times with a word like "to" between them."""
    for (first, earlier), (second, later) in pairwise(found):
        between = plain[first[1] : second[0]]
        if re.fullmatch(rf"\s*(?:{language.joint})\s*", between) and earlier.start <= later.start:
            return Interval(start=earlier.start, end=max(earlier.end, later.end))
    return None


def _named(match: re.Match[str], language: Language) -> _Named:
    said = {group: word for group, word in match.groupdict().items() if word is not None}

    def number(group: str, table: Mapping[str, int]) -> int | None:
        return number_of(said[group], table) if group in said else None

    return _Named(
        year=number("year", {}),
        month=number("month", language.months),
        day=number("day", {}),
        season=number("season", language.seasons),
        weekday=number("weekday", language.weekdays),
        unit=language.units.get(said.get("unit", "")),
        count=number("count", language.numbers),
        days_ago=number("daysago", language.days),
        years_ago=number("yearsago", language.years),
        relation=next((name for name in ("ago", "last", "this") if name in said), None),
    )


def _resolved(named: _Named, times: _Times) -> Interval | None:
    """The stretch that an expression names; None for a date that there is not."""
    today = times.now.date()
    try:
        if named.days_ago is not None:
            return _between(today - named.days_ago * _DAY, today - (named.days_ago - 1) * _DAY, times)
        if named.day is not None and named.month is None:
            return _numbered(named.day, named.weekday, times)
        if named.weekday is not None:
            day = today - ((today.weekday() - named.weekday - 1) % 7 + 1) * _DAY
            return _between(day, day + _DAY, times)
        if named.unit is not None:
            return _by_unit(named, named.unit, times)
        return _dated(named, times)
    except (ValueError, OverflowError):
        return None


def _numbered(number: int, weekday: int | None, times: _Times) -> Interval | None:
    """The last day before today of that number in its month; None where it is another day of the week than named."""
    today = times.now.date()
    day = _first_of(today.year, today.month - (number >= today.day)).replace(day=number)
    return None if weekday not in (None, day.weekday()) else _between(day, day + _DAY, times)


def _by_unit(named: _Named, unit: str, times: _Times) -> Interval | None:
    today = times.now.date()
    if named.relation != "ago" and named.count is None:
        start = _start_of(unit, today, back=named.relation == "last")
        return _between(start, _end_of(unit, start), times)
    length = timedelta(days=_UNIT_DAYS[unit])
    gone = (1 if named.count is None else named.count) * length
    if gone > _LONGEST_AGO:
        return None
    if named.relation != "ago":
        return _between((times.now - gone).date(), today + _DAY, times)
    around = max(gone * _UNSURE, length / 2 if unit != "day" else timedelta())
    return _between((times.now - gone - around).date(), (times.now - gone + around).date() + _DAY, times)


def _start_of(unit: str, today: date, *, back: bool) -> date:
    """The first day of the present day, week, weekend, month or year, or of the one before."""
    if unit == "day":
        return today - back * _DAY
    if unit == "week":
        return today - (today.weekday() + 7 * back) * _DAY
    if unit == "weekend":
        saturday = today - ((today.weekday() - 5) % 7) * _DAY
        return saturday - (7 * _DAY if back and today.weekday() >= 5 else timedelta())
    if unit == "month":
        return _first_of(today.year, today.month - back)
    return date(today.year - back, 1, 1)


def _end_of(unit: str, start: date) -> date:
    if unit == "month":
        return _first_of(start.year, start.month + 1)
    if unit == "year":
        return date(start.year + 1, 1, 1)
    return start + {"day": 1, "week": 7, "weekend": 2}[unit] * _DAY


def _dated(named: _Named, times: _Times) -> Interval | None:
    if named.years_ago is not None:
        named = replace(named, year=times.now.year - named.years_ago)
    month = named.month if named.season is None else named.season
    if month is None:
        return None if named.year is None else _between(date(named.year, 1, 1), date(named.year + 1, 1, 1), times)
    if named.year is not None:
        return _in_year(named.year, month, named, times)
    latest = times.now if named.relation else times.newest
    found = _in_year(latest.year, month, named, times)
    if found.start > latest or (named.relation == "last" and found.end > latest):
        return _in_year(latest.year - 1, month, named, times)
    return found


def _in_year(year: int, month: int, named: _Named, times: _Times) -> Interval:
    if not 1 <= month <= 12:
        raise ValueError(month)
    if named.day is not None:
        day = date(year, month, named.day)
        return _between(day, day + _DAY, times)
    return _between(_first_of(year, month), _first_of(year, month + (1 if named.season is None else 3)), times)


def _first_of(year: int, month: int) -> date:
    """The first day of a month; month 13 is next January and month 0 last December."""
    return date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)


def _between(start: date, end: date, times: _Times) -> Interval:
    return Interval(start=_midnight(start, times.now), end=_midnight(end, times.now))


def _midnight(day: date, now: datetime) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)
