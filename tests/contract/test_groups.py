"""Summaries of linked conversations, on both databases."""

from typing import Any

from memory_engine import MemoryEngine, Scope, Summary

RENTED = "The zeppelin hangar in Friedrichshafen is rented until 30 September."
PAID = "The deposit for the zeppelin hangar in Friedrichshafen was 1,200 euros."


def said(*texts: str, day: int = 1) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": text, "created_at": f"2026-05-{day:02}T10:{minute:02}:00Z"}
        for minute, text in enumerate(texts)
    ]


def group_of(engine: MemoryEngine, conversation_id: str) -> Summary | None:
    found = [each for each in engine.history.summaries(conversation_id) if each.level == "group"]
    return found[0] if found else None


def filled(engine: MemoryEngine) -> list[str]:
    """Two conversations about one thing, and one about another; the ids of the messages of the second."""
    engine._parts.stop_background()
    engine.remember("rent", said(RENTED, "Keep the keys of the zeppelin hangar.", day=1))
    ids = engine.remember("deposit", said(PAID, "Who keeps the zeppelin hangar keys?", day=2)).message_ids
    engine.remember("bread", said("Rye bread takes 40 minutes at 220 degrees.", "Then it rests.", day=3))
    engine.consolidate()
    return list(ids)


def test_a_group_says_what_its_conversations_say(engine_on_both: MemoryEngine) -> None:
    filled(engine_on_both)
    for name in ("rent", "deposit"):
        group = group_of(engine_on_both, name)
        assert group is not None
        assert (group.made_by, group.conversation_id) == ("extractive/1", name)
        assert {RENTED, PAID} <= {sentence.text for sentence in group.sentences}
        assert group.text.index(RENTED) < group.text.index(PAID), "in the order in which it was said"
    assert group_of(engine_on_both, "bread") is None


def test_what_is_erased_elsewhere_leaves_the_group(engine_on_both: MemoryEngine) -> None:
    ids = filled(engine_on_both)
    engine_on_both.erase(message_ids=[ids[0]])
    assert all(PAID not in (each.text if each else "") for each in (group_of(engine_on_both, "rent"),))
    engine_on_both.consolidate()
    remade = group_of(engine_on_both, "rent")
    assert remade is None or PAID not in remade.text
    engine_on_both.erase(conversation_id="deposit")
    engine_on_both.consolidate()
    assert group_of(engine_on_both, "rent") is None


def test_a_refused_link_leaves_no_group(engine_on_both: MemoryEngine) -> None:
    filled(engine_on_both)
    for link in engine_on_both.links.of(Scope(), "rent"):
        engine_on_both.links.judge(Scope(), link.link_id, "refused")
    engine_on_both.consolidate()
    assert group_of(engine_on_both, "rent") is None
    assert group_of(engine_on_both, "deposit") is None
