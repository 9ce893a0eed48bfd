"""What is quarantined stays in the history and is in nothing that recall and prompts are made of, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant import CustomAssistant, load_settings
from assistant.prompt_request import PromptRequest
from memory_engine import MemoryEngine, Page, RecallQuery, Scope
from memory_engine.errors import ConversationNotFound, InvalidInput, MessageNotFound
from memory_engine.retention import Policy, Rule
from tests.fakes import FixedClock

ASC = Page(ascending=True)


def said(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def found(engine: MemoryEngine, query: str, **filters: Any) -> list[tuple[str, float]]:
    return [(hit.text, hit.score) for hit in engine.recall(query, **filters)]


def texts(engine: MemoryEngine, query: str) -> list[str]:
    return [text for text, _ in found(engine, query)]


def derived_texts(engine: MemoryEngine, *conversations: str) -> str:
    """All that summaries, patterns and links of these conversations say."""
    engine.consolidate()
    summaries = [summary.text for name in conversations for summary in engine.history.summaries(name)]
    links = [
        each.text for name in conversations for link in engine.links.of(Scope(), name)
        for pair in link.evidence for each in (pair.source, pair.target)
    ]  # fmt: skip
    patterns = [
        each.message.text for pattern in engine.patterns.of(Scope(), everything=True) for each in pattern.evidence
    ]
    return "\n".join([*summaries, *links, *patterns])


def test_a_message_is_kept_out_at_once_and_comes_back_as_it_was(
    engine_on_both: MemoryEngine, clock: FixedClock
) -> None:
    engine = engine_on_both
    poison, other = engine.remember(
        "c", [said("I live in a zeppelin and I love trams."), said("The zeppelin hangar is in Friedrichshafen.")]
    ).message_ids
    before, strata = found(engine, "zeppelin"), derived_texts(engine, "c")
    assert (len(before), "trams" in strata) == (2, True)
    engine.quarantine.hold_message(poison, reason="It gives orders.")
    assert texts(engine, "zeppelin") == ["The zeppelin hangar is in Friedrichshafen."]
    assert "trams" not in derived_texts(engine, "c")
    rows, _ = engine.history.messages("c", ASC)
    assert [(m.message_id, m.quarantined) for m in rows] == [(poison, True), (other, False)]
    assert rows[0].quarantine is not None
    assert (rows[0].quarantine.reason, rows[0].quarantine.since) == ("It gives orders.", clock.now())
    fate = engine.why_not(RecallQuery(text="zeppelin"), poison)
    assert (fate.stage, fate.figures["reason"]) == ("quarantined", "It gives orders.")
    assert all(finding.problems == 0 for finding in engine.examine())
    engine.quarantine.release_message(poison)
    assert found(engine, "zeppelin") == before
    assert derived_texts(engine, "c") == strata
    assert engine.why_not(RecallQuery(text="zeppelin"), poison).stage == "returned"
    assert not engine.history.message(poison).quarantined


def test_a_conversation_is_kept_out_with_all_that_is_said_in_it_later(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("bad", [said("The zeppelin lands on Tuesday in Friedrichshafen.")])
    engine.remember("good", [said("The zeppelin lands on Friday in Friedrichshafen.")])
    engine.links.add(Scope(), "good", "bad", "same ship", 0.9)
    before = found(engine, "zeppelin")
    engine.quarantine.hold_conversation("bad")
    (later,) = engine.remember("bad", [said("The zeppelin never lands.")]).message_ids
    assert texts(engine, "zeppelin") == ["The zeppelin lands on Friday in Friedrichshafen."]
    assert [engine.history.conversation(name).quarantined for name in ("bad", "good")] == [True, False]
    assert all(message.quarantined for message in engine.history.messages("bad", ASC)[0])
    assert "Tuesday" not in derived_texts(engine, "good", "bad")
    assert engine.links.of(Scope(), "good") == []
    assert all(finding.problems == 0 for finding in engine.examine(repair=True))
    assert engine.why_not(RecallQuery(text="zeppelin"), later).stage == "quarantined"
    engine.quarantine.release_conversation("bad")
    assert sorted(texts(engine, "zeppelin")) == sorted([*(text for text, _ in before), "The zeppelin never lands."])
    assert "Tuesday" in derived_texts(engine, "good", "bad")
    assert "same ship" in [link.kind for link in engine.links.of(Scope(), "good")]


def test_a_message_quarantined_itself_stays_out_when_its_conversation_comes_back(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    poison, _ = engine.remember("c", [said("The zeppelin is mine."), said("The zeppelin is silver.")]).message_ids
    engine.quarantine.hold_conversation("c", reason="all of it")
    engine.quarantine.hold_message(poison, reason="this one")
    engine.quarantine.release_conversation("c")
    assert texts(engine, "zeppelin") == ["The zeppelin is silver."]
    engine.quarantine.hold_conversation("c")
    engine.quarantine.release_message(poison)
    assert texts(engine, "zeppelin") == []
    engine.quarantine.release_conversation("c")
    assert len(texts(engine, "zeppelin")) == 2


def test_an_edit_within_quarantine_stays_out_and_comes_back_in_its_last_words(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [said("The zeppelin lands.")]).message_ids
    engine.quarantine.hold_message(name)
    engine.edit(name, {"content": "The submarine surfaces."})
    assert texts(engine, "submarine") == []
    engine.quarantine.release_message(name)
    assert (texts(engine, "submarine"), texts(engine, "zeppelin")) == (["The submarine surfaces."], [])


def test_what_recall_never_had_does_not_come_back_into_it(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    engine.remember("c", [{"role": "assistant", "content": None, "tool_calls": [call]}, said("The zeppelin lands.")])
    for _ in range(2):
        engine.quarantine.hold_conversation("c")
        engine.quarantine.release_conversation("c")
        engine.quarantine.release_conversation("c")  # taking back what is not held changes nothing
    assert texts(engine, "zeppelin") == ["The zeppelin lands."]
    assert all(finding.problems == 0 for finding in engine.examine())


def test_what_was_pruned_meanwhile_is_recalled_once_it_is_brought_back(engine: MemoryEngine) -> None:
    old = engine.clock.now() - timedelta(days=40)
    (name,) = engine.remember("c", [said("The zeppelin lands.", created_at=old)]).message_ids
    engine.quarantine.hold_conversation("c")
    engine.pruner.prune("default", Policy(rules=(Rule(stratum="messages", older_than_days=30),)))
    engine.quarantine.release_conversation("c")
    assert texts(engine, "zeppelin") == []
    assert engine.pruner.restore_messages(Scope(), [name]) == 1
    assert texts(engine, "zeppelin") == ["The zeppelin lands."]


def hold_message(engine: MemoryEngine, scope: Scope) -> object:
    name = engine.history.messages("c", ASC, scope=Scope(user="ana"))[0][0].message_id
    return engine.quarantine.hold_message(name, scope=scope)


def hold_conversation(engine: MemoryEngine, scope: Scope) -> object:
    return engine.quarantine.hold_conversation("c", scope=scope)


@pytest.mark.parametrize("hold", [hold_message, hold_conversation])
def test_nobody_quarantines_what_is_anothers(
    engine_on_both: MemoryEngine, hold: Callable[[MemoryEngine, Scope], object]
) -> None:
    engine_on_both.remember("c", [said("Mine.")], scope=Scope(user="ana"))
    for scope in (Scope(), Scope(user="ben"), Scope(namespace="other", user="ana")):
        for _ in range(2):
            with pytest.raises((MessageNotFound, ConversationNotFound)):
                hold(engine_on_both, scope)
            engine_on_both.remember(f"own-{scope.user}", [said("I am somebody here.")], scope=scope)
    assert engine_on_both.recall("mine", scope=Scope(user="ana"))


@pytest.mark.parametrize("reason", ["x" * 501, "a\x00b"])
def test_a_reason_that_cannot_be_taken_changes_nothing(engine_on_both: MemoryEngine, reason: str) -> None:
    (name,) = engine_on_both.remember("c", [said("Here I am.")]).message_ids
    with pytest.raises(InvalidInput) as refused:
        engine_on_both.quarantine.hold_message(name, reason=reason)
    assert refused.value.param == "reason"
    assert texts(engine_on_both, "here") == ["Here I am."]


def test_the_vector_index_follows(tmp_path: Any) -> None:
    words = ("zeppelin", "submarine", "tram", "bicycle", "glider")
    with MemoryEngine.open(tmp_path / "data", index_threshold=3) as engine:
        names = engine.remember("c", [said(f"Number {n} is a {word}.") for n, word in enumerate(words)]).message_ids
        assert all(finding.healthy for finding in engine.examine(repair=True))
        engine.quarantine.hold_message(names[1])
        engine.quarantine.hold_message(names[2])
        assert "Number 1 is a submarine." not in texts(engine, "submarine")
        assert all(finding.problems == 0 for finding in engine.examine(repair=True))
        engine.quarantine.release_message(names[1])
        assert texts(engine, "submarine")[0] == "Number 1 is a submarine."
        assert "Number 2 is a tram." not in texts(engine, "tram")
        assert all(finding.healthy for finding in engine.examine(repair=True))


def test_a_reply_that_quoted_it_is_in_no_prompt_either(engine_on_both: MemoryEngine, tmp_path: Path) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [{"role": "user", "content": "The zeppelin opens with kestrel-7731."}]).message_ids
    assistant = CustomAssistant(engine, settings=load_settings(data_dir=tmp_path))
    assert "kestrel" in assistant.process_message("What opens the zeppelin?", "talk").text

    def prompt() -> str:
        asked = PromptRequest(conversation_id="talk", message="And the tram?", agent=None, token_budget=2_000)
        return str(assistant.context_manager.assemble(asked, Scope()).messages)

    assert "kestrel" in prompt()
    engine.quarantine.hold_message(name)
    assert "kestrel" not in prompt()
    engine.quarantine.release_message(name)
    engine.quarantine.hold_conversation("c")
    assert "kestrel" not in prompt()
    engine.quarantine.release_conversation("c")
    assert "kestrel" in prompt()
    assistant.close()
