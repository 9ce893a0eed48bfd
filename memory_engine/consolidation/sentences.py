"""Cutting a text into sentences, each with its span, so that a summary can point at what it says."""

import re
from dataclasses import dataclass

#: Characters of a sentence that is still worth quoting; code and pasted walls of text are cut here.
_LONGEST = 400
#: Characters of a text that are read, and sentences that are found in it: a longer text is a document.
LONGEST_READ, MOST_SENTENCES = 200_000, 2_000
# An ending mark with what closes a quotation, before white space; or a Chinese one; or a line's end. A run of marks is
# read once: from its beginning, and never given back.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[。！？]++[」』”’]*+|\n++")
# A point after these ends no sentence: a single capital letter, a usual abbreviation, or the number of a German day.
_ABBREVIATED = re.compile(
    r"(?:\b[A-ZА-ЯЁ]|\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|fig|mme|mlle|m|bzw|z\.b|d\.h|т\.е|т\.д|г|ул|sr|sra"
    r"|(?:(?<!\bi )am|vom|zum|dem|den) \d{1,2}))\.$",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A sentence of a text, by its span."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The words themselves."""
        return text[self.start : self.end]


def sentences_of(text: str) -> list[Sentence]:
    """Return the sentences of a text in order, without the white space around them.

    Of a text over LONGEST_READ characters, its beginning is read; MOST_SENTENCES are returned at most.
    """
    found, start, last = list[Sentence](), 0, min(len(text), LONGEST_READ)
    for mark in _END.finditer(text, 0, last):
        if len(found) >= MOST_SENTENCES:
            return found[:MOST_SENTENCES]
        if text[mark.start()] == "." and _ABBREVIATED.search(text, max(0, mark.start() - 8), mark.start() + 1):
            continue
        found += _trimmed(text, start, mark.end())
        start = mark.end()
    return (found + _trimmed(text, start, last))[:MOST_SENTENCES]


def _trimmed(text: str, start: int, end: int) -> list[Sentence]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return [
        Sentence(start=at, end=min(at + _LONGEST, end))
        for at in range(start, end, _LONGEST)
        if any(character.isalnum() for character in text[at : min(at + _LONGEST, end)])
    ]
