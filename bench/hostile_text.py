"""Texts that make slow code slow: runs, alternations and near matches, some made from an expression's own parts."""

import re
from collections.abc import Iterator, Sequence
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

#: Short texts of which long ones are made: every kind of mark, and letters and words of many scripts.
RUNS = (
    ".", "…", "?", "a", "1", " ", "\n", "\t", "。", "\"", "'", "’", "(", "<", "[", "\\", "-", "/", "_", "@", ":",
    ",", "=", "é", "e\u0301", "\u0301\u0316", "я", "的", "か", "가", "\u1100\u1161", "ก", "ह", "ن", "ﷺ", "ﬁ", "İ",
    "ß", "🚢", "👩\u200d👧", "\u200b", "\u202e", "\u200d", "\u00a0", "\ufe0f", "\U000e0041", "a ", "a b ", "A.",
    "a.", ". ", "a. ", "a? ", ".\n", "x\n\n", "é\n", "1.", "1-", "a-", "a'", "a/", "ge", "ge ", "\\n", "<a",
    "< ", "</", "[/", "{", "msg_a ", "on monday ", "last may ", "le lundi ", "am 3. ", "we agreed ", "wie a ",
    "habe ge ", "I prefer ", "we really always ", "always ", "я работаю ", "позови ", "switch to ", "sk-a",
    "eyJa.", "://a:", "-----BEGIN ", "4111 ", "<think>", "</think>", "data: ", "说好了", "周一", "为什么",
)  # fmt: skip
#: Characters that stand for a class of an expression.
_CANDIDATES = " a1.-_\n\"'/:<é яA的,\u0301\t@)]>"


def run_of(piece: str, length: int, end: str = "x") -> str:
    """Return a text of this length: the piece again and again, and then an end that fits nothing before it."""
    return (piece * (length // len(piece) + 1))[:length] + end


def texts_against(pattern: re.Pattern[str], length: int) -> Iterator[str]:
    """Yield texts in which each repetition of an expression has very much to repeat, and then fails."""
    seen = set[tuple[str, str]]()
    for before, piece in _repetitions(parser.parse(pattern.pattern, pattern.flags), ""):
        if piece and (before, piece) not in seen:
            seen.add((before, piece))
            yield before + run_of(piece, length, "\x01")
            yield run_of(before + piece * 3, length)


def _repetitions(nodes: Sequence[Any], before: str) -> Iterator[tuple[str, str]]:
    """What may stand before each repetition, and what it repeats."""
    for node, value in nodes:
        if node in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
            _, most, inner = value
            if most > 20:
                yield from ((before, piece) for piece in _pieces(inner))
                yield from (("", piece) for piece in _pieces(inner))
            yield from _repetitions(inner, before)
        else:
            for inner in _inner(node, value):
                yield from _repetitions(inner, before)
        before = before + _sample([(node, value)])


def _inner(node: Any, value: Any) -> list[Any]:
    if node is code.BRANCH:
        return list(value[1])
    if node is code.SUBPATTERN:
        return [value[3]]
    if node in (code.ASSERT, code.ASSERT_NOT):
        return [value[1]]
    return [value] if node is code.ATOMIC_GROUP else []


def _pieces(nodes: Sequence[Any]) -> list[str]:
    """Some texts that the nodes match: for a class, a few of its characters."""
    if len(nodes) == 1 and nodes[0][0] in (code.IN, code.ANY, code.NOT_LITERAL):
        return [sign for sign in _CANDIDATES if _is_one(nodes[0][0], nodes[0][1], sign)][:5]
    return [_sample(nodes)]


def _sample(nodes: Sequence[Any]) -> str:
    """A short text that the nodes match, as far as that can be said."""
    found = ""
    for node, value in nodes:
        if node is code.LITERAL:
            found += chr(value)
        elif node in (code.IN, code.ANY, code.NOT_LITERAL):
            found += next((sign for sign in _CANDIDATES if _is_one(node, value, sign)), "a")
        elif node in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
            found += _sample(value[2]) * max(1, value[0])
        elif node in (code.BRANCH, code.SUBPATTERN, code.ATOMIC_GROUP):
            found += _sample(_inner(node, value)[0])
    return found


def _is_one(node: Any, value: Any, sign: str) -> bool:
    if node is code.ANY:
        return sign != "\n"
    if node is code.NOT_LITERAL:
        return bool(ord(sign) != value)
    is_in = any(_is_of(kind, what, sign) for kind, what in value)
    return is_in != (value[0][0] is code.NEGATE)


def _is_of(kind: Any, what: Any, sign: str) -> bool:
    if kind is code.LITERAL:
        return ord(sign) == int(what)
    if kind is code.RANGE:
        return bool(what[0] <= ord(sign) <= what[1])
    kinds = {
        code.CATEGORY_DIGIT: sign.isdigit(), code.CATEGORY_SPACE: sign.isspace(),
        code.CATEGORY_WORD: sign.isalnum() or sign == "_",
        code.CATEGORY_NOT_DIGIT: not sign.isdigit(), code.CATEGORY_NOT_SPACE: not sign.isspace(),
        code.CATEGORY_NOT_WORD: not (sign.isalnum() or sign == "_"),
    }  # fmt: skip
    return kind is code.CATEGORY and bool(kinds[what])
