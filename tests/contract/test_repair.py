"""Whatever does not hold between rows is found, said in plain words, and mended; nothing sound is touched."""

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from assistant import CustomAssistant, PromptRequest, doctor
from memory_engine import MemoryEngine, Scope
from memory_engine.doctor import Finding
from tests.fakes import FixedClock

_SAID = (
    "I always book the harbour hotel in Lyon for the winter launch.",
    "The winter launch needs the deposit of the harbour hotel by Friday.",
    "Please remember that I prefer the morning train to Lyon.",
)


@pytest.fixture
def engine(engine_on_both: MemoryEngine, clock: FixedClock) -> MemoryEngine:
    """A store with summaries, links, patterns and a kept prompt."""
    for name in ("one", "two"):
        said = [{"role": "user", "content": text, "id": f"{name}-{n}"} for n, text in enumerate(_SAID)]
        engine_on_both.remember(name, said)
    clock.advance(hours=1)
    engine_on_both.consolidate()
    engine_on_both.links.add(Scope(), "one", "two", "related", 1.0)
    _prompt(engine_on_both)
    return engine_on_both


def examined(engine: MemoryEngine, *, repair: bool = False) -> dict[str, Finding]:
    found = [*engine.examine(repair=repair), *doctor.examine(engine, repair=repair)]
    assert len({finding.check for finding in found}) == len(found)
    return {finding.check: finding for finding in found}


def derived(engine: MemoryEngine) -> tuple[set[str], set[str], set[str]]:
    """What summaries and patterns say, and what kinds of links there are."""
    summaries = {summary.text for name in ("one", "two") for summary in engine.history.summaries(name)}
    patterns = {pattern.text for pattern in engine.patterns.of(Scope())}
    return summaries, patterns, {link.kind for link in engine.links.of(Scope(), "one")}


#: Each harm as SQL, and the check that finds it; a blank tells a second harm of one check.
HARMS = {
    "order": "UPDATE scopes SET last_seq = 1",
    "order ": "INSERT INTO message_changes SELECT namespace_id, scope_id, last_change + 9, 1 FROM scopes",
    "scopes": "UPDATE namespaces SET last_scope = 0",
    "terms-versions": "UPDATE message_terms SET version = 7 WHERE seq = 2",
    "vectors-versions": "UPDATE message_embeddings SET version = 7 WHERE seq = 2",
    "space": "UPDATE message_embeddings SET vector = substr(vector, 1, 10) WHERE seq = 2",
    "strata": "DELETE FROM message_embeddings WHERE seq = 2",
    "citations": 'UPDATE summary_citations SET "end" = 9999',
    "citations ": 'UPDATE summary_citations SET start = "end" + 1',
    "quotations": "DELETE FROM summary_citations",
    "patterns": 'UPDATE pattern_messages SET "end" = 9999',
    "superseded": "UPDATE patterns SET superseded_by = 'pat_gone'",
    "evidence": "DELETE FROM pattern_messages",
    "links": """UPDATE links SET detail = '{"words": [], "places": [[77, 78]]}'""",
    "links ": """UPDATE links SET detail = '{"words": [], "places": [[1, 2]]}'""",
    "derivation-queue": "INSERT INTO derivation_queue SELECT namespace_id, 99, thread_id, 'none', 0, 1"
    " FROM assistant_threads",
    "outbox-places": "INSERT INTO outbox VALUES (1, 1, 2, 999, 0)",
    "outbox-places ": "INSERT INTO outbox VALUES (1, 1, 998, 999, 0)",
    "outbox": "INSERT INTO outbox VALUES (1, 1, 2, 3, 0)",
    "prompts": "INSERT INTO context_messages SELECT namespace_id, 'gone', context_id FROM contexts",
    "prompt-messages": "INSERT INTO context_messages VALUES (1, 'one-1', 'ctx_gone')",
    "tool-log": "INSERT INTO tool_calls (namespace_id, log_id, scope_id, conversation_id, message_id, call_id, tool,"
    " agent, arguments, attempt, status, started_at)"
    " VALUES (1, 'l', 1, 'one', 'gone', 'c', 't', 'a', '{}', 1, 'ok', 0)",
    "model-log": "INSERT INTO model_calls (namespace_id, log_id, scope_id, conversation_id, message_id, agent, model,"
    " started_at, latency, prompt_tokens, completion_tokens, history_tokens)"
    " VALUES (1, 'l', 1, 'one', 'gone', 'a', 'm', 0, 0, 0, 0, 0)",
}


def test_each_harm_is_found_and_mended_and_answers_stay(engine: MemoryEngine) -> None:
    engine._parts.stop_background()
    engine._parts.generation.indexer.work()
    sound = examined(engine)
    assert [f for f in sound.values() if f.problems] == []
    before = [(hit.message_id, round(hit.score, 6)) for hit in engine.recall("harbour hotel in Lyon")]
    made = derived(engine)
    assert all(made)
    for check, harm in ((name.strip(), harm) for name, harm in HARMS.items()):
        with engine.database.write() as db:
            changed = db.execute(text(harm)).rowcount
        assert changed, f"nothing to harm for {check}"
        found = examined(engine)
        assert found[check].problems, check
        assert not found[check].healthy, check
        assert found[check].advice, check
        mended = examined(engine, repair=True)
        assert all(finding.healthy for finding in mended.values()), (check, mended)
        engine.consolidate()
        if check == "prompts":
            _prompt(engine)
        assert [f for f in examined(engine).values() if f.problems] == [], check
        if check == "evidence":  # with what showed them is lost where they could be learned anew
            made = (made[0], set(), made[2])
        assert derived(engine) == made, f"what {check} cost is there again"
    after = [(hit.message_id, round(hit.score, 6)) for hit in engine.recall("harbour hotel in Lyon")]
    assert after == before


def test_what_a_person_said_of_a_pattern_outlives_its_evidence(engine: MemoryEngine) -> None:
    (pattern,) = engine.patterns.of(Scope())
    engine.patterns.judge(Scope(), pattern.pattern_id, "confirmed")
    with engine.database.write() as db:
        db.execute(text("DELETE FROM pattern_messages"))
    examined(engine, repair=True)
    with engine.database.read() as db:
        assert db.execute(text("SELECT pattern_id, state FROM patterns")).all() == [(pattern.pattern_id, "confirmed")]


def test_what_takes_a_person_is_found_and_left(engine: MemoryEngine) -> None:
    engine.remember("ana", [{"role": "user", "content": _SAID[0]}], scope=Scope(user="ana"))
    with engine.database.write() as db:
        of_hers = text("SELECT thread_id FROM assistant_threads WHERE conversation_id = 'ana'")
        moved = text("UPDATE chat_messages SET thread_id = :hers WHERE message_id = 'one-2'")
        db.execute(moved, {"hers": db.execute(of_hers).scalar_one()})
    found = examined(engine, repair=True)["conversations"]
    assert (found.problems, found.repaired, found.healthy) == (1, 0, False)
    assert "restore a backup" in found.advice


def _prompt(engine: MemoryEngine) -> None:
    """A kept prompt for the next harm."""
    assistant = CustomAssistant(engine)
    assistant.context_manager.assemble(
        PromptRequest(conversation_id="one", message="Which hotel?", agent=None), Scope()
    )
    assistant.close()


def test_rows_that_refer_to_nothing_are_found_on_sqlite(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("one", [{"role": "user", "content": _SAID[0]}])
        with closing(engine.database._writer.raw_connection()) as db:
            cursor = db.cursor()
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.execute("INSERT INTO message_terms VALUES (1, 1, 999, 1, 1, 0, x'00')")
            cursor.execute("PRAGMA foreign_keys=ON")
        assert "message_terms" in examined(engine)["references"].detail
        assert examined(engine, repair=True)["references"].healthy
        assert examined(engine)["references"].problems == 0
        with closing(engine.database._writer.raw_connection()) as db:
            cursor = db.cursor()
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.execute("UPDATE chat_messages SET thread_id = 'thread_gone'")
            cursor.execute("PRAGMA foreign_keys=ON")
        assert not examined(engine, repair=True)["references"].healthy
        with engine.database.read() as db:
            assert db.execute(text("SELECT count(*) FROM chat_messages")).scalar_one() == 1, "what was said is left"
