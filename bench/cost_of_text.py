"""Does any text cost more than linear time? Every expression and every stage that reads text, on hostile texts.

Run it by hand: `python -m bench.cost_of_text`. Each stage reads 100 kB and 1 MB of each text. Printed: each stage's
slowest text, the ratio of its times, which is 10 where they are linear, and the longest that other threads waited for
the interpreter. It ends with code 1 where a ratio is over 15 or a wait over 250 ms.
"""

import importlib
import pkgutil
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from api.json_scan import JsonScan, TooDeep, TooManyValues
from assistant import agents, error_handler, recalled_block
from assistant.server_sent_events import EventReader
from assistant.storage import tool_log
from bench.hostile_text import RUNS, run_of, texts_against
from memory_engine import alignment, branching, checks, lenient_parsing, redaction
from memory_engine.consolidation.quoting import quotable_in
from memory_engine.consolidation.sentences import sentences_of
from memory_engine.embedding.chunks import cut
from memory_engine.embedding.static import StaticEmbedder
from memory_engine.lexical import analysis, near_days, pronouns, time_expressions, time_words
from memory_engine.links import references
from memory_engine.models import Message, NewMessage
from memory_engine.normal_form import normal_form
from memory_engine.patterns import learner, statements
from memory_engine.tokens import BundledTokenCounter

PACKAGES = ("memory_engine", "assistant", "api")
#: Bytes of the texts, and what is allowed: a ratio of seconds, and seconds without the interpreter.
SMALL, LARGE, RATIO, HOLD = 100_000, 1_000_000, 15.0, 0.25
#: Characters of a source or a heading: a name and a role, or a day and a conversation's id.
_LINE = 1_000
#: Seconds under which a stage on the large text is quick, whatever its ratio.
QUICK = 0.05
_NOW = datetime(2026, 11, 27, tzinfo=UTC)
#: Modules whose callers cut what their expressions read, and to how many characters.
BOUNDED: Mapping[str, int] = {
    "memory_engine.lexical.time_expressions": 2_000,
    "memory_engine.lexical.time_words": 2_000,
    "memory_engine.lexical.near_days": 400,
    "memory_engine.links.references": 400,
    "memory_engine.patterns.statements": 300,
    "memory_engine.patterns.own_words": 600,
    "assistant.agents": 2_000,
}
#: Expressions that read unbounded text in a module that is bounded else.
UNBOUNDED = {("memory_engine.links.references", r"\b(?:thread|msg)_[A-Za-z0-9_]{3,80}\b")}


def modules() -> Iterator[Any]:
    """Yield every module of the service but the steps of the database's schema."""
    for package in PACKAGES:
        yield importlib.import_module(package)
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if ".migrations" not in found.name and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def expressions() -> dict[tuple[str, str], re.Pattern[Any]]:
    """Return every regular expression of the service, by its module and its text."""
    made: Mapping[str, list[Any]] = {
        "memory_engine.lexical.near_days": [near_days.near_days(name) for name in time_words.languages()],
        "memory_engine.lexical.time_words": [patterns for _, patterns in time_words.languages().values()],
        "memory_engine.lexical.time_expressions": [
            re.compile(rf"\s*(?:{language.joint})\s*") for language, _ in time_words.languages().values()
        ],
        "assistant.agents": [re.compile(each.format(name="pm"), re.IGNORECASE) for each in agents._ASKED],
    }
    found = dict[tuple[str, str], re.Pattern[Any]]()
    for module in modules():
        held = [value for name, value in vars(module).items() if not name.startswith("__")]
        for pattern in _patterns_in([*held, *made.get(module.__name__, [])]):
            found.setdefault((module.__name__, str(pattern.pattern)), pattern)
    return found


def _patterns_in(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping):
        yield from _patterns_in(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _patterns_in(each)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _patterns_in([getattr(value, field.name) for field in fields(value)])


def texts_of(module: str, pattern: re.Pattern[Any], length: int) -> Iterator[str | bytes]:
    """Yield the texts against one expression, no longer than what it reads."""
    is_free = (module, str(pattern.pattern)) in UNBOUNDED
    length = length if is_free else min(length, BOUNDED.get(module, length))
    if isinstance(pattern.pattern, bytes):
        yield from (run_of(piece, length).encode() for piece in RUNS)
    else:
        yield from texts_against(pattern, length)


def searched(pattern: re.Pattern[Any], text: str | bytes) -> None:
    """Read the text with the expression in both ways in which the service does."""
    pattern.match(text)
    for _ in pattern.finditer(text):
        pass


@cache
def stages() -> Mapping[str, Callable[[str], object]]:
    """Return everything that reads the text of a message or a question, by name."""
    embedder, counter, some_agents = StaticEmbedder.load(), BundledTokenCounter(0.0), agents.Agents()
    analysis.analyse("the first text loads what all others need")
    return {
        "normal form": partial(normal_form, "NFKC"),
        "sentences": sentences_of,
        "quotable": lambda text: quotable_in([_message(text)]),
        "analysis": analysis.analyse,
        "query": lambda text: analysis.analyse_query(text, 200),
        "asker": pronouns.is_about_the_asker,
        "time asked": lambda text: time_expressions.time_asked(text, _NOW),
        "references": lambda text: references.references_in(text, _NOW),
        "ids": references.ids_in,
        "statements": statements.statements_in,
        "questions": lambda text: learner._questions(_message(text)),
        "redaction": redaction.redact,
        "agent asked for": some_agents.asked_for,
        "block": recalled_block.quoted,
        "source": lambda text: recalled_block.item_lines(
            recalled_block.Item(heading="h", source=text[:_LINE], text="")
        ),
        "heading": lambda text: recalled_block.heading_line(
            recalled_block.Item(heading=text[:_LINE], source="", text="")
        ),
        "tokens": counter.count,
        "chunks": cut,
        "vectors": lambda text: embedder.embed([text]),
        "key of a message": lambda text: alignment.key_of(NewMessage(role="assistant", text=text)),
        "alike": lambda text: branching.alike(text, text + " y"),
        "check": lambda text: checks.check_text(text[: 256 * 1024], "text"),
        "lenient": lambda text: lenient_parsing.lenient_message({"role": "user", "content": text}, set()),
        "events": lambda text: list(EventReader().feed(text.encode())),
        "error": lambda text: error_handler._LIMIT.search(text),
        "quoted ids": lambda text: tool_log._MESSAGE_ID.findall(text),
        "body": _scanned,
    }


def _scanned(text: str) -> None:
    scan, raw = JsonScan(), text.encode()
    try:
        for start in range(0, len(raw), 65_536):
            scan.feed(raw[start : start + 65_536])
    except (TooDeep, TooManyValues):
        pass


def _message(text: str) -> Message:
    return Message(
        message_id="m", version=1, conversation_id="c", thread_id="t", seq=1, role="user", text=text, parts=None,
        name=None, agent=None, tool_calls=None, tool_call_id=None, created_at=_NOW, recorded_at=_NOW, metadata={},
        recallable=True,
    )  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the process that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def longest_wait(work: Callable[[], object]) -> float:
    """Return the seconds that another thread waits for the interpreter at most while the work is done."""
    worst, is_done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal worst
        last = time.monotonic()
        while not is_done.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            worst, last = max(worst, now - last), now

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        is_done.set()
        thread.join()
    return worst


def sized(piece: str, size: int) -> str:
    """Return a piece repeated up to a length in bytes of UTF-8."""
    return run_of(piece, size * len(piece) // len(piece.encode()))


def main() -> int:
    """Measure everything, print it, and return 1 where something is over what is allowed."""
    sys.setswitchinterval(0.0005)  # as the service does
    is_over = False
    print(f"{'what':24} {'slowest text':22} {'seconds':>8} {'ratio':>6} {'waited':>7}")
    for name, stage in stages().items():
        rows = [_measured(stage, piece) for piece in RUNS]
        ratio, wait = max(row[1] for row in rows), max(row[2] for row in rows)
        many, _, _, piece = max(rows)
        print(f"{name:24} {piece!r:22} {many:8.3f} {ratio:6.1f} {wait:7.3f}", flush=True)
        is_over |= ratio > RATIO or wait > HOLD
    return int(is_over | _over_expressions())


def _measured(stage: Callable[[str], object], piece: str) -> tuple[float, float, float, str]:
    """Seconds for the large text, their ratio to those for the small one, the wait, and the piece.

    What is over a limit is measured again: other processes make a time longer, and never shorter.
    """
    few, many = partial(stage, sized(piece, SMALL)), partial(stage, sized(piece, LARGE))
    took, waited = seconds(many), longest_wait(many)
    ratio = took / max(seconds(few), 1e-4) if took > QUICK else 0.0
    for _ in range(2):
        if ratio > RATIO:
            took = min(took, seconds(many))
            ratio = min(ratio, took / max(seconds(few), 1e-4))
        if waited > HOLD:
            waited = min(waited, longest_wait(many))
    return took, ratio, waited, piece


def _over_expressions() -> bool:
    found = []
    for (module, text), pattern in expressions().items():
        for hostile in texts_of(module, pattern, LARGE):
            work = partial(searched, pattern, hostile)
            took = seconds(work)
            again = [seconds(work) for _ in range(2 if took > HOLD else 0)]
            found.append((min([took, *again]), module, text))
    slowest = sorted(found, reverse=True)[:10]
    for took, module, text in slowest:
        print(f"{took:8.3f} s  {module}  {text[:80]!r}")
    return slowest[0][0] > HOLD


if __name__ == "__main__":
    sys.exit(main())
