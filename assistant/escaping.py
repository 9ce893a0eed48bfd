r"""Writes as `\u{…}` what of a text could hide, reorder, or be read as a tag or the bounds of a turn.

Each function takes one line and is linear: of what follows an opening mark it reads a bounded part.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from assistant.lookalikes import ROLE_WORDS, any_of, skeleton

#: Whatever a reader of lines may take for the end of one.
BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
#: Controls but the tab, formats (Cf), fillers, blanks that are no spaces, tags: all that is not seen.
_HIDDEN = (
    "\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffc"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_ANGLES = "<＜﹤‹〈〈⟨❮❬❰˂ᐸᚲ⧼≮⪡\U00010118\U0001d236"
_SQUARES = "[［﹝【〔〖⟦⁅❲\u298b\u298d\u298f"
#: In ordinary use around words, so they open nothing but what a template writes.
_QUOTES = "«《⟪≪⋘"
_CLOSES = ">＞﹥›〉〉⟩❯❭❱˃ᐳ⧽≯⪢»》⟫≫⋙"
_ENDS = "\\]］﹞】〕〗⟧⁆❳\u298c\u298e\u2990"
_BARS = "|｜∣ǀ│┃❘⎮⏐︱￨¦"
_OPENERS = "".join(re.escape(each) for each in (*_ANGLES, *_SQUARES, *_QUOTES))
#: What may have to be escaped. The start of an escape in the text is one of these, so that only ours read as escapes.
_ANY = f"[{_HIDDEN}]|\\\\(?=u{{)|(?P<opener>[{_OPENERS}])|(?P<joiner>[\u200c\u200d])|(?P<selector>[\ufe0e\ufe0f])"
_TEXT = re.compile(_ANY)
_SOURCE = re.compile(f"\\A[\\s\\[>＞<]|[：﹕∶꞉ː˸։׃܃܄]|:(?=\\s|\\Z)|{_ANY}")
_HEADING = re.compile(f"[\\[\\]]|{_ANY}")

#: Characters after an opening mark that are read: marks, a name, and what closes it.
_MARKS, _NAME, _CLOSED_WITHIN, _ENDED_WITHIN = 8, 32, 64, 24
#: A letter, in a circle or a square, too; ǀ is a letter that looks like a bar.
_LETTER = "[^\\W_ǀ]|[\U0001f150-\U0001f169\U0001f170-\U0001f189\U0001f1e6-\U0001f1ff]"
_BEFORE_NAME = re.compile(f"(?:(?!{_LETTER}).){{0,{_MARKS}}}+(?={_LETTER})")
_GAP = "[\\s_▁.:-]?"
#: Names that only templates and servers write, by their beginnings.
_TEMPLATE = re.compile(
    any_of(["recalled", "recall_memory", "endoftext", "endofturn", "startofturn", "toolcall", "toolresult"])
    + "|(?:"
    + any_of(["start", "begin", "end"]) + f"){_GAP}" + skeleton("of") + f"{_GAP}(?:"
    + any_of(["text", "turn", "sentence", "sequence", "prompt", "message", "role", "image", "audio", "tool"]) + ")"
    + f"|(?:{any_of(['im'])}){_GAP}(?:{any_of(['start', 'end', 'sep'])})"
    + f"|(?:{any_of(['eot', 'eom', 'bom', 'start_header', 'end_header'])}){_GAP}{skeleton('id')}"
    + f"|(?:{any_of(['tool', 'function', 'available_tool', 'invoke', 'fim', 'python_tag', 'tools'])})[\\s_▁=.-]"
    + f"|(?:{any_of(['inst', 'sys', 'b_inst', 'e_inst', 'b_sys', 'e_sys', 'available_tools'])})(?![^\\W_])"
)  # fmt: skip
_SECTIONS = (
    "model",
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "instruction",
    "instructions",
    "prompt",
    "scratchpad",
    "important",
    "invoke",
    "tools",
    "functions",
    "bos",
    "eos",
    "bot",
    "eot",
    "eom",
    "pad",
    "s",
)
#: A speaker or a section; not a domain or an address, such as `<user@host>`.
_NOT_MORE = "(?![^\\W_]|[.@][^\\W_])"
#: The articles of Arabic and Hebrew, which are written with the word.
_ARTICLES = ("ال", "ה")
_ARTICLE = f"(?:{any_of(_ARTICLES)})?"
_IN_ANGLES = re.compile(f"{_ARTICLE}(?:{any_of([*ROLE_WORDS, *_SECTIONS])}){_NOT_MORE}")
_IN_SQUARES = re.compile(f"{_ARTICLE}(?:{any_of(ROLE_WORDS)}){_NOT_MORE}")
_TEMPLATES = ("recalled", "im", "end", "begin", "fim", "available")
_FIRSTS = frozenset(skeleton(name)[0] for name in (*ROLE_WORDS, *_ARTICLES, *_SECTIONS, *_TEMPLATES))
_CLOSED, _ENDED = re.compile(f"-->|(?<![-=])[{_CLOSES}]"), re.compile(f"[{_ENDS}]")
#: Scripts in which joiners shape letters: Arabic to Thaana, those of India, Myanmar, Khmer, Mongolian.
_JOINED = re.compile(
    "[\u0600-\u07ff\u0840-\u0dff\u1000-\u109f\u1780-\u18af\ua840-\ua87f\uaa60-\uaa7f\ufb50-\ufdff\ufe70-\ufefc]"
)


def escape_text(line: str) -> str:
    """A line of a text."""
    return _TEXT.sub(_written, line)


def escape_lines(text: str) -> str:
    """A text of several lines, which stay its own: every break of them is a line feed."""
    return "\n".join(map(escape_text, BREAK.split(text)))


def escape_values(value: Any) -> Any:
    """A JSON value with every text in it escaped, keys too; what is no JSON becomes its text."""
    if isinstance(value, str):
        return escape_lines(value)
    if isinstance(value, Mapping):
        return {escape_lines(str(name)): escape_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [escape_values(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else escape_lines(str(value))


def escape_source(line: str) -> str:
    """Who said it: nothing in it ends it, either."""
    return _SOURCE.sub(_written, line)


def escape_heading(line: str) -> str:
    """What stands in square brackets."""
    return _HEADING.sub(_written, line)


def _written(found: re.Match[str]) -> str:
    character, line, at = found.group(), found.string, found.start()
    harmless = (
        (found.lastgroup == "opener" and not _opens_tag(line, at))
        or (found.lastgroup == "joiner" and _joins(line, at))
        or (found.lastgroup == "selector" and _is_form_of_emoji(line, at))
    )
    return character if harmless else f"\\u{{{ord(character):x}}}"


def _opens_tag(line: str, at: int) -> bool:
    """Whether what stands there can be read as the beginning of a tag or of a turn's bound."""
    opener, start = line[at], at + 1
    if opener in _ANGLES and line[start : start + 1] and line[start] in _BARS:
        return True
    marks = _BEFORE_NAME.match(line, start)
    if marks is None or skeleton(line[marks.end()])[:1] not in _FIRSTS:
        return False
    name = skeleton(line[marks.end() : marks.end() + _NAME])
    if _TEMPLATE.match(name):
        return True
    if opener in _QUOTES:
        return False
    if opener in _ANGLES:
        return _IN_ANGLES.match(name) is not None and _is_closed(line, marks.end(), _CLOSED, _CLOSED_WITHIN)
    is_index = at > 0 and (line[at - 1].isalnum() or line[at - 1] in "_])")
    return not is_index and _IN_SQUARES.match(name) is not None and _is_closed(line, marks.end(), _ENDED, _ENDED_WITHIN)


def _is_closed(line: str, at: int, closing: re.Pattern[str], within: int) -> bool:
    part = line[at : at + within]
    # The line's end closes a tag, too: the next begins with `> `.
    ends_there = at + within >= len(line) and skeleton(part.rstrip("/ \t\u00a0")).isalnum()
    return ends_there or closing.search(part) is not None


def _joins(line: str, at: int) -> bool:
    """Whether a joiner stands between letters that it shapes, or in an emoji."""
    before, after = line[at - 1 : at], line[at + 1 : at + 2]
    if not before or not after:
        return False
    if unicodedata.category(after) == "So":
        return unicodedata.category(before) == "So" or before == "\ufe0f" or "\U0001f3fb" <= before <= "\U0001f3ff"
    return _JOINED.match(before) is not None and _JOINED.match(after) is not None


def _is_form_of_emoji(line: str, at: int) -> bool:
    """Whether a selector stands after a symbol that has a form as text and one as emoji, or in a keycap."""
    before, after = line[at - 1 : at], line[at + 1 : at + 2]
    if not before:
        return False
    if after == "\u20e3":
        return before in "0123456789#*"
    return unicodedata.category(before) in ("So", "Sm") or before in "‼⁉ℹ〰"
