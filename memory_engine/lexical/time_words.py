"""The words of six languages for times, and the ways in which they are put together.

A pattern is a regular expression in which `<group>` stands for any word of that table; what it means follows from its
groups. Seasons are those of the northern hemisphere; a winter is named after the year in which it begins.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

#: What a date may be written with in any language.
NUMERIC = (
    re.compile(r"(?<![\d/-])(?P<year>(?:19|20)\d\d)[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2}))?(?![\d/-])"),
    re.compile(r"(?<![\d./])(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>(?:19|20)\d\d)(?!\d)"),
)
_HAN_DIGITS = {sign: number for number, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "兩": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """One language's words for times."""

    months: Mapping[str, int]
    #: The month in which each season begins.
    seasons: Mapping[str, int]
    #: Monday is 0.
    weekdays: Mapping[str, int]
    #: "day", "week", "weekend", "month" or "year".
    units: Mapping[str, str]
    numbers: Mapping[str, int]
    #: Words for a day by how many days ago it is.
    days: Mapping[str, int]
    #: Words for a year by how many years ago it is.
    years: Mapping[str, int] = field(default_factory=dict)
    #: What may stand between two dates that bound one stretch.
    joint: str
    #: More specific ones first: none reads what another has read.
    patterns: Sequence[str]

    def compiled(self, patterns: Sequence[str]) -> tuple[re.Pattern[str], ...]:
        """Patterns with its words in."""
        words = {
            "month": _any_of(self.months), "season": _any_of(self.seasons), "weekday": _any_of(self.weekdays),
            "unit": _any_of(self.units), "daysago": _any_of(self.days), "yearsago": _any_of(self.years),
            "count": _any_of(self.numbers) + r"|\d{1,3}", "day": r"3[01]|[12]\d|0?[1-9]", "year": r"(?:19|20)\d\d",
            "hancount": r"[零一二三四五六七八九十两兩几幾]{1,3}|\d{1,3}",
            "handay": r"[一二三四五六七八九十]{1,3}|\d{1,2}",
        }  # fmt: skip
        filled = (re.sub(r"(?<!\?P)<(\w+)>", lambda at: _group(at[1], words), each) for each in patterns)
        return tuple(re.compile(each) for each in filled)


def number_of(word: str, table: Mapping[str, int]) -> int | None:
    """The number that a word stands for, by the table or as digits, Arabic or Chinese."""
    if word in table:
        return table[word]
    return int(word) if word.isdecimal() else _han_number(word)


def _han_number(word: str) -> int | None:
    """A number up to 99 in Chinese digits, or None."""
    tens, ten, ones = word.rpartition("十")
    if any(part and part not in _HAN_DIGITS for part in (tens, ones)):
        return None
    return (10 * _HAN_DIGITS.get(tens, 1) if ten else 0) + _HAN_DIGITS.get(ones, 0)


def _group(name: str, words: Mapping[str, str]) -> str:
    return f"(?P<{name.removeprefix('han')}>{words[name]})"


def _any_of(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True)) or "(?!)"


def _table(text: str, first: int = 1) -> dict[str, int]:
    """Words by number: a comma between numbers, spaces between words for one, `_` for a space in a word."""
    return {
        word.replace("_", " "): number
        for number, words in enumerate(text.split(","), first)
        for word in words.split()
    }  # fmt: skip


def _seasons(text: str) -> dict[str, int]:
    """Words for spring, summer, autumn, winter."""
    return {word: 3 * number for word, number in _table(text).items()}


def _units(text: str) -> dict[str, str]:
    """Words for day, week, weekend, month, year."""
    names = ("day", "week", "weekend", "month", "year")
    return {word: names[number] for word, number in _table(text, 0).items()}


def _forms(stems: str, endings: str) -> str:
    """Every stem with every ending; `-` is none."""
    return ",".join(
        " ".join(stem + ending.rstrip("-") for stem in each.split() for ending in endings.split())
        for each in stems.split(",")
    )


def _english() -> Language:
    when = r"\b(?:in|of|during|since|until|till|by|from|through|around|before|after|late|early|mid)[- ](?:the )?"
    past = r"\b(?P<last>last|past|previous)"
    return Language(
        months=_table(
            "january jan,february feb,march mar,april apr,may,june jun,july jul,august aug,september sept sep,"
            "october oct,november nov,december dec"
        ),
        seasons=_seasons("spring,summer,autumn fall,winter"),
        weekdays=_table("monday,tuesday,wednesday,thursday,friday,saturday,sunday", 0),
        units=_units("day days,week weeks,weekend weekends,month months,year years"),
        numbers=_table("a an one,two couple,three few,four several,five,six,seven,eight,nine,ten,eleven,twelve"),
        days=_table("today this_morning,yesterday last_night,the_day_before_yesterday", 0),
        joint="and|to|till|until|through|-|–",
        patterns=(
            r"\b<day>(?:st|nd|rd|th)?(?: of)? <month>\b\.?(?:,? ?<year>\b)?",
            r"\b<month>\b\.? (?:the )?<day>(?:st|nd|rd|th)?\b(?!:)(?:,? ?<year>\b)?",
            r"\b(?:<month>|<season>)\b,? (?:of )?<year>\b",
            r"\b<count>(?: of)? <unit> (?P<ago>ago|back|earlier)\b",
            rf"{past}(?: a)? <count>(?: of)? <unit>\b(?! of\b)",
            rf"{past} (?:<unit>|<month>|<season>|<weekday>)\b(?! of\b)",
            r"\b(?P<this>this) (?:past )?(?:<unit>|<month>|<season>)\b",
            r"\b<daysago>\b",
            rf"{when}(?:<month>|<season>)\b(?!\s+(?:i|you|we|he|she|it|they|be|have|not)\b)",
            rf"(?:{when}|\byear )<year>\b",
        ),
    )


def _french() -> Language:
    return Language(
        months=_table(
            "janvier,février fevrier,mars,avril,mai,juin,juillet,août aout,septembre,octobre,novembre,décembre decembre"
        ),
        seasons=_seasons("printemps,été,automne,hiver"),
        weekdays=_table("lundi,mardi,mercredi,jeudi,vendredi,samedi,dimanche", 0),
        units=_units("jour jours,semaine semaines,week-end week-ends weekend weekends,mois,an ans année années"),
        numbers=_table("un une,deux,trois quelques,quatre plusieurs,cinq,six,sept,huit,neuf,dix,onze,douze"),
        days=_table("aujourd'hui ce_matin,hier,avant-hier", 0),
        joint="et|au|à|jusqu'au|-|–",
        patterns=(
            r"\b<day>(?:er)? <month>\b(?: <year>\b)?",
            r"\b(?:<month>|<season>) (?:de )?<year>\b",
            r"\b(?P<ago>il y a)(?: environ| presque| à peu près)? <count> <unit>\b",
            r"\b<count> (?P<last>derniers|dernières) <unit>\b",
            r"\b(?:<unit>|<month>|<season>|<weekday>) (?P<last>dernier|dernière|passé|passée)\b",
            r"\b(?P<this>ce|cet|cette) (?:<unit>|<season>)\b",
            r"\b<daysago>\b",
            r"(?:\b(?:en|de|depuis|dès|jusqu'en|avant|après|début|fin|mi|courant)[- ]|\bd')<month>\b",
            r"(?:\b(?:au|du|le|en|cet) |\bl')<season>\b",
            r"\b(?:en|de|depuis|courant|début|fin|année) <year>\b",
        ),
    )


def _german() -> Language:
    return Language(
        months=_table(
            "januar jänner,februar,märz maerz,april,mai,juni,juli,august,september,oktober,november,dezember"
        ),
        seasons=_seasons("frühling frühjahr frühlings frühjahrs,sommer sommers,herbst herbstes,winter winters"),
        weekdays=_table("montag,dienstag,mittwoch,donnerstag,freitag,samstag sonnabend,sonntag", 0),
        units=_units(
            "tag tage tagen,woche wochen,wochenende wochenenden,monat monate monaten monats,jahr jahre jahren jahres"
        ),
        numbers=_table(
            "ein eine einem einer,zwei,drei ein_paar einigen,vier mehreren,fünf,sechs,sieben,acht,neun,zehn,elf,zwölf"
        ),
        days=_table("heute,gestern,vorgestern", 0),
        joint="und|bis|bis zum|-|–",
        patterns=(
            r"\b<day>\.? <month>\b(?: <year>\b)?",
            r"\b(?:<month>|<season>) <year>\b",
            r"\b(?P<ago>vor)(?: etwa| ungefähr| rund| gut| knapp)? <count> <unit>\b",
            r"\b(?P<last>(?:letzt|vorig|vergangen)e[nmrs]?)(?: <count>)? (?:<unit>|<month>|<season>|<weekday>)\b",
            r"\b(?P<this>diese[nmrs]?) (?:<unit>|<month>|<season>)\b",
            r"\b<daysago>\b",
            r"\b(?:im|in|seit|bis|ab|vor|nach|anfang|mitte|ende|des|vom)(?: dem| zum)? (?:<month>|<season>)\b",
            r"\b(?:in|seit|von|anfang|mitte|ende|jahre?) <year>\b",
        ),
    )


def _spanish() -> Language:
    past = r"(?P<last>pasad[oa]s?|últim[oa]s?)"
    return Language(
        months=_table(
            "enero,febrero,marzo,abril,mayo,junio,julio,agosto,septiembre setiembre,octubre,noviembre,diciembre"
        ),
        seasons=_seasons("primavera,verano,otoño,invierno"),
        weekdays=_table("lunes,martes,miércoles miercoles,jueves,viernes,sábado sabado,domingo", 0),
        units=_units("día días dia dias,semana semanas,fin_de_semana fines_de_semana,mes meses,año años"),
        numbers=_table(
            "un una,dos un_par_de,tres unos unas algunos algunas,cuatro varios varias,cinco,seis,siete,ocho,nueve,diez,"
            "once,doce"
        ),
        days=_table("hoy esta_mañana,ayer anoche,anteayer antier antes_de_ayer", 0),
        joint="y|e|a|al|hasta|-|–",
        patterns=(
            r"\b<day> de <month>\b(?: (?:de|del) <year>\b)?",
            r"\b(?:<month>|<season>) (?:de |del )?<year>\b",
            r"\b(?P<ago>hace)(?: casi| como| unos| unas)? <count> <unit>\b",
            rf"\b(?:<unit>|<month>|<season>|<weekday>) {past}\b",
            rf"\b{past}(?: <count>)? (?:<unit>|<month>|<season>|<weekday>)\b(?! de\b)",
            r"\b(?P<this>este|esta) (?:<unit>|<month>|<season>)\b",
            r"\b<daysago>\b",
            r"\b(?:en|de|desde|hasta|durante)(?: el mes de)? <month>\b",
            r"\b(?:en|del|durante|desde)(?: el| la)? <season>\b",
            r"\b(?:en|de|del|desde|durante|año) <year>\b",
        ),
    )


def _russian() -> Language:
    months = ",".join([
        _forms("январ,феврал", "ь я е ю ём ем"), _forms("март", "- а е у ом"), _forms("апрел", "ь я е ю ем"),
        "май мая мае маю маем",
        _forms("июн,июл", "ь я е ю ем"), _forms("август", "- а е у ом"),
        _forms("сентябр,октябр,ноябр,декабр", "ь я е ю ём ем"),
    ])  # fmt: skip
    adjectives = _forms(
        "январ,феврал,мартов,апрель,май,июнь,июль,августов,сентябрь,октябрь,ноябрь,декабрь",
        "ский ская ское скую ской ском ского ские ских",
    )
    past = r"(?P<last>(?:прошл|последн|минувш|прошедш)(?:[ыи]й|ая|ое|[ую]ю|[ое]й|[ое]м|[ое]го|[ыи]м|[ыи]е|[ыи]х|ее))"
    return Language(
        months=_table(months) | _table(adjectives),
        seasons=_seasons(
            "весна весны весне весну весной,лето лета лету летом,осень осени осенью,зима зимы зиме зиму зимой"
        ),
        weekdays=_table(
            "понедельник понедельника,вторник вторника,среду среда среды,четверг четверга,пятницу пятница пятницы,"
            "субботу суббота субботы,воскресенье воскресенья",
            0,
        ),
        units=_units(
            "день дня дней дни,неделя неделю недели недель неделе,выходные выходных,месяц месяца месяцев месяце месяцы,"
            "год года году лет"
        ),
        numbers=_table(
            "один одну,два две пару,три несколько,четыре,пять,шесть,семь,восемь,девять,десять,одиннадцать,двенадцать"
        ),
        days=_table("сегодня,вчера,позавчера", 0),
        joint="и|по|до|-|–",
        patterns=(
            r"\b<day>(?:-?го)? <month>\b(?: <year>\b)?",
            r"\b(?:<month>|<season>) <year>\b",
            r"\b<count> <unit> (?:тому )?(?P<ago>назад)\b",
            r"\b(?=(?:день|неделю|месяц|год)\b)<unit> (?:тому )?(?P<ago>назад)\b",
            rf"\b{past}(?: <count>)? (?:<unit>|<month>|<season>|<weekday>)\b",
            r"\b(?P<this>этот|эту|это|этой|этом|эти|этих|этим) (?:<unit>|<month>|<season>)\b",
            r"\b<daysago>\b",
            r"\b(?=[а-я]+ск)<month>\b",
            r"\b(?:в|во|с|со|до|к|после|от|за|начале|середине|конце) <month>\b",
            r"\b(?=весной|летом|осенью|зимой)<season>\b",
            r"\b<year>(?:-[а-я]{1,2})? (?:год|года|году|г)\b",
            r"\b(?:в|с|до|за) <year>\b",
        ),
    )


def _chinese() -> Language:
    year, measure = r"(?:<year> ?年|<yearsago>)的?", "[个個]?"
    digits = "一,二,三,四,五,六,七,八,九,十,十一,十二"
    return Language(
        months=_table(digits) | {f"{number:02}": number for number in range(1, 10)}
        | {str(number): number for number in range(1, 13)},
        seasons=_seasons("春天 春季,夏天 夏季,秋天 秋季,冬天 冬季"),
        weekdays={
            name + sign: number
            for name in ("周", "星期", "礼拜", "禮拜", "週")
            for number, signs in enumerate(("一", "二", "三", "四", "五", "六", "日天"))
            for sign in signs
        },
        units=_units("天,周 週 星期 礼拜 禮拜,周末 週末,月,年"),
        numbers={"几": 3, "幾": 3},
        days=_table("今天 今日 今早,昨天 昨日 昨晚,前天", 0),
        years=_table("今年,去年,前年", 0),
        joint="和|到|至|-|–",
        patterns=(
            rf"(?:{year})? ?<month> ?月(?: ?<handay> ?[日号號]|份)?",
            rf"{year}<season>",
            rf"<hancount> ?{measure}多?<unit>(?:之|以)?(?P<ago>前)",
            rf"(?P<last>上){measure}一?(?:<weekday>|<unit>)",
            rf"(?P<last>最近|过去|過去)(?:这|這)?<hancount> ?{measure}<unit>",
            rf"(?P<this>[这這本]){measure}<unit>",
            "<daysago>",
            year,
        ),
    )  # fmt: skip


@cache
def languages() -> Mapping[str, tuple[Language, tuple[re.Pattern[str], ...]]]:
    """Every language by name, with its patterns compiled."""
    known = {
        "english": _english(), "french": _french(), "german": _german(), "spanish": _spanish(),
        "russian": _russian(), "chinese": _chinese(),
    }  # fmt: skip
    return {name: (language, (*NUMERIC, *language.compiled(language.patterns))) for name, language in known.items()}
