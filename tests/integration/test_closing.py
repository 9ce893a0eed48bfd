"""A store with much to do in the background closes after the piece at hand, and goes on with the rest when opened."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine
from memory_engine.consolidation.quoting import Quoter
from memory_engine.errors import StoreUnavailable
from memory_engine.storage import derivation_queue, outbox, summaries
from memory_engine.vectors.chroma import ChromaIndex

CONVERSATIONS = 6


def filled(folder: Path, **options: Any) -> MemoryEngine:
    engine = MemoryEngine.open(folder, **options)
    engine._parts.stop_background()  # the test decides when the background works
    for number in range(CONVERSATIONS):
        said = f"Zeppelin {number} lands at noon, and its hangar is closed at night."
        engine.remember(f"c{number}", [{"role": "user", "content": said}])
    return engine


def rows(engine: MemoryEngine, table: str) -> int:
    with engine.database.read() as db:
        return int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def closing_after(engine: MemoryEngine, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, in the middle of which the store begins to close."""

    def then_close(*given: Any, **named: Any) -> Any:
        done = work(*given, **named)
        engine._parts._store.closing.set()
        return done

    return then_close


def test_summaries_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(tmp_path / "data") as engine:
        monkeypatch.setattr(summaries, "replace_from", closing_after(engine, summaries.replace_from))
        assert engine.consolidate() == 1
        monkeypatch.undo()
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.consolidate()
        assert rows(engine, "consolidation_queue") == rows(engine, "derivation_queue") == 0
        assert engine.stats().summaries >= CONVERSATIONS


def test_links_and_patterns_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(tmp_path / "data") as engine:
        monkeypatch.setattr(derivation_queue, "take", closing_after(engine, derivation_queue.take))
        engine.consolidate()
        monkeypatch.undo()
        assert rows(engine, "consolidation_queue") == 0
        assert rows(engine, "derivation_queue") >= 2 * CONVERSATIONS - 1, "one of the two stages looked at one"
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.consolidate()
        assert rows(engine, "derivation_queue") == 0


def test_the_vector_index_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory_engine.indexing._BATCH", 2)
    with filled(tmp_path / "data", index_threshold=4) as engine:
        monkeypatch.setattr(ChromaIndex, "add", closing_after(engine, ChromaIndex.add))
        assert engine._parts.generation.indexer.drain() == 0
        monkeypatch.undo()
        assert rows(engine, "outbox") == CONVERSATIONS
    with MemoryEngine.open(tmp_path / "data", index_threshold=4) as engine:
        engine._parts.generation.indexer.drain()
        assert rows(engine, "outbox") == 0
        assert not [finding for finding in engine.examine() if finding.problems]


def test_a_proof_is_begun_anew(tmp_path: Path) -> None:
    with filled(tmp_path / "data") as engine:
        receipt = engine.erase(conversation_id="c0")
        engine._parts._store.closing.set()
        with pytest.raises(StoreUnavailable, match="erasure"):
            engine.forgetting.prove(receipt.receipt_id)
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert engine.forgetting.prove(receipt.receipt_id).state == "done"


def test_messages_are_indexed_while_summaries_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "data").close()
    begun, end, indexed = threading.Event(), threading.Event(), threading.Event()
    choose, drop = Quoter.chosen, outbox.delete_until

    def choose_slowly(*given: Any, **named: Any) -> Any:
        begun.set()
        assert end.wait(30)
        return choose(*given, **named)

    def drop_and_tell(*given: Any) -> None:
        drop(*given)
        indexed.set()

    with MemoryEngine.open(tmp_path / "data") as engine:
        monkeypatch.setattr(Quoter, "chosen", choose_slowly)
        summing_up = threading.Thread(target=engine.consolidate)
        summing_up.start()
        assert begun.wait(30)
        monkeypatch.setattr(outbox, "delete_until", drop_and_tell)
        engine.remember("late", [{"role": "user", "content": "The zeppelin is sold."}])
        assert indexed.wait(30)
        end.set()
        summing_up.join()


def test_what_keeps_summaries_from_being_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def fail(*_: object, **__: object) -> None:
        asked.set()
        raise StoreUnavailable("The disk is gone.")

    monkeypatch.setattr(summaries, "due", fail)
    with MemoryEngine.open(tmp_path / "data") as engine:
        assert asked.wait(30)
        engine._parts.stop_background()
        assert engine.parts()["summaries"].detail == "The disk is gone."
        assert not engine.parts()["summaries"].ok
