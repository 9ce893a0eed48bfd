"""What each ingredient of recall is worth, and what is answered to a question that has no answer.

Run it by hand: `python -m bench.ablation --data ../shared/data`. It opens one store in this process, puts in LoCoMo,
LongMemEval and our own conversations (one namespace a haystack), and asks every question once with the build as it
is and once without each ingredient. The last column asks 200 of LoCoMo's questions of another conversation than
theirs, with the speakers' names masked, and says what share of them got any hit.
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.progress import track

from bench.datasets import Haystack, locomo, longmemeval, own_conversations
from memory_engine import MemoryEngine, RecallQuery, Scope

_PROGRESS = Console(stderr=True)
_RANKING, _QUESTION = "memory_engine.recall.ranking.", "memory_engine.recall.question."
#: What to set to what so that an ingredient is out.
INGREDIENTS: Mapping[str, Mapping[str, Any]] = {
    "all of it": {},
    "no floor": {_RANKING + "_GATE": -1.0, _RANKING + "_TAIL": -1.0},
    "no vectors": {_RANKING + "_DENSE_SHARES": (0.0, 0.0, 0.0)},
    "no words": {_RANKING + "_DENSE_SHARES": (1.0, 1.0, 1.0)},
    "no words of like meaning": {_QUESTION + "_MOST": 0.0},
    "no whitening (centre only)": {"memory_engine.recall.resident._WHITENING": 0.0},
    "plain rarity": {"memory_engine.lexical.index.RARITY": 1.0},
    "no neighbours": {_RANKING + "_LENT": (0.0, 0.0)},
    "no session": {_RANKING + "_SESSION_SHARE": 0.0},
    "no speaker": {_RANKING + "_SPEAKER_BONUS": 0.0},
    "no asker": {_RANKING + "_ASKER_BONUS": 0.0},
    "no time": {_RANKING + "_TIME_BONUS": 0.0},
    "no completed": {_RANKING + "_COMPLETED": 0.0},
    "no short": {_RANKING + "_SHORT": 0.0},
    "no questions and answers": {_RANKING + "_ANSWER": 1.0, _RANKING + "_ASKING": 0.0},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A haystack in the store."""

    haystack: Haystack
    scope: Scope
    #: Where each message id belongs.
    places: Mapping[str, tuple[str, int]]


def store(engine: MemoryEngine, haystack: Haystack) -> Stored:
    """Put a haystack in."""
    scope, places = Scope(namespace=haystack.name), {}
    for name, messages in haystack.conversations.items():
        said = [(n, message) for n, message in enumerate(messages) if message["content"].strip()]
        kept = engine.remember(name, [message for _, message in said], scope=scope)
        places.update({key: (name, n) for key, (n, _) in zip(kept.message_ids, said, strict=True)})
    return Stored(haystack=haystack, scope=scope, places=places)


@contextmanager
def without(engine: MemoryEngine, settings: Mapping[str, Any]) -> Iterator[None]:
    """The engine with some of the build's constants set otherwise."""
    with ExitStack() as patched:
        for name, value in settings.items():
            patched.enter_context(patch(name, value))
        engine._parts.generation.recaller._residents.forget()  # what was made with other constants
        engine._parts.generation.recaller._reader._similar.cache_clear()
        yield


def found_shares(engine: MemoryEngine, sets: Sequence[Stored]) -> dict[str, float]:
    """Mean R@10 and R@50, and the share of questions with all evidence conversations among the first five."""
    rows = []
    for stored in sets:
        for question in stored.haystack.questions:
            hits = engine.search(RecallQuery(text=question.text, k=50), scope=stored.scope).hits
            ranked = [stored.places[hit.message_id] for hit in hits]
            gold = set(question.evidence)
            first = list(dict.fromkeys(name for name, _ in ranked))[:5]
            shares = [len(gold.intersection(ranked[:k])) / len(gold) for k in (10, 50)]
            rows.append((*shares, float({name for name, _ in gold} <= set(first))))
    columns = zip(("R@10", "R@50", "all@5"), zip(*rows, strict=True), strict=True)
    return {name: sum(values) / len(values) for name, values in columns}


def masked(question: str, names: frozenset[str]) -> str:
    """The question with every speaker's name masked."""
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.sub(rf"\b({pattern})\b", "someone", question, flags=re.IGNORECASE)


def strangers(sets: Sequence[Stored], count: int) -> list[tuple[str, Scope]]:
    """So many masked questions, each with the scope of another haystack than its own; the same ones every time."""
    names = frozenset(
        word
        for stored in sets
        for messages in stored.haystack.conversations.values()
        for message in messages
        for word in message.get("name", "").split()
    )
    chance = random.Random(1)
    asked = [(stored, question) for stored in sets for question in stored.haystack.questions]
    chosen = chance.sample(asked, min(count, len(asked)))
    return [
        (masked(question.text, names), chance.choice([other for other in sets if other is not stored]).scope)
        for stored, question in chosen
    ]


def answered(engine: MemoryEngine, asked: Sequence[tuple[str, Scope]]) -> float:
    """The share of questions that got any hit."""
    hits = [bool(engine.search(RecallQuery(text=text), scope=scope).hits) for text, scope in asked]
    return sum(hits) / len(hits)


def measure(engine: MemoryEngine, sets: Mapping[str, Sequence[Stored]], wrong: int) -> dict[str, dict[str, float]]:
    """One row for each ingredient left out."""
    asked = strangers(sets["locomo"], wrong)
    rows = {}
    for name, settings in track(INGREDIENTS.items(), description="ingredients", console=_PROGRESS):
        with without(engine, settings):
            row = {
                f"{label} {figure}": value
                for label, some in sets.items()
                for figure, value in found_shares(engine, some).items()
            }
            rows[name] = row | {"wrong, any hit": answered(engine, asked)}
    return rows


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table."""
    columns = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[c]:.3f}' for c in columns)} |" for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    parser.add_argument("--only", type=int, default=None, help="so many haystacks of each set")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures there")
    options = parser.parse_args()
    own = sorted((Path(__file__).parent / "conversations").glob("*.json"))
    haystacks = {
        "locomo": locomo(options.data / "locomo"),
        "longmemeval": longmemeval(options.data / "longmemeval" / "dev40.jsonl.gz"),
        "own": [own_conversations(path) for path in own],
    }
    with tempfile.TemporaryDirectory() as folder, MemoryEngine.open(folder) as engine:
        sets = {name: [store(engine, each) for each in some[: options.only]] for name, some in haystacks.items()}
        rows = measure(engine, sets, wrong=200)
    print(table(rows))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
