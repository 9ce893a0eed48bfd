"""What of a message its speaker says themself: not what is quoted, pasted, or shown to be worked on.

The signs are of structure, so that they hold in every language: length, lines, quotation marks, fences, colons,
questions. A short text that is pasted without any of them cannot be told from a person's own.
"""

import re

#: Characters and lines of a message that is still a person's own: longer ones are documents, mails and logs.
LONGEST_OWN, MOST_LINES = 600, 8
#: What is quoted within a text: a fence that may have no end, code, and pairs of quotation marks.
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`]*`"
    r"|\"[^\"]*(?:\"|\Z)|“[^”]*(?:”|\Z)|„[^“”]*(?:[“”]|\Z)|«[^»]*(?:»|\Z)|「[^」]*(?:」|\Z)|『[^』]*(?:』|\Z)"
    r"|(?<!\w)‘[^’]*(?:’|\Z)|(?<!\w)'[^'\n]*'(?!\w)",
    re.DOTALL,
)
#: A line that quotes or is code, by its beginning.
_QUOTING_LINE = re.compile(r"^(?:[ \t]*[>|＞│]|\t| {4}).*$", re.MULTILINE)
_IN_LINE = re.compile(r"[^\n]")
#: What introduces the text of others: a colon at the end of a line, or a blank line.
_INTRODUCTION = re.compile(r"[:：][ \t]*$|\n[ \t\r]*\n", re.MULTILINE)
#: What a message that gives a rule has none of: a second line, a colon, a question, a quotation, code, a tag.
_OTHERS_WORDS = re.compile(r"[\n:：?？؟;；\"“”„«»「」『』`<>|]|(?<!\w)['‘]")


def own_words(text: str) -> str:
    """Return the text with blanks for what is not its speaker's own, each word at its place; "" for a long text.

    What is quoted and what follows an introduction is not: a blank line, or a colon at the end of a line.
    """
    if len(text) > LONGEST_OWN or text.count("\n") >= MOST_LINES:
        return ""
    for others in (_QUOTED, _QUOTING_LINE):
        text = others.sub(lambda found: _IN_LINE.sub(" ", found[0]), text)
    introduction = _INTRODUCTION.search(text, len(text) - len(text.lstrip()))
    return text if introduction is None else text[: introduction.start()]


def is_all_own(text: str) -> bool:
    """Whether nothing in the text hints at words of others, so that it may tell an assistant what to do."""
    return len(text) <= LONGEST_OWN and _OTHERS_WORDS.search(text.strip()) is None
