"""The engine as a library: what one call keeps, another finds."""

from memory_engine import MemoryEngine


def test_what_was_remembered_is_recalled_by_the_next_call(engine: MemoryEngine) -> None:
    engine.remember("conv-1", [{"role": "user", "content": "I moved to Lyon in March."}])
    hits = engine.recall("where did I move in March?", k=5)
    assert [hit.text for hit in hits] == ["I moved to Lyon in March."]
    assert 0 < hits[0].score < 1
    assert "lyon" not in hits[0].why["words"]
    assert "march" in hits[0].why["words"]


def test_nothing_relevant_gives_nothing(engine: MemoryEngine) -> None:
    engine.remember("conv-1", [{"role": "user", "content": "I moved to Lyon in March."}])
    assert engine.recall("xylophone tuning", k=5) == []


def test_both_databases_remember(engine_on_both: MemoryEngine) -> None:
    kept = engine_on_both.remember("c", [{"role": "user", "content": "The launch is on Friday."}])
    assert [hit.message_id for hit in engine_on_both.recall("when is the launch")] == list(kept.message_ids)
