"""Links on both databases: each leads to messages, people have the last word, and none outlives what shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from memory_engine import Link, MemoryEngine, Page, Scope
from memory_engine.errors import ConversationNotFound, InvalidInput, LinkNotFound
from memory_engine.links import shared_words
from memory_engine.links.references import ids_in, references_in
from memory_engine.links.shared_words import Word
from memory_engine.storage import links
from tests import samples
from tests.fakes import FixedClock

HERE = Scope()


def said(*texts: str, day: int = 1, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": each, "created_at": f"2026-05-{day:02}T10:{n:02}:00Z", **fields}
        for n, each in enumerate(texts)
    ]


def boats(engine: MemoryEngine) -> None:
    """Two conversations about a boat, one about bread, one about neither."""
    engine.remember("boat", said("The zeppelin hangar in Friedrichshafen is rented for the regatta.", "Good."))
    engine.remember("hangar", said("Who pays for the hangar in Friedrichshafen and the zeppelin pilot?", day=9))
    engine.remember("bread", said("Sourdough needs rye flour and a warm oven.", day=2))
    engine.remember("taxes", said("The accountant wants the invoices of March.", day=3))
    engine.consolidate()


def all_links(engine: MemoryEngine) -> dict[str, Link]:
    rows, _ = engine.history.conversations(Page(limit=1000))
    return {link.link_id: link for row in rows for link in engine.links.of(HERE, row.conversation_id)}


def test_shared_rare_words_join_with_their_evidence(engine_on_both: MemoryEngine) -> None:
    boats(engine_on_both)
    (link,) = engine_on_both.links.of(HERE, "boat")
    assert {link.source, link.target} == {"boat", "hangar"}
    assert {"hangar", "zeppelin", "friedrichshafen"} <= set(link.words)
    assert 0 < link.weight <= 1
    assert {pair.source.conversation_id for pair in link.evidence} == {link.source}
    assert {pair.target.conversation_id for pair in link.evidence} == {link.target}
    assert engine_on_both.links.of(HERE, "bread") == []
    assert engine_on_both.stats().links == 1
    assert engine_on_both.links.link(HERE, link.link_id) == link


def test_a_reference_by_date_leads_to_what_was_said_then(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("plan", said("The deploy moves to Tuesday mornings, as the outage review showed.", day=12))
    engine.remember("lunch", said("Soup again, and the bread was stale.", day=12))
    asked = engine.remember("later", said("As we agreed on 12 May, we deploy on Tuesday.", day=20)).message_ids
    engine.consolidate()
    (link,) = [link for link in engine.links.of(HERE, "later") if link.kind == "reference"]
    assert (link.source, link.target, link.weight) == ("later", "plan", max(0.5, link.weight))
    assert [pair.source.message_id for pair in link.evidence] == list(asked)


def test_a_reference_by_a_day_of_the_week_leads_to_what_was_said_then(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("mast", said("The mast is painted blue before the regatta.", day=11))  # a Monday
    engine.remember("rope", said("The mast needs a new rope, and blue paint.", day=4))
    engine.remember("later", said("The mast will be blue, as we told the painter on Monday.", day=14))
    engine.remember("plan", said("On Monday we paint the mast blue.", day=14))
    engine.consolidate()
    found = {
        name: {at.target for at in engine.links.of(HERE, name) if at.kind == "reference"} for name in ("later", "plan")
    }
    assert found == {"later": {"mast"}, "plan": set()}


def test_an_id_in_the_text_is_a_reference(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    first = engine.remember("one", said("The regatta is on Sunday."))
    engine.remember("two", said(f"See {first.thread_id} and {first.message_ids[0]}, please.", day=2))
    engine.consolidate()
    (link,) = engine.links.of(HERE, "two")
    assert (link.kind, link.target, link.weight) == ("reference", "one", 1.0)


def test_people_have_the_last_word(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine = engine_on_both
    boats(engine)
    (link,) = engine.links.of(HERE, "boat")
    clock.advance(days=400)
    faded = engine.links.link(HERE, link.link_id)
    assert faded.weight < link.weight / 4
    assert engine.links.of(HERE, "boat") == [], "faint links are not shown"
    assert engine.links.judge(HERE, link.link_id, "confirmed").weight == link.weight
    clock.advance(days=4000)
    assert engine.links.of(HERE, "boat")[0].weight == link.weight
    assert engine.links.judge(HERE, link.link_id, "refused").state == "refused"
    engine.remember("hangar", said("The zeppelin leaves the hangar in Friedrichshafen at noon.", day=10))
    engine.consolidate()
    assert engine.links.of(HERE, "boat") == [], "what was refused is not made again"
    added = engine.links.add(HERE, "bread", "taxes", "same client", 0.7)
    assert (added.state, added.made_by, added.weight) == ("added", "person", 0.7)
    with pytest.raises(InvalidInput, match="already"):
        engine.links.add(HERE, "taxes", "bread", "same client", 0.7)


@pytest.mark.parametrize(
    ("source", "target", "kind", "weight", "error"),
    [
        ("boat", "boat", "x", 0.5, InvalidInput),
        ("boat", "none", "x", 0.5, ConversationNotFound),
        ("none", "boat", "x", 0.5, ConversationNotFound),
        ("boat", "bread", "x", 0.0, InvalidInput),
        ("boat", "bread", "x", 1.1, InvalidInput),
        ("boat", "bread", "", 1.0, InvalidInput),
        ("boat", "bread", "k" * 17, 1.0, InvalidInput),
    ],
)
def test_a_wrong_link_is_refused(
    engine: MemoryEngine, source: str, target: str, kind: str, weight: float, error: type[Exception]
) -> None:
    boats(engine)
    with pytest.raises(error):
        engine.links.add(HERE, source, target, kind, weight)
    assert len(all_links(engine)) == 1


def test_nothing_joins_across_users(engine_on_both: MemoryEngine) -> None:
    engine, ana = engine_on_both, Scope(user="ana")
    boats(engine)
    engine.remember("hers", said("The zeppelin hangar in Friedrichshafen is mine."), scope=ana)
    engine.consolidate()
    assert engine.links.of(ana, "hers") == []
    (link,) = engine.links.of(HERE, "boat")
    for call in (
        lambda: engine.links.link(ana, link.link_id),
        lambda: engine.links.judge(ana, link.link_id, "refused"),
    ):
        with pytest.raises(LinkNotFound):
            call()
    for call in (
        lambda: engine.links.of(ana, "boat"),
        lambda: engine.links.around(ana, "boat", 1),
        lambda: engine.links.path(ana, "hers", "boat"),
        lambda: engine.links.add(ana, "hers", "boat", "x", 1.0),
    ):
        with pytest.raises(ConversationNotFound):
            call()


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_erased_shows_no_link(engine_on_both: MemoryEngine, whole: bool) -> None:
    engine = engine_on_both
    boats(engine)
    if whole:
        engine.erase(conversation_id="hangar")
    else:
        (message,) = engine.history.messages("hangar", Page())[0]
        engine.erase(message_ids=[message.message_id])
    assert engine.links.of(HERE, "boat") == []
    engine.consolidate()
    assert engine.stats().links == 0
    with engine.database.read() as db:
        assert db.execute(text("SELECT count(*) FROM link_messages")).scalar_one() == 0


def test_a_path_is_a_chain_of_quotes_and_a_neighbourhood_has_themes(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    boats(engine)
    engine.links.add(HERE, "hangar", "taxes", "related", 0.9)
    steps = engine.links.path(HERE, "boat", "taxes")
    assert steps is not None
    assert [{step.source, step.target} for step in steps] == [{"boat", "hangar"}, {"hangar", "taxes"}]
    assert "hangar" in steps[0].evidence[0].source.text
    assert engine.links.path(HERE, "boat", "bread") is None
    assert engine.links.path(HERE, "boat", "boat") == ()
    near = engine.links.around(HERE, "boat", 1)
    assert (len(near.themes), len(near.links)) == (2, 1)
    assert len(engine.links.around(HERE, "boat", 2).themes) == 3
    for depth in (0, 5):
        with pytest.raises(InvalidInput, match="depth"):
            engine.links.around(HERE, "boat", depth)


def test_what_is_recalled_together_is_joined(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine = engine_on_both
    boats(engine)
    asking = engine.remember("bread", said("Who rented the zeppelin hangar?", day=11)).message_ids[0]
    hits = engine.recall("zeppelin hangar")
    for _ in range(3):
        engine.links.note_recalled(HERE, "bread", asking, hits)
    found = [link for link in engine.links.of(HERE, "bread") if link.kind == "recalled"]
    assert {link.target for link in found} == {"boat", "hangar"}
    assert all(link.weight == pytest.approx(0.5) for link in found)
    assert {link.evidence[0].source.message_id for link in found} == {asking}
    engine.links.note_recalled(HERE, "bread", "msg_none", hits)
    engine.links.note_recalled(Scope(user="ana"), "bread", asking, hits)


def test_every_link_of_the_samples_leads_to_its_messages(engine: MemoryEngine) -> None:
    engine._parts.stop_background()
    samples.load(engine)
    engine.consolidate()
    found = all_links(engine)
    assert len(found) > 30
    for link in found.values():
        for pair in link.evidence:
            assert engine.history.message(pair.source.message_id).conversation_id == link.source
            assert engine.history.message(pair.target.message_id).conversation_id == link.target
    before = {(link.source, link.target, link.kind) for link in found.values()}
    engine.consolidate()
    assert {(link.source, link.target, link.kind) for link in all_links(engine).values()} == before


def test_most_planted_references_are_found_with_their_evidence(engine: MemoryEngine) -> None:
    engine._parts.stop_background()
    samples.load(engine)
    engine.consolidate()
    rows, _ = engine.history.conversations(Page(limit=100))
    ids = {
        row.conversation_id: [
            m.message_id for m in engine.history.messages(row.conversation_id, Page(limit=500, ascending=True))[0]
        ]
        for row in rows
    }
    shown = {
        (pair.source.message_id, pair.target.message_id)
        for link in all_links(engine).values()
        for pair in link.evidence
    }
    planted = json.loads((Path(__file__).parents[1] / "sample_references.json").read_text())
    found = [
        any((ids[row["source"]][row["source_message"]], ids[row["target"]][n]) in shown for n in row["target_messages"])
        for row in planted
    ]
    assert sum(found) >= 33, "33 of 38 when it was written"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=400))
def test_any_text_may_be_looked_at_for_references(text_: str) -> None:
    from datetime import UTC, datetime

    for reference in references_in(text_, datetime(2026, 5, 1, tzinfo=UTC)):
        assert reference.text
        assert reference.has_cue or reference.times
    assert ids_in("thread_abc, msg_x1y2 and thread_abc") == ["thread_abc", "msg_x1y2"]


def test_a_hub_keeps_its_strongest_links(engine: MemoryEngine) -> None:
    for number in range(links.HUB + 8):
        engine.remember(f"c{number}", said(f"zeppelin {'hangar ' * (number % 3 + 1)} crew {number}"))
    engine.consolidate()
    counts = [len(engine.links.of(HERE, f"c{number}")) for number in range(links.HUB + 8)]
    assert max(counts) <= links.HUB + 8


def test_words_of_many_conversations_join_none() -> None:
    common = Word(term=1, here=1, there=dict.fromkeys(range(1, 40), 1))
    rare = Word(term=2, here=2, there={7: 3})
    found = shared_words.shared([common, rare], 1000, 50, dict.fromkeys(range(40), 50))
    assert list(found) == [7]
    assert found[7].terms == (2,)
    assert found[7].is_entity
    assert shared_words.weight(found[7].score, 1.0) > shared_words.weight(found[7].score, 0.0) > 0
