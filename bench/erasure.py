"""Canaries in every stratum, erased in random order while others write and read: is any of them still anywhere?

Run it by hand: `python -m bench.erasure`. Each canary is a word that nothing else says. It stands in a message, its
metadata, an edit of it, a summary, links, a pattern, a prompt, a quoting reply, a tool's log. Once an erasure has
answered, every way of asking is tried at once; in the end every byte of the data directory is read.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant import CustomAssistant, PromptRequest, load_settings
from memory_engine import MemoryEngine, NewMessage, Page, Scope
from memory_engine.errors import NotFound
from memory_engine.ports import Progress, no_progress
from memory_engine.storage import standing

_PLACES = ("harbour", "station", "orchard", "museum", "library", "bakery", "quarry", "theatre")
_WAYS = ("message", "conversation", "edited", "quoted", "prompted", "tool")
_SEED = 7
_SCOPE = Scope(user="keeper")


@dataclass(kw_only=True, slots=True)
class Report:
    """What came out."""

    erased: int = 0
    #: Canaries that some answer still held after their erasure was acknowledged.
    leaks: list[str] = field(default_factory=list)
    #: Canaries whose bytes are in some file in the end.
    in_files: list[str] = field(default_factory=list)
    #: Tables in which one stands in the end.
    in_tables: set[str] = field(default_factory=set)
    #: Messages that should be there and are not.
    lost: int = 0
    kept: int = 0
    pending: int = 0
    written: int = 0
    read: int = 0
    #: Seconds that an erasure took.
    seconds: list[float] = field(default_factory=list)
    proving: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A canary, and what takes it away."""

    word: str
    conversation_id: str
    message_id: str
    whole: bool


def plant(engine: MemoryEngine, assistant: CustomAssistant, count: int, chance: random.Random) -> list[Planted]:
    """Plant them, in all the ways by turns, among as many messages that stay."""
    planted = []
    for number in range(count):
        way, place = _WAYS[number % len(_WAYS)], _PLACES[number % len(_PLACES)]
        word = f"zqx{chance.getrandbits(64):016x}"
        name = f"{way}-{number}"
        text = f"I prefer the {place} with the password {word} on every other day of the week."
        said = {"role": "user", "content": text, "metadata": {"note": f"about {word}"}}
        (message_id,) = engine.remember(name, [said], scope=_SCOPE).message_ids
        engine.remember(name, [{"role": "user", "content": f"Entry {number} of the {place} stays."}], scope=_SCOPE)
        if way == "edited":
            engine.edit(message_id, {"content": f"I prefer the {place}, and the new password is {word}."}, scope=_SCOPE)
        elif way == "quoted":
            quote = NewMessage(role="assistant", text=f"You said: {text}", recallable=False, quotes=(message_id,))
            engine.remember(f"reply-{number}", [quote], scope=_SCOPE)
        elif way == "prompted":
            request = PromptRequest(
                conversation_id=f"ask-{number}", message=f"What of {place}?", agent=None, token_budget=2_000
            )
            assistant.context_manager.assemble(request, _SCOPE)
        elif way == "tool":
            call = {"name": "search_memory", "arguments": json.dumps({"query": word})}
            assistant.call_tools([{"id": f"call-{number}", "function": call}], scope=_SCOPE)
        planted.append(
            Planted(word=word, conversation_id=name, message_id=message_id, whole=way in ("message", "conversation"))
        )
    engine.consolidate()
    return planted


def answers(engine: MemoryEngine, each: Planted) -> list[str]:
    """What the ways of asking say of a canary whose erasure was acknowledged."""
    said: list[Any] = [engine.recall(each.word, k=20, scope=_SCOPE)]
    page = Page(limit=200, ascending=True)
    for ask in (
        lambda: engine.history.messages(each.conversation_id, page, scope=_SCOPE),
        lambda: engine.history.summaries(each.conversation_id, scope=_SCOPE),
        lambda: engine.links.of(_SCOPE, each.conversation_id),
        lambda: engine.history.message(each.message_id, scope=_SCOPE),
        lambda: engine.patterns.of(_SCOPE, everything=True),
    ):
        try:
            said.append(ask())
        except NotFound as exc:
            said.append(exc)
    return [text for text in map(repr, said) if each.word in text]


def run(
    folder: Path,
    *,
    canaries: int,
    writers: int,
    readers: int,
    pause: float = 0,
    progress: Progress = no_progress,
) -> Report:
    """Plant, erase in random order beside writers and readers, prove, and look."""
    chance, report, stop = random.Random(_SEED), Report(), threading.Event()
    with MemoryEngine.open(folder) as engine:
        assistant = CustomAssistant(engine, settings=load_settings(data_dir=folder))
        planted = plant(engine, assistant, canaries, chance)
        stays = {message.message_id for each in planted for message in _staying(engine, each)}
        threads = [threading.Thread(target=_write, args=(engine, report, stop, n, pause)) for n in range(writers)]
        threads += [threading.Thread(target=_read, args=(engine, report, stop, pause)) for _ in range(readers)]
        for thread in threads:
            thread.start()
        receipts = []
        for number, each in enumerate(chance.sample(planted, len(planted))):
            progress("erased", number)
            started = time.monotonic()
            if each.whole and chance.random() < 0.5:
                stays -= {message.message_id for message in _staying(engine, each)}
                receipt = engine.erase(conversation_id=each.conversation_id, scope=_SCOPE)
            else:
                receipt = engine.erase(message_ids=[each.message_id], scope=_SCOPE)
            report.seconds.append(time.monotonic() - started)
            receipts.append(receipt)
            report.leaks += [each.word] * bool(answers(engine, each))
        report.erased = len(planted)
        stop.set()
        for thread in threads:
            thread.join()
        started = time.monotonic()
        for receipt in receipts:
            if engine.forgetting.receipt(receipt.receipt_id).state == "pending":
                engine.forgetting.prove(receipt.receipt_id)
        report.proving = time.monotonic() - started
        report.pending = sum(engine.forgetting.receipt(r.receipt_id).state == "pending" for r in receipts)
        _look(engine, folder, planted, report)
        report.kept, report.lost = _kept(engine, stays)
        assistant.close()
    return report


def _staying(engine: MemoryEngine, each: Planted) -> list[Any]:
    page = Page(limit=10, ascending=True)
    found, _ = engine.history.messages(each.conversation_id, page, scope=_SCOPE)
    return [message for message in found if message.message_id != each.message_id]


def _kept(engine: MemoryEngine, stays: set[str]) -> tuple[int, int]:
    kept = 0
    for message_id in stays:
        try:
            engine.history.message(message_id, scope=_SCOPE)
            kept += 1
        except NotFound:
            continue
    return kept, len(stays) - kept


def _look(engine: MemoryEngine, folder: Path, planted: list[Planted], report: Report) -> None:
    words = [each.word.encode() for each in planted]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            report.in_files += [f"{word.decode()} in {path.name}" for word in words if word in content]
    with engine.database.read() as db:
        for table, value in standing.cells(db):
            if b"zqx" in value and any(word in value for word in words):
                report.in_tables.add(table)


def _write(engine: MemoryEngine, report: Report, stop: threading.Event, writer: int, pause: float) -> None:
    number = 0
    while not stop.is_set():
        text = f"Line {number} of writer {writer} about the {_PLACES[number % len(_PLACES)]}."
        engine.remember(f"writer-{writer}", [{"role": "user", "content": text}], scope=_SCOPE)
        stop.wait(pause)
        number += 1
        report.written += 1


def _read(engine: MemoryEngine, report: Report, stop: threading.Event, pause: float) -> None:
    while not stop.is_set():
        engine.recall("what of the harbour and the library?", scope=_SCOPE)
        stop.wait(pause)
        report.read += 1


def table(report: Report) -> str:
    """The figures as Markdown."""
    late = sorted(report.seconds)[int(0.99 * (len(report.seconds) - 1))]
    lines = [
        f"| canaries erased | {report.erased} |",
        f"| in an answer after their erasure was acknowledged | {len(report.leaks)} |",
        f"| in a byte of the data directory after the receipts | {len(report.in_files)} |",
        f"| in a row of a table | {', '.join(sorted(report.in_tables)) or 0} |",
        f"| receipts still pending | {report.pending} |",
        f"| messages that stay, there and lost | {report.kept}, {report.lost} |",
        f"| written and recalled meanwhile | {report.written}, {report.read} |",
        f"| an erasure, median and p99, ms | {1000 * statistics.median(report.seconds):.1f}, {1000 * late:.1f} |",
        f"| proving what was left, s | {report.proving:.1f} |",
    ]
    return "\n".join(["| | |", "|---|---|", *lines])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--canaries", type=int, default=1_000)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two calls of a writer or reader")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(table(run(Path(folder), **vars(options), progress=_tell)))


def _tell(what: str, done: int) -> None:
    if done % 50 == 0:
        print(f"{done} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
