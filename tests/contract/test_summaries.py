"""Summaries on both databases: each sentence leads to a message, and none outlives what it rests on."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine, Page, Scope
from memory_engine.consolidation.consolidator import Consolidator
from memory_engine.consolidation.quoting import Quoter
from memory_engine.errors import ConversationNotFound, Erased
from memory_engine.storage import summaries
from tests import samples
from tests.fakes import FixedClock

TALK = [
    ("user", "Hello there!"),
    ("assistant", "Hello! How can I help you today?"),
    ("user", "We move the booking service from MySQL to PostgreSQL 17 before the launch in October."),
    ("assistant", "Then the migration has to be rehearsed in September, with a full copy of the data."),
    ("user", "Nadia rehearses it on 14 September on the staging cluster in Frankfurt."),
    ("user", "ok"),
    ("assistant", "Noted: Nadia, 14 September, staging cluster in Frankfurt."),
    ("user", "And the invoices keep their old numbers, because the auditors asked for that."),
]


def talk(number: int = 0) -> list[dict[str, Any]]:
    return [
        {"role": role, "content": said, "created_at": f"2026-05-{1 + number:02}T10:{minute:02}:00Z"}
        for minute, (role, said) in enumerate(TALK)
    ]


def check(engine: MemoryEngine, scope: Scope | None = None) -> int:
    """Every sentence stands in the message that it cites; the number of summaries looked at."""
    scope, looked_at = scope or Scope(), 0
    rows, _ = engine.history.conversations(Page(limit=1000), scope=scope)
    for row in rows:
        for summary in engine.history.summaries(row.conversation_id, scope=scope):
            looked_at += 1
            for sentence in summary.sentences:
                (cited,) = sentence.citations
                message = engine.history.message(cited.message_id, scope=scope)
                assert message.text[cited.start : cited.end] == sentence.text
                assert message.conversation_id == row.conversation_id or summary.level == "group"
                assert summary.first_seq <= message.seq <= summary.last_seq
    return looked_at


def test_what_matters_is_kept_in_order_and_leads_back(engine_on_both: MemoryEngine) -> None:
    ids = engine_on_both.remember("c", talk()).message_ids
    assert engine_on_both.history.summaries("c") == []
    assert engine_on_both.consolidate() == 1
    whole, segment = engine_on_both.history.summaries("c")
    assert (whole.level, segment.level, segment.made_by) == ("conversation", "segment", "extractive/1")
    assert "PostgreSQL 17" in whole.text
    assert "Hello" not in whole.text
    assert list(whole.message_ids) == sorted(whole.message_ids, key=ids.index)
    assert check(engine_on_both) == 2
    assert engine_on_both.consolidate() == 0, "nothing is made twice"
    assert engine_on_both.stats().summaries == 2


def test_an_idle_gap_begins_a_segment_and_the_last_one_grows(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("c", talk(0))
    engine.consolidate()
    first = engine.history.summaries("c")
    engine.remember("c", talk(3))
    engine.consolidate()
    whole, before, after = engine.history.summaries("c")
    assert before.summary_id == first[1].summary_id
    assert whole.summary_id == first[0].summary_id
    assert (before.last_at.day, after.first_at.day) == (1, 4)
    later = [{"role": "user", "content": "The rehearsal took 4 hours.", "created_at": "2026-05-04T10:20:00Z"}]
    engine.remember("c", later)
    engine.consolidate()
    grown = engine.history.summaries("c")[2]
    assert (grown.summary_id, grown.last_seq) == (after.summary_id, after.last_seq + 1)


@pytest.mark.parametrize("how", ["edit", "erase"])
def test_what_rests_on_a_changed_message_goes_and_is_remade(engine_on_both: MemoryEngine, how: str) -> None:
    engine = engine_on_both
    ids = engine.remember("c", talk(0)).message_ids
    engine.remember("c", talk(3))
    engine.consolidate()
    assert "MySQL" in engine.history.summaries("c")[0].text
    if how == "edit":
        engine.edit(
            ids[2], {"content": "We stay with Oracle 19 for the booking service, and cancel the launch in October."}
        )
    else:
        engine.erase(message_ids=[ids[2]])
    first_day = [summary for summary in engine.history.summaries("c") if summary.first_at.day == 1]
    assert not any("MySQL" in summary.text for summary in first_day)
    engine.consolidate()
    found = engine.history.summaries("c")
    assert [summary.level for summary in found] == ["conversation", "segment", "segment"]
    assert "MySQL" not in found[1].text
    assert ("Oracle" in found[1].text) == (how == "edit")
    check(engine)


def test_an_erased_conversation_leaves_no_summary(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", talk())
    engine_on_both.consolidate()
    engine_on_both.erase(conversation_id="c")
    assert engine_on_both.stats().summaries == 0
    with engine_on_both.database.read() as db:
        for table in ("summaries", "summary_sentences", "summary_citations", "consolidation_queue", "derivation_queue"):
            assert db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
    with pytest.raises(Erased):
        engine_on_both.history.summaries("c")


def test_every_sample_sentence_leads_to_its_message(engine: MemoryEngine) -> None:
    engine._parts.stop_background()
    samples.load(engine)
    assert engine.consolidate() == engine.stats().conversations
    assert check(engine) >= 26
    wordless = engine.remember("signs", [{"role": "user", "content": "🙂🙂"}, {"role": "user", "content": "..."}])
    assert engine.consolidate() == 1
    assert engine.history.summaries("signs") == []
    engine.erase(message_ids=list(wordless.message_ids))


def test_nothing_of_another_user_is_in_it(engine: MemoryEngine) -> None:
    ana, ben = Scope(user="ana"), Scope(user="ben")
    engine.remember("a", talk(), scope=ana)
    engine.remember("b", [{"role": "user", "content": "The zeppelin is mine alone."}], scope=ben)
    engine.consolidate()
    assert check(engine, ana) == 2
    assert "zeppelin" not in "".join(s.text for s in engine.history.summaries("a", scope=ana))
    with pytest.raises(ConversationNotFound):
        engine.history.summaries("a", scope=ben)


def test_the_background_waits_for_silence_or_many_messages(engine: MemoryEngine, clock: FixedClock) -> None:
    consolidator: Consolidator = engine._parts.consolidator
    engine.remember("c", talk()[:3])
    consolidator.work()
    assert engine.history.summaries("c") == []
    clock.advance(seconds=61)
    consolidator.work()
    assert len(engine.history.summaries("c")) == 2
    engine.remember("many", [{"role": "user", "content": f"Number {n} is a prime."} for n in range(20)])
    consolidator.work()
    assert engine.history.summaries("many")


def summed_up_while(monkeypatch: pytest.MonkeyPatch, engine: MemoryEngine, happens: Callable[[], object]) -> None:
    """Have something happen each time that the conversation "c", which waits, is summed up."""
    choose = Quoter.chosen
    engine._parts.stop_background()
    engine.remember("c", talk())

    def chosen(*given: Any, **named: Any) -> Any:
        happens()
        return choose(*given, **named)

    monkeypatch.setattr(Quoter, "chosen", chosen)


def test_a_conversation_that_never_pauses_is_summed_up_once_a_round(
    engine_on_both: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, late = engine_on_both, {"role": "user", "content": "And the zeppelin is sold to Mira."}
    summed_up_while(monkeypatch, engine, lambda: engine.remember("c", [late]))
    assert engine.consolidate() == 1
    monkeypatch.undo()
    assert check(engine) == 2, "what was read is summed up"
    assert engine.consolidate() == 1, "and what came meanwhile waits"
    newest = engine.history.messages("c", Page(limit=1))[0][0]
    assert max(summary.last_seq for summary in engine.history.summaries("c")) == newest.seq
    assert engine.consolidate() == 0


def test_what_another_has_summed_up_meanwhile_is_left_alone(
    engine_on_both: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on_both

    def another_takes_it() -> None:
        with engine.database.write() as db:
            db.execute(text("DELETE FROM consolidation_queue"))

    summed_up_while(monkeypatch, engine, another_takes_it)
    engine.consolidate()
    assert engine.stats().summaries == 0


def test_the_background_gives_way_to_a_pruning(engine: MemoryEngine, clock: FixedClock) -> None:
    engine._parts.stop_background()
    engine.remember("c", talk())
    clock.advance(seconds=61)
    with engine.pruner._one_at_a_time:
        assert engine._parts.consolidate() == 0
    assert engine._parts.consolidate() == 1


def test_a_broken_off_consolidation_goes_on_and_makes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FixedClock
) -> None:
    with MemoryEngine.open(tmp_path / "data", clock=clock) as engine:
        engine._parts.stop_background()
        samples.load(engine)
        count = engine.stats().conversations
        real, calls = summaries.replace_from, []

        def breaks(*args: Any) -> None:
            real(*args)
            calls.append(args)
            if len(calls) == 4:
                raise KeyboardInterrupt  # in the middle of a transaction, as a kill would

        monkeypatch.setattr(summaries, "replace_from", breaks)
        with pytest.raises(KeyboardInterrupt):
            engine.consolidate()
        monkeypatch.setattr(summaries, "replace_from", real)
        done = engine.stats().summaries
    with MemoryEngine.open(tmp_path / "data", clock=clock) as engine:
        engine._parts.stop_background()
        engine.consolidate()
        with engine.database.read() as db:
            summed_up = "SELECT count(DISTINCT thread_id) FROM summaries"
            assert db.execute(text(summed_up)).scalar_one() == count
        assert engine.stats().summaries > done
        check(engine)
        with engine.database.read() as db:
            twice = "SELECT count(*) - count(DISTINCT thread_id || level || first_seq) FROM summaries"
            assert db.execute(text(twice)).scalar_one() == 0


def test_hits_bring_the_summaries_of_where_they_stand(engine: MemoryEngine) -> None:
    engine.remember("c", talk())
    engine.remember("other", [{"role": "user", "content": "The tram was late again on Monday morning."}])
    engine.consolidate()
    hits = engine.recall("Who rehearses the migration to PostgreSQL?")
    (support,) = engine.support(hits[:1])
    assert support.conversation_id == "c"
    assert set(support.message_ids) <= {m.message_id for m in engine.history.messages("c", Page(limit=50))[0]}
    assert engine.support([]) == []
    assert re.search("Nadia|PostgreSQL", support.text)
