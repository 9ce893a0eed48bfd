"""Recall in other languages than English, on our own question sets. A guard against a fall; docs/recall.md has more."""

import json
from itertools import groupby
from pathlib import Path

import pytest

from bench.datasets import Haystack, own_conversations
from memory_engine import MemoryEngine, Scope

PATHS = sorted((Path(__file__).parents[2] / "bench" / "conversations").glob("*.json"))
LANGUAGES = {
    language: list(paths) for language, paths in groupby(PATHS, lambda path: json.loads(path.read_text())["language"])
}


def found_shares(engine: MemoryEngine, haystack: Haystack) -> list[float]:
    """For each question, the share of its evidence within ten hits."""
    scope, places = Scope(namespace=haystack.name), {}
    for name, messages in haystack.conversations.items():
        kept = engine.remember(name, messages, scope=scope).message_ids
        places.update({message_id: (name, index) for index, message_id in enumerate(kept)})
    assert len(places) >= 200
    assert len(haystack.questions) >= 40
    hits = ({places[hit.message_id] for hit in engine.recall(q.text, k=10, scope=scope)} for q in haystack.questions)
    return [len(found & set(q.evidence)) / len(q.evidence) for found, q in zip(hits, haystack.questions, strict=True)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_three_quarters_of_the_evidence_is_within_ten_hits(engine: MemoryEngine, language: str) -> None:
    shares = [share for path in LANGUAGES[language] for share in found_shares(engine, own_conversations(path))]
    assert sum(shares) / len(shares) >= 0.75
