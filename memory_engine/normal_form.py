"""Unicode's normal forms in linear time.

CPython sorts the marks on a letter by insertion, so that 16,000 marks in a row take a second, and 500,000 a quarter of
an hour; and nothing else runs meanwhile. Here a text is normalised in short pieces.
"""

import re
import unicodedata
from typing import Literal

#: Characters of a piece. It ends where the next character belongs to no other: Latin, Greek, Cyrillic, Han or Hangul.
_PIECE = 128
_PIECES = re.compile(
    rf"(?s:.{{1,{_PIECE}}})(?=[\x00-\u02ff\u0370-\u0482\u3400-\u9fff\uac00-\ud7a3]|\Z)|(?s:.{{1,{_PIECE}}})"
)


def normal_form(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return the text in a normal form.

    Where over 128 characters in a row are marks or letters of other scripts without a blank, the form may differ from
    the exact one at the edge of a piece.
    """
    if text.isascii():
        return text
    if len(text) <= _PIECE:
        return unicodedata.normalize(form, text)
    return "".join(unicodedata.normalize(form, piece) for piece in _PIECES.findall(text))
