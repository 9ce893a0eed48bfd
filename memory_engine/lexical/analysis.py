"""From a text to its terms: words, stop words out, stems by language, n-grams where words are not spaced.

A message's terms are what was said, who said it and when, so that a name or a month in a question finds it.
"""

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import numpy as np
from numpy.typing import NDArray
from Stemmer import Stemmer

from memory_engine.lexical.stopwords import STOP_WORDS
from memory_engine.normal_form import normal_form

#: To be raised whenever the same text gives other terms than before; a store notes the one that it was made with.
ANALYSER_VERSION = 1

TermIds = NDArray[np.uint32]

# An identifier keeps its parts and stands as one term too: RW-212, v2.3.1, user_id.
_WORD = re.compile(r"\w+(?:['’]\w+)?", re.UNICODE)
# It begins at a word's edge and never gives back, or a text of one long word would take quadratic time.
_IDENTIFIER = re.compile(r"\b\w++(?:[-./]\w++)+", re.UNICODE)
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
# What says little in Chinese: particles, and the words that ask. Pairs of characters do not reach across them.
_CHINESE_STOP = re.compile(
    "为什么|為什麼|什么|什麼|甚麼|怎么样|怎麼樣|怎么|怎麼|怎样|怎樣|多少|哪里|哪裡|哪儿|哪兒|哪个|哪個|哪些|时候|時候"
    "|[的了吗嗎呢吧啊呀嘛么麼是就都也很着著哪谁誰]"
)
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_LONGEST_WORD = 64
#: Letters that a compound has at least before its head, and the head itself.
_SHORTEST_PART, _SHORTEST_HEAD = 3, 4
#: Letters of the longest word that is taken for a compound: each of its endings is a term.
_LONGEST_COMPOUND = 256
#: Characters that are read in one call.
_PIECE = 16_384
_QUESTION_MARKS = ("?", "？", "؟")

_MONTHS = (
    "january janvier января январь", "february février февраля февраль", "march mars марта март",
    "april avril апреля апрель", "may mai мая май", "june juin июня июнь", "july juillet июля июль",
    "august août августа август", "september septembre сентября сентябрь",
    "october octobre октября октябрь", "november novembre ноября ноябрь",
    "december décembre декабря декабрь",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """What a text was found to consist of."""

    #: Stems in the order of the text, repeated as often as said.
    terms: tuple[str, ...]
    #: Words, stop words included; a run of n characters without spaces counts n/2.
    words: int
    #: Whether it ends with a question.
    asks: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryTerm:
    """One word of a query, with every stem that a message may have it under."""

    word: str
    stems: tuple[str, ...]


def analyse(text: str) -> Analysis:
    """The terms of a text, by its own language."""
    words = words_of(text)
    language = language_of(words)
    stop = STOP_WORDS[language]
    terms = [_stem(word, language) for word in words if word not in stop]
    if language == "german":
        terms += [_stem(head, language) for word in words for head in _heads(word)]
    unspaced = _UNSPACED.findall(text)
    terms += [gram for run in unspaced for gram in _bigrams(run)]
    return Analysis(
        terms=tuple(terms + _identifiers(text)),
        words=len(words) + sum(len(run) for run in unspaced) // 2,
        asks=text.rstrip().endswith(_QUESTION_MARKS),
    )


def analyse_message(text: str, name: str | None, said_at: datetime) -> Analysis:
    """The terms of a message: those of its text, its speaker's name, and its date."""
    body = analyse(text)
    spoken = [_stem(word, "english") for word in words_of(name or "")]
    date = [str(said_at.day), str(said_at.year), *_month_terms()[said_at.month - 1]]
    return replace(body, terms=(*body.terms, *spoken, *date))


def analyse_query(text: str, most: int | None = None) -> list[QueryTerm]:
    """The distinct words of a query that say something, in order, each under every language's stem.

    A message's stems follow its own language, which a query of few words does not tell.

    Args:
        text: the query.
        most: how many words are returned, the first ones; all unless given.
    """
    words = words_of(text)
    stop = STOP_WORDS[language_of(words)]
    found: dict[tuple[str, ...], QueryTerm] = {}
    for word in dict.fromkeys(words):
        if len(found) == most:
            return list(found.values())
        if word not in stop:
            stems = stems_of(word)
            found.setdefault(stems, QueryTerm(word=word, stems=stems))
    exact = [gram for run in _UNSPACED.findall(text) for gram in _bigrams(run)] + _identifiers(text)
    for term in exact:
        found.setdefault((term,), QueryTerm(word=term, stems=(term,)))
    return list(found.values())[:most]


def stems_of(word: str) -> tuple[str, ...]:
    """Every language's stem of a word, each once."""
    return tuple(dict.fromkeys(_stem(word, language) for language in _languages_of(word)))


def language_of(words: Sequence[str]) -> str:
    """The language with the most stop words among these; where that does not tell, lingua's guess."""
    is_cyrillic = _is_cyrillic(words)
    script = [language for language in STOP_WORDS if (language == "russian") == is_cyrillic]
    votes = {language: sum(word in STOP_WORDS[language] for word in words) for language in script}
    best = max(votes.values())
    leaders = [language for language in script if votes[language] == best]
    if len(leaders) == 1:
        return leaders[0]
    return _guess(" ".join(words)) if words else "english"


def term_ids(terms: Iterable[str], key: bytes) -> TermIds:
    """Keyed 32-bit hashes of terms, so that no vocabulary has to be kept, or erased."""
    return np.array([_term_id(term, key) for term in terms], dtype=np.uint32)


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared: lower case, without a possessive ending."""
    found = (word for plain in _plain_pieces(_UNSPACED.sub(" ", text)) for word in _WORD.findall(plain))
    return [word[:-2] if _is_possessive(word) else word for word in found]


def _plain_pieces(text: str) -> Iterator[str]:
    """The text as its words are compared, in pieces, since one call over all of it would hold up every thread."""
    start = 0
    while start < len(text):
        end = start + _PIECE
        if end < len(text):
            end = text.rfind(" ", start + _PIECE // 2, end) + 1 or end
        yield normal_form("NFKC", text[start:end]).lower().replace("’", "'")
        start = end


def _is_possessive(word: str) -> bool:
    return word.endswith("'s") and word not in STOP_WORDS["english"]


def _heads(word: str) -> list[str]:
    """What a German compound may be a kind of: its endings, of which those that are no words harm little."""
    if len(word) > _LONGEST_COMPOUND or not word.isalpha():
        return []
    return [word[at:] for at in range(_SHORTEST_PART, len(word) - _SHORTEST_HEAD + 1)]


def _identifiers(text: str) -> list[str]:
    found = (match.group().lower() for match in _IDENTIFIER.finditer(text))
    return [name for name in found if any(c.isdigit() for c in name) and len(name) <= _LONGEST_WORD]


def _bigrams(run: str) -> list[str]:
    parts = [part for part in _CHINESE_STOP.split(run) if part]
    return [gram for part in parts for gram in ([part[i : i + 2] for i in range(len(part) - 1)] or [part])]


def _is_cyrillic(words: Sequence[str]) -> bool:
    return 2 * sum(_CYRILLIC.search(word) is not None for word in words) > len(words)


def _languages_of(word: str) -> list[str]:
    return ["russian"] if _CYRILLIC.search(word) else [name for name in STOP_WORDS if name != "russian"]


def _guess(text: str) -> str:
    language = _detector().detect_language_of(text[:1_000])
    name = "english" if language is None else language.name.lower()
    return name if name in STOP_WORDS else "english"


@cache
def _detector():  # type: ignore[no-untyped-def]  # lingua's class, imported only when first needed
    from lingua import Language, LanguageDetectorBuilder

    languages = (getattr(Language, name.upper()) for name in STOP_WORDS)
    return LanguageDetectorBuilder.from_languages(*languages).with_low_accuracy_mode().build()


_stemmers = threading.local()  # a Stemmer keeps a buffer and must not be shared by threads


def _stem(word: str, language: str) -> str:
    stemmer = getattr(_stemmers, language, None)
    if stemmer is None:
        # Without its cache of words, one a language and thread, which together would come to hundreds of megabytes.
        stemmer = Stemmer(language, 0)
        setattr(_stemmers, language, stemmer)
    head, _, tail = word.partition("'")
    # French elision puts the article before the apostrophe, English the ending after it.
    core = tail if language == "french" and len(head) <= 2 and len(tail) > 2 else word
    return stemmer.stemWord(core[:_LONGEST_WORD])  # type: ignore[no-any-return]


@cache
def _month_terms() -> tuple[tuple[str, ...], ...]:
    def stems(names: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_stem(n, language) for n in names.split() for language in _languages_of(n)))

    return tuple(stems(names) for names in _MONTHS)


def _term_id(term: str, key: bytes) -> int:
    digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4, key=key).digest()
    return int.from_bytes(digest, "little")
