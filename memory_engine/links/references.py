"""Sentences that point to an earlier conversation: by a date that is past, or by words of an agreement."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from memory_engine.consolidation.sentences import sentences_of
from memory_engine.lexical.time_expressions import Interval, times_named

#: A time that is longer says too little about when.
_LONGEST = timedelta(days=32)
#: A decision is often told of, or reviewed, some days later than the day that is named.
_AFTERWARDS = timedelta(days=3)
#: Sentences of one message that are looked at.
_MOST = 4
#: Sentences whose times are looked for at once.
_AT_ONCE = 50
_ID = re.compile(r"\b(?:thread|msg)_[A-Za-z0-9_]{3,80}\b")

# Words by which people refer to what was settled, or told, before.
_CUES = re.compile(
    r"\b(?:as (?:we|you|i|\w+ and i) (?:agreed|decided|said|discussed|settled)"
    r"|we (?:agreed|decided|settled|said|closed)|(?:was|were) (?:agreed|decided|settled)|sent me (?:over|here)"
    r"|(?:discussion|conversation|talk|review|call|letter|notes|minutes|decision) (?:of|from|with|on|about)"
    r"|\w+'s (?:discussion|review|conversation|letter|call)|in the \w+ (?:discussion|spec|review)"
    r"|last (?:time|thing) (?:we|you|i)|the (?:review|decision|discussion|agreement) "
    r"|la dernière (?:fois|chose) qu"
    r"|comme convenu|convenu avec|(?:on|nous) (?:l')?(?:avait|avons|a|avions) (?:décidé|dit|fixé|convenu)"
    r"|(?:règle|condition|date|décision|périmètre|choix) (?:fixée?|arrêtée?|décidée?|prise?)"
    r"|(?:discussion|conversation|analyse|réunion|lettre|compte rendu) (?:d'|de |du |des |avec )|vus? avec|signalé"
    r"|как (?:мы )?(?:решили|договорились|обсуждали|говорили)|мы (?:решили|поменяли|записали|договорились)"
    r"|(?:обсуждени|разговор|решени|разбор|письм)\w+|договорились|намечен\w+"
    r"|в прошлый раз|последнее,? что (?:мы|я|ты|вы)"
    r"|wie (?:\S+ ){0,3}(?:besprochen|vereinbart|beschlossen)|haben wir (?:vereinbart|beschlossen|besprochen)"
    r"|(?:letztes mal|das letzte,? was) (?:wir|ich|du)"
    r"|como (?:acordamos|quedamos|dijimos|hablamos)|la última vez que|lo último que)",
    re.IGNORECASE,
)
_CHINESE_CUES = re.compile("之前说|上次|我们说好|已经决定|之前讨论|商量好")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A sentence that points back."""

    text: str
    #: When what it points to may have been said, as (from, until); none for any time before.
    times: tuple[tuple[datetime, datetime], ...]
    #: Whether its words say that something was settled or told.
    has_cue: bool


def references_in(text: str, said_at: datetime) -> list[Reference]:
    """The sentences of a message that point to something said earlier elsewhere."""
    sentences = [sentence.of(text) for sentence in sentences_of(text)]
    found = list[Reference]()
    for words, named in _with_times(sentences, said_at, text):
        if len(found) == _MOST:
            break
        cue = bool(_CUES.search(words) or _CHINESE_CUES.search(words))
        times = tuple(
            (time.start, min(time.end + _AFTERWARDS, said_at))
            for time in named
            if time.end - time.start <= _LONGEST and time.start < said_at
        )
        if times or cue:
            found.append(Reference(text=words, times=times, has_cue=cue))
    return found


def _with_times(sentences: Sequence[str], said_at: datetime, text: str) -> Iterator[tuple[str, list[Interval]]]:
    """Each sentence with the times that it names, some at once: a message has four references, or few."""
    for start in range(0, len(sentences), _AT_ONCE):
        some = sentences[start : start + _AT_ONCE]
        yield from zip(some, times_named(some, said_at, text), strict=True)


def ids_in(text: str) -> list[str]:
    """The ids of threads and messages that a text names."""
    return list(dict.fromkeys(_ID.findall(text)))
