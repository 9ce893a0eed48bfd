"""A scope over the threshold is ranked in part, by what Chroma and the words name, and answers as one ranked whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_engine import MemoryEngine, RecallQuery

SUBJECTS = ("the ferry", "our landlord", "the choir", "a broken kettle", "the tax letter", "my bicycle", "the garden")
VERBS = ("arrived", "was late", "called", "cost too much", "pleased everybody", "vanished", "was mended")
PLACES = ("in Lisbon", "by the harbour", "on Tuesday", "after lunch", "in the cellar", "near the mill", "at school")


def sentences() -> Iterator[str]:
    for subject in SUBJECTS:
        for verb in VERBS:
            for place in PLACES:
                yield f"{subject} {verb} {place}"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MemoryEngine, MemoryEngine]]:
    folder = tmp_path_factory.mktemp("large")
    said = [{"role": "user", "content": text, "id": f"m{n}"} for n, text in enumerate(sentences())]
    with (
        MemoryEngine.open(folder / "in part", index_threshold=100) as in_part,
        MemoryEngine.open(folder / "whole") as whole,
    ):
        for engine in (in_part, whole):
            for start in range(0, len(said), 49):
                engine.remember(f"c{start // 49}", said[start : start + 49])
            engine._parts.generation.indexer.work()
        yield in_part, whole


@pytest.mark.parametrize("query", ["Did the choir vanish near the mill?", "What cost too much in Lisbon?", "kettle"])
def test_a_part_answers_as_the_whole(engines: tuple[MemoryEngine, MemoryEngine], query: str) -> None:
    in_part, whole = engines
    found, expected = in_part.recall(query, 5), whole.recall(query, 5)
    assert [hit.message_id for hit in found] == [hit.message_id for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=0.02)


def test_the_funnel_counts_the_whole_scope(engines: tuple[MemoryEngine, MemoryEngine]) -> None:
    found = engines[0].search(RecallQuery(text="kettle"))
    assert found.funnel["messages"] == found.funnel["passed_filters"] == 343


def test_why_not_tells_of_what_was_no_candidate(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data", index_threshold=10) as engine:
        for topic in ("sailing", "taxes", "bread"):
            said = [{"role": "user", "content": f"{topic} number {n}", "id": f"{topic}{n}"} for n in range(400)]
            engine.remember(topic, said)
        engine._parts.generation.indexer.work()
        fates = [engine.why_not(RecallQuery(text="bread", k=1), f"sailing{n}") for n in range(0, 400, 40)]
        missed = [fate for fate in fates if fate.stage == "candidate"]
        assert missed
        assert all(0 <= fate.figures["score"] < 0.5 for fate in missed)


def test_a_small_scope_is_not_counted_at_each_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr("memory_engine.indexing.embeddings.count_vectors", lambda *of: counted.append(of) or 0)
    with MemoryEngine.open(tmp_path / "data", index_threshold=100) as engine:
        engine._parts.stop_background()
        for number in range(10):
            engine.remember("c", [{"role": "user", "content": f"sailing number {number}"}])
            engine._parts.generation.indexer.drain()
        assert not counted
        engine.remember("c", [{"role": "user", "content": f"sailing on day {number}"} for number in range(100)])
        engine._parts.generation.indexer.drain()
        assert len(counted) == 1
