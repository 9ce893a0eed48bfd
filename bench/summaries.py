"""Extractive summaries against LoCoMo's own texts: ROUGE-L with its session summaries, and observations covered.

Run it by hand: `python -m bench.summaries --data ../shared/data`. Each session is a conversation of its own, remembered
and consolidated in process. Beside the summary of the conversation stand the first sentences and random ones, as many
words of each. A session's observations name the turns that they rest on; covered is the share of these turns that a
kept sentence comes from.
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from bench.datasets import locomo
from memory_engine import MemoryEngine, Page, Scope
from memory_engine.consolidation.sentences import sentences_of

#: A sentence and the turn that it comes from.
Sentences = list[tuple[int, str]]
#: ROUGE-L, the share of observed turns covered, and words kept.
Figures = tuple[float, float, float]
_PROGRESS = Console(stderr=True)
_SEED = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A session with what LoCoMo says of it."""

    name: str
    messages: list[dict[str, Any]]
    summary: str
    #: Indexes of the turns that its observations rest on.
    observed: frozenset[int]


def sessions(folder: Path) -> list[Session]:
    """LoCoMo's sessions."""
    raw = json.loads((folder / "locomo10.json").read_text())
    found = []
    for haystack, sample in zip(locomo(folder), raw, strict=True):
        for name, messages in haystack.conversations.items():
            observed = sample["observation"].get(f"{name}_observation", {})
            ids = re.findall(r"D\d+:\d+", json.dumps([row[1] for rows in observed.values() for row in rows]))
            turns = {turn["dia_id"]: n for n, turn in enumerate(sample["conversation"][name])}
            found.append(
                Session(
                    name=f"{haystack.name}/{name}",
                    messages=messages,
                    summary=sample["session_summary"][f"{name}_summary"],
                    observed=frozenset(turns[each] for each in ids if each in turns),
                )
            )
    return found


def rouge_l(candidate: str, reference: str) -> float:
    """ROUGE-L (Lin 2004): the F1 of the longest common subsequence of words."""
    given, wanted = (re.findall(r"\w+", text.lower()) for text in (candidate, reference))
    row = [0] * (len(wanted) + 1)
    for word in given:
        above = row
        row = [0]
        for at, other in enumerate(wanted):
            row.append(above[at] + 1 if word == other else max(above[at + 1], row[-1]))
    return 2 * row[-1] / (len(given) + len(wanted)) if row[-1] else 0.0


def first_words(sentences: Sentences, words: int) -> Sentences:
    """Sentences from the front until so many words are reached."""
    kept: Sentences = []
    for sentence in sentences:
        if sum(len(text.split()) for _, text in kept) >= words:
            break
        kept.append(sentence)
    return kept


def measure(engine: MemoryEngine, found: Sequence[Session]) -> dict[str, Figures]:
    """For each way of choosing: ROUGE-L, the share of observed turns covered, and words kept."""
    chance = random.Random(_SEED)
    rows: dict[str, list[Figures]] = {"ours": [], "lead": [], "random": []}
    for session in track(found, description="sessions", console=_PROGRESS):
        ours = _ours(engine, session)
        said = [
            (n, each.of(message["content"]))
            for n, message in enumerate(session.messages)
            for each in sentences_of(message["content"])
        ]
        words = sum(len(text.split()) for _, text in ours)
        shuffled = first_words(chance.sample(said, len(said)), words)
        ways = {"ours": ours, "lead": first_words(said, words), "random": sorted(shuffled, key=said.index)}
        for way, kept in ways.items():
            rows[way].append(_figures(session, kept))
    return {way: _means(figures) for way, figures in rows.items()}


def _means(figures: Sequence[Figures]) -> Figures:
    rouge, covered, words = (sum(column) / len(figures) for column in zip(*figures, strict=True))
    return rouge, covered, words


def _ours(engine: MemoryEngine, session: Session) -> Sentences:
    scope = Scope(namespace=session.name)
    engine.remember("session", [m for m in session.messages if m["content"].strip()], scope=scope)
    engine.consolidate()
    kept, _ = engine.history.messages("session", Page(limit=1000, ascending=True), scope=scope)
    said = [n for n, message in enumerate(session.messages) if message["content"].strip()]
    turn = {message.message_id: n for n, message in zip(said, kept, strict=True)}
    summary = engine.history.summaries("session", scope=scope)[0]
    return [(turn[sentence.citations[0].message_id], sentence.text) for sentence in summary.sentences]


def _figures(session: Session, kept: Sentences) -> Figures:
    covered = len({turn for turn, _ in kept} & session.observed) / max(len(session.observed), 1)
    text = " ".join(text for _, text in kept)
    return rouge_l(text, session.summary), covered, float(len(text.split()))


def table(found: dict[str, Figures]) -> str:
    """The figures as Markdown."""
    lines = ["| sentences | ROUGE-L | observed turns covered | words |", "|---|---|---|---|"]
    lines += [
        f"| {way} | {rouge:.3f} | {covered:.3f} | {words:.0f} |" for way, (rouge, covered, words) in found.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MemoryEngine.open(folder) as engine:
        print(table(measure(engine, sessions(options.data / "locomo"))))


if __name__ == "__main__":
    main()
