"""The sample conversations, as the demo loads them."""

import json
from pathlib import Path
from typing import Any

from api.bootstrap import load_samples
from memory_engine import MemoryEngine

QUESTIONS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "sample_questions.json").read_text())


def load(engine: MemoryEngine) -> None:
    load_samples(engine, lambda _name: None)


def answers(engine: MemoryEngine, k: int = 10) -> list[list[tuple[str, float]]]:
    """For each question, the ids and scores that are recalled."""
    return [[(hit.message_id, round(hit.score, 6)) for hit in engine.recall(q["question"], k=k)] for q in QUESTIONS]


def ids(answers: list[list[tuple[str, float]]]) -> list[list[str]]:
    return [[name for name, _ in hits] for hits in answers]


def overlap(found: list[list[str]], expected: list[list[str]]) -> float:
    """The mean share of the expected hits that were found."""
    shares = [len(set(f) & set(e)) / len(e) for f, e in zip(found, expected, strict=True) if e]
    return sum(shares) / len(shares)
