"""Notes that were made of messages: held and erased with them, on both databases."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text

from assistant import CustomAssistant, PromptRequest
from assistant.errors import ContextErased
from assistant.storage.contexts import load_context
from memory_engine import MemoryEngine, NewMessage, Scope
from memory_engine.errors import InvalidInput, MessageNotFound, NoteNotFound
from memory_engine.models import NoteSources
from memory_engine.patterns.knowledge import MOST_NOTES
from memory_engine.retention import Policy, Rule
from memory_engine.storage import standing
from tests.fakes import FixedClock

ANA = Scope(user="ana")
SECRET = "Always pay the kestrel-harmonica."
MONTH = Policy(rules=(Rule(stratum="messages", older_than_days=30),), restorable_days=7)


def say(engine: MemoryEngine, conversation: str = "mail", *texts: str, **fields: Any) -> tuple[str, ...]:
    said = [{"role": "user", "content": each} for each in texts or ("Read this mail.",)]
    return engine.remember(conversation, said, scope=fields.pop("scope", ANA)).message_ids


def write(engine: MemoryEngine, *message_ids: str, name: str = "policy", words: str = SECRET, **sources: Any) -> str:
    made_of = NoteSources(message_ids=message_ids, **sources)
    return engine.notes.put(ANA, name, words, by="agent pm", sources=made_of).note_id or ""


def noted(engine: MemoryEngine, scope: Scope = ANA) -> dict[str, tuple[int, str]]:
    return {note.name: (note.version, note.text) for note in engine.notes.of(scope)}


def stands(engine: MemoryEngine, words: str = "kestrel-harmonica") -> set[str]:
    """The tables that hold the words."""
    with engine.database.read() as db:
        return {table for table, value in standing.cells(db) if words.encode() in value}


def healthy(engine: MemoryEngine) -> bool:
    return all(finding.problems == 0 for finding in engine.examine())


def _by_message(engine: MemoryEngine, message_id: str) -> Any:
    return engine.erase(message_ids=[message_id], scope=ANA)


def _by_conversation(engine: MemoryEngine, _message_id: str) -> Any:
    return engine.erase(conversation_id="mail", scope=ANA)


def _by_person(engine: MemoryEngine, _message_id: str) -> Any:
    return engine.forgetting.user(ANA)


@pytest.mark.parametrize("erase", [_by_message, _by_conversation, _by_person])
def test_a_note_is_erased_with_the_message_that_it_was_made_of(
    engine_on_both: MemoryEngine, erase: Callable[[MemoryEngine, str], Any]
) -> None:
    engine = engine_on_both
    first, second = say(engine, "mail", "Read this mail.", "And note it.")
    write(engine, first, second, name="policy-kestrel-harmonica")
    write(engine, second, name="second")
    engine.notes.put(ANA, "style", "Be brief.")
    receipt = erase(engine, second)
    assert noted(engine) == ({} if erase is _by_person else {"style": (1, "Be brief.")})
    done = engine.forgetting.prove(receipt.receipt_id)
    assert (done.state, done.counts["notes"]) == ("done", 3 if erase is _by_person else 2)
    assert stands(engine) == set()
    assert healthy(engine)


def test_an_older_version_without_the_message_is_in_force_again(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    hostile, later = *say(engine), *say(engine, "other")
    engine.notes.put(ANA, "policy", "Pay on Fridays.")
    write(engine, hostile)
    write(engine, hostile, later, words="Also the kestrel-harmonica.")
    assert noted(engine)["policy"][0] == 3
    receipt = engine.erase(message_ids=[hostile], scope=ANA)
    assert (receipt.counts["notes"], noted(engine)) == (2, {"policy": (1, "Pay on Fridays.")})
    with pytest.raises(NoteNotFound):
        engine.notes.get(ANA, "policy", 3)
    assert engine.forgetting.prove(receipt.receipt_id).state == "done"
    assert stands(engine) == set()
    assert write(engine, later, words="Ask first.")
    engine.erase(conversation_id="mail", scope=ANA)
    assert noted(engine) == {"policy": (2, "Ask first.")}


def test_a_note_that_a_person_wrote_outlives_every_conversation(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (hostile,) = say(engine)
    write(engine, hostile)
    engine.notes.put(ANA, "policy", "Pay on Fridays.")
    engine.erase(conversation_id="mail", scope=ANA)
    assert noted(engine) == {"policy": (2, "Pay on Fridays.")}


@pytest.mark.parametrize("what", ["message", "conversation"])
def test_a_note_is_held_with_its_quarantined_message_and_returns_with_it(
    engine_on_both: MemoryEngine, what: str
) -> None:
    engine, quarantine = engine_on_both, engine_on_both.quarantine
    hostile, other = *say(engine), *say(engine, "other")
    engine.notes.put(ANA, "policy", "Pay on Fridays.")
    write(engine, hostile, other)
    write(engine, hostile, name="alone")
    before = noted(engine)
    hold = {"message": quarantine.hold_message, "conversation": quarantine.hold_conversation}[what]
    release = {"message": quarantine.release_message, "conversation": quarantine.release_conversation}[what]
    name = {"message": hostile, "conversation": "mail"}[what]
    hold(name, scope=ANA)
    assert noted(engine) == {"policy": (1, "Pay on Fridays.")}
    for call in (
        lambda: engine.notes.get(ANA, "alone"),
        lambda: engine.notes.get(ANA, "policy", 2),
    ):
        with pytest.raises(NoteNotFound):
            call()
    release(name, scope=ANA)
    assert noted(engine) == before
    hold(name, scope=ANA)
    assert engine.notes.put(ANA, "policy", "Pay on Mondays.").version == 3
    release(name, scope=ANA)
    assert noted(engine)["policy"] == (3, "Pay on Mondays.")
    assert healthy(engine)


def test_a_note_written_in_a_quarantined_conversation_is_held_at_once(engine_on_both: MemoryEngine) -> None:
    (hostile,) = say(engine_on_both)
    engine_on_both.quarantine.hold_conversation("mail", scope=ANA)
    assert write(engine_on_both, hostile)
    assert noted(engine_on_both) == {}


def test_a_held_note_can_be_removed_and_counts_among_the_notes(engine: MemoryEngine) -> None:
    (hostile,) = say(engine)
    write(engine, hostile)
    engine.quarantine.hold_message(hostile, scope=ANA)
    for number in range(MOST_NOTES - 1):
        engine.notes.put(ANA, f"n{number}", "x")
    with pytest.raises(InvalidInput, match="already"):
        engine.notes.put(ANA, "one more", "x")
    engine.notes.remove(ANA, "policy")
    engine.notes.put(ANA, "one more", "x")
    engine.quarantine.release_message(hostile, scope=ANA)
    assert "policy" not in noted(engine)


def test_a_note_is_held_while_its_message_waits_for_removal_and_then_gone(
    engine_on_both: MemoryEngine, clock: FixedClock
) -> None:
    engine = engine_on_both
    (old,) = say(engine)
    write(engine, old)
    clock.advance(days=31)
    engine.pruner.prune("default", MONTH)
    assert noted(engine) == {}
    engine.pruner.restore_messages(ANA, [old])
    assert noted(engine) == {"policy": (1, SECRET)}
    engine.pruner.prune("default", MONTH)
    clock.advance(days=8)
    engine.pruner.prune("default", MONTH)
    engine.pruner.prune("default", MONTH)
    assert (noted(engine), stands(engine)) == ({}, set())
    assert healthy(engine)


def test_a_note_rests_on_what_its_messages_quote(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (hostile,) = say(engine)
    answer = NewMessage(role="tool", text=SECRET, tool_call_id="call_1", recallable=False, quotes=(hostile,))
    (quoting,) = engine.remember("asking", [answer], scope=ANA).message_ids
    write(engine, quoting)
    engine.quarantine.hold_message(hostile, scope=ANA)
    assert noted(engine) == {}
    engine.quarantine.release_message(hostile, scope=ANA)
    receipt = engine.erase(message_ids=[hostile], scope=ANA)
    assert (noted(engine), receipt.counts["notes"], stands(engine)) == ({}, 1, set())


def test_a_note_made_of_a_note_rests_on_the_same_messages(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    hostile, other = *say(engine), *say(engine, "other")
    first = write(engine, hostile)
    second = write(engine, other, name="copy", note_ids=[first])
    write(engine, other, name="copy of it", note_ids=[second])
    engine.erase(message_ids=[hostile], scope=ANA)
    assert (noted(engine), stands(engine)) == ({}, set())
    with pytest.raises(NoteNotFound):
        write(engine, other, name="late", note_ids=[first])
    assert noted(engine) == {}


def test_a_note_of_a_message_that_is_gone_is_not_written(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (hostile,) = say(engine)
    (bens,) = say(engine, "bens", scope=Scope(user="ben"))
    engine.erase(message_ids=[hostile], scope=ANA)
    for name in (hostile, bens):
        with pytest.raises(MessageNotFound):
            write(engine, name)
    assert noted(engine) == {}


def test_an_edit_leaves_the_notes_of_the_message(engine_on_both: MemoryEngine) -> None:
    (name,) = say(engine_on_both)
    write(engine_on_both, name)
    engine_on_both.edit(name, {"content": "Read that mail."}, scope=ANA)
    assert noted(engine_on_both) == {"policy": (1, SECRET)}


def test_kept_prompts_that_held_the_note_are_emptied_with_it(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (hostile,) = say(engine)
    write(engine, hostile)
    with closing(CustomAssistant(engine)) as assistant:
        asked = PromptRequest(conversation_id="else", message="Good morning.", agent=None)
        prompt = assistant.context_manager.assemble(asked, ANA)
        assert SECRET in load_context(engine, ANA, prompt.manifest_id)["messages"]
        receipt = engine.erase(message_ids=[hostile], scope=ANA)
        with pytest.raises(ContextErased):
            load_context(engine, ANA, prompt.manifest_id)
        assert receipt.counts["contexts"] == 1
        assert stands(engine) == set()


def test_a_note_whose_message_is_lost_is_found_and_removed(engine: MemoryEngine) -> None:
    (name,) = say(engine)
    write(engine, name)
    with closing(engine.database._writer.raw_connection()) as db:
        cursor = db.cursor()
        cursor.execute("PRAGMA foreign_keys=OFF")
        cursor.execute("UPDATE note_messages SET seq = 999")
        cursor.execute("PRAGMA foreign_keys=ON")
    assert {finding.check for finding in engine.examine() if finding.problems} == {"note-sources", "references"}
    engine.examine(repair=True)
    assert healthy(engine)
    assert noted(engine) == {}
    with engine.database.read() as db:
        assert db.execute(text("SELECT count(*) FROM note_messages")).scalar_one() == 0


def test_a_user_of_another_name_keeps_a_note_of_the_same_name(engine_on_both: MemoryEngine) -> None:
    engine, ben = engine_on_both, Scope(user="ben")
    (hostile,) = say(engine)
    (bens,) = say(engine, "bens", scope=ben)
    write(engine, hostile)
    engine.notes.put(ben, "policy", "Mine.", by="agent pm", sources=NoteSources(message_ids=[bens]))
    engine.quarantine.hold_message(hostile, scope=ANA)
    assert noted(engine, ben) == {"policy": (1, "Mine.")}
    engine.erase(message_ids=[hostile], scope=ANA)
    assert noted(engine, ben) == {"policy": (1, "Mine.")}
