"""Recall in other languages than English, on our own question sets. A guard against a fall; docs/recall.md has more."""

from pathlib import Path

import pytest

from bench.datasets import own_conversations
from memory_engine import MemoryEngine

SETS = sorted((Path(__file__).parents[2] / "bench" / "conversations").glob("*.txt"))


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_three_quarters_of_the_evidence_is_within_ten_hits(engine: MemoryEngine, path: Path) -> None:
    haystack = own_conversations(path)
    places = {}
    for name, messages in haystack.conversations.items():
        kept = engine.remember(name, messages).message_ids
        places.update({message_id: (name, index) for index, message_id in enumerate(kept)})
    shares = []
    for question in haystack.questions:
        found = {places[hit.message_id] for hit in engine.recall(question.text, k=10)}
        shares.append(len(found & set(question.evidence)) / len(question.evidence))
    assert len(shares) >= 40
    assert len(places) >= 200
    assert sum(shares) / len(shares) >= 0.75
