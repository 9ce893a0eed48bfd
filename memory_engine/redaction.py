"""Secrets in texts: found by their shape, and replaced by what they were. Pure; time grows with the text's length.

Every repetition is bounded or cannot be given back, and begins where a word does, so that no text makes it slow. What
only looks like a secret by its length (hashes, uuids, ids, phone numbers) stays.
"""

import re
from collections.abc import Mapping
from typing import Any

_WORD = "A-Za-z0-9_-"
#: Keys of providers, by what they begin with; those whose beginning is a word of its own need a digit besides.
_KEYS = (
    rf"sk-(?=[A-Za-z_-]{{0,100}}[0-9])[{_WORD}]{{20,}}+",
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}+",
    r"whsec_[A-Za-z0-9+/]{24,}+=?",
    r"A(?:KIA|SIA)[A-Z0-9]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,}+",
    r"github_pat_[A-Za-z0-9_]{22,}+",
    rf"glpat-[{_WORD}]{{20,}}+",
    r"xox[abeoprs]-(?=[A-Za-z-]{0,30}[0-9])[A-Za-z0-9-]{10,}+",
    r"xapp-[0-9]-[A-Za-z0-9-]{20,}+",
    rf"AIza[{_WORD}]{{35}}",
    rf"ya29\.[{_WORD}]{{20,}}+",
    r"(?:hf|gsk|npm)_(?=[A-Za-z]{0,40}[0-9])[A-Za-z0-9]{30,}+",
    r"(?:xai|pplx|r8|fw)[-_](?=[A-Za-z]{0,40}[0-9])[A-Za-z0-9]{36,}+",
    rf"SG\.[{_WORD}]{{22}}\.[{_WORD}]{{43}}",
    rf"pypi-[{_WORD}]{{50,}}+",
    r"do[opr]_v1_[a-f0-9]{64}",
    r"(?:lin_api|ntn|sbp|shpat|dckr_pat)_[A-Za-z0-9-]{24,}+",
    r"AccountKey=[A-Za-z0-9+/]{60,}+={0,2}",
    rf"[0-9]{{8,10}}:AA[{_WORD}]{{33}}",
)
_PEM = "(?:[A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
#: What begins where a word does, or after an escape of JSON.
_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_SHAPES = {
    "api_key": rf"{_BEGINS}(?:{'|'.join(_KEYS)})(?![A-Za-z0-9])",
    "bearer_token": (
        rf"{_BEGINS}[Bb](?:earer|EARER)[ \t]{{1,4}}(?=[A-Za-z._~+/-]{{0,100}}[0-9])[A-Za-z0-9._~+/-]{{16,}}+={{0,2}}"
        rf"|(?<![{_WORD}])eyJ[{_WORD}]{{10,}}+\.eyJ[{_WORD}]{{10,}}+\.[{_WORD}]{{10,}}+"
    ),
    # One that was cut off goes as far as it looks like one.
    "private_key": (
        rf"-----BEGIN {_PEM}(?:(?:(?!-----)[^\x00])*+-----END {_PEM}|(?:\s|\\[nr]|[A-Za-z0-9+/=]{{20,}}+)*+)"
    ),
    "card_number": (
        r"(?<![A-Za-z0-9_.+-])(?:(?:35|[24-6][0-9])[0-9]{2}(?P<gap>[ \xa0-]?)[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}"
        r"|3[47][0-9]{2}(?P<space>[ \xa0-]?)[0-9]{6}(?P=space)[0-9]{5})(?![A-Za-z0-9_-])"
    ),
}
_SECRET = re.compile("|".join(f"(?P<{kind}>{shape})" for kind, shape in _SHAPES.items()))
#: Between the user of a URL and its host.
_PASSWORD = re.compile(r"(?<=://)([^\s/:@?#\"'<>\\]{0,200}+):[^\s/@\"'<>\\]{1,200}+@")
#: First digits of cards: Visa, Mastercard, Discover, UnionPay, JCB, American Express.
_ISSUERS = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|6(?:011|4[4-9]|5|2)|35|3[47]")


def redact(text: str) -> str:
    """The text with `[redacted: …]` in place of every secret in it."""
    return _PASSWORD.sub(r"\1:[redacted: password]@", _SECRET.sub(_replaced, text))


def redact_value(value: Any) -> Any:
    """A JSON value with every text in it redacted; keys stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact_value(inner) for inner in value)
    return value


def _replaced(found: re.Match[str]) -> str:
    kind = str(found.lastgroup)
    if kind == "card_number" and not _is_card([int(digit) for digit in found.group() if digit.isdigit()]):
        return found.group()
    return f"[redacted: {kind.replace('_', ' ')}]"


def _is_card(digits: list[int]) -> bool:
    """Whether the digits begin as an issuer's do, and pass Luhn's check (ISO/IEC 7812-1)."""
    doubled = [digit if at % 2 == 0 else sum(divmod(2 * digit, 10)) for at, digit in enumerate(reversed(digits))]
    return bool(_ISSUERS.match("".join(map(str, digits)))) and sum(doubled) % 10 == 0
