"""What fails is tried again, then set aside and named, and goes on as soon as it can, on both databases."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from assistant import Settings
from assistant.errors import ModelRejected
from assistant.summary_writer import ModelSummaryWriter, _sentences
from memory_engine import MemoryEngine, RecallHit, Scope
from memory_engine.errors import StoreUnavailable, WriterUnavailable, blames_item
from memory_engine.patterns import tools
from memory_engine.ports import Source, Written
from memory_engine.storage import messages
from tests.fakes import FixedClock, Scripted, ScriptedModel

#: Of no JSON type that a stage takes, on either database.
BROKEN = "5"


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


def run(engine: MemoryEngine, sql: str) -> None:
    with engine.database.write() as db:
        assert db.execute(text(sql)).rowcount


def rows(engine: MemoryEngine, columns: str = "stage, attempts") -> list[tuple[Any, ...]]:
    with engine.database.read() as db:
        return [tuple(row) for row in db.execute(text(f"SELECT {columns} FROM set_aside ORDER BY stage, item"))]


@pytest.fixture
def engine(engine_on_both: MemoryEngine) -> MemoryEngine:
    """A store with a conversation whose first message cannot be read, and one that is well."""
    engine_on_both._parts.stop_background()
    engine_on_both.remember("ill", said("The zeppelin lands at noon.", "The hangar is closed."))
    engine_on_both.remember("well", said("The tram leaves at nine."))
    run(engine_on_both, f"UPDATE chat_messages SET parts = '{BROKEN}' WHERE seq = 2")
    return engine_on_both


def fail_for_good(engine: MemoryEngine, clock: FixedClock) -> None:
    for _ in range(3):
        engine.consolidate()
        clock.advance(seconds=20)


def test_attempts_are_spaced_and_the_last_one_sets_aside(engine: MemoryEngine, clock: FixedClock) -> None:
    assert engine.consolidate() == 1, "the one that is well"
    assert rows(engine) == [("summaries", 1)]
    clock.advance(seconds=4)
    engine.consolidate()
    assert rows(engine) == [("summaries", 1)], "it is not tried before its time"
    assert "background" not in engine.parts(), "it may still succeed"
    clock.advance(seconds=1)
    engine.consolidate()
    assert rows(engine) == [("summaries", 2)]
    clock.advance(seconds=15)
    engine.consolidate()
    (item,) = engine.parts()["background"].items
    assert (item.stage, item.conversation_id, item.attempts) == ("summaries", "ill", 3)
    assert item.error.startswith("TypeError in _message, memory_engine/storage/messages.py:")
    clock.advance(days=30)
    engine.consolidate()
    assert rows(engine) == [("summaries", 3)], "what is set aside stays so"


def test_a_clock_that_is_set_back_delays_no_attempt(engine: MemoryEngine, clock: FixedClock) -> None:
    engine.consolidate()
    clock.advance(days=-3)
    engine.consolidate()
    assert rows(engine) == [("summaries", 2)]


@pytest.mark.parametrize("how", ["remember", "edit", "repair"])
def test_it_gets_a_fresh_chance(engine: MemoryEngine, clock: FixedClock, how: str) -> None:
    fail_for_good(engine, clock)
    run(engine, "UPDATE chat_messages SET parts = NULL WHERE seq = 2")
    engine.consolidate()
    assert rows(engine), "of a row that was mended by hand nobody knows"
    if how == "remember":
        engine.remember("ill", said("It is open again."))
    elif how == "edit":
        engine.edit(engine.history.newest("ill", 1)[0].message_id, {"content": "It is open again."})
    else:
        assert {f.check: f.repaired for f in engine.examine(repair=True)}["set-aside"] == 1
        assert rows(engine) == []
    engine.consolidate()
    assert rows(engine) == []
    assert engine.history.summaries("ill")
    assert "background" not in engine.parts()


def test_what_is_still_damaged_stays_set_aside_after_a_fresh_chance(engine: MemoryEngine, clock: FixedClock) -> None:
    fail_for_good(engine, clock)
    engine.remember("ill", said("It is open again."))
    for _ in range(2):
        engine.consolidate()
        clock.advance(minutes=1)
    assert rows(engine) == [("summaries", 4)], "one attempt at what changed"
    assert engine.parts()["background"].count == 1


def test_where_the_store_does_not_answer_nothing_is_set_aside(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(messages, "by_seqs", fail)
    with pytest.raises(StoreUnavailable):
        engine.consolidate()
    assert rows(engine) == []


@pytest.mark.parametrize("what", ["conversation", "user", "namespace"])
def test_an_erasure_takes_it_too(engine_on_both: MemoryEngine, clock: FixedClock, what: str) -> None:
    engine, scope = engine_on_both, Scope(namespace="shop", user="ann")
    engine._parts.stop_background()
    engine.remember("ill", said("The zeppelin lands at noon."), scope=scope)
    run(engine, f"UPDATE chat_messages SET parts = '{BROKEN}', tool_calls = '{BROKEN}'")
    fail_for_good(engine, clock)
    assert rows(engine)
    if what == "conversation":
        receipt = engine.forgetting.conversation("ill", scope=scope)
    elif what == "user":
        receipt = engine.forgetting.user(scope)
    else:
        receipt = engine.forgetting.namespace("shop")
    done = engine.forgetting.prove(receipt.receipt_id, namespace="shop")
    assert (done.state, done.counts["messages"]) == ("done", 1)
    assert rows(engine) == []


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE erasure_receipts SET scopes = '5'",
        "UPDATE erasure_receipts SET scopes = '[null, [1]]'",
        "UPDATE erasure_receipts SET scopes = '{\"a\": 1}'",
        "UPDATE erasure_canaries SET hashes = substr(hashes, 1, 7)",
    ],
)
def test_a_damaged_receipt_holds_up_no_other_proof(engine_on_both: MemoryEngine, clock: FixedClock, harm: str) -> None:
    engine = engine_on_both
    engine._parts.stop_background()
    for name in ("ill", "well"):
        engine.remember(name, said(f"The vault of {name} opens with kestrel-harmonica at dusk."))
    ill, well = (engine.erase(conversation_id=name).receipt_id for name in ("ill", "well"))
    with engine.database.write() as db:
        columns = (("CAST(scopes AS VARCHAR)", "erasure_receipts"), ("hashes", "erasure_canaries"))
        find = "SELECT {} FROM {} WHERE receipt_id = :id"
        kept = [db.execute(text(find.format(*column)), {"id": ill}).scalar_one() for column in columns]
    run(engine, f"{harm} WHERE receipt_id = '{ill}'")
    for _ in range(3):
        engine._parts.prover.work()
        clock.advance(seconds=20)
    assert engine.forgetting.receipt(well).state == "done"
    assert engine.forgetting.receipt(ill).state == "pending"
    (item,) = engine.parts()["background"].items
    assert (item.stage, item.item, item.attempts) == ("proving", ill, 3)
    assert ill in {f.check: f.detail for f in engine.examine()}["set-aside"]
    with engine.database.write() as db:
        db.execute(text("UPDATE erasure_receipts SET scopes = :v WHERE receipt_id = :id"), {"v": kept[0], "id": ill})
        db.execute(text("UPDATE erasure_canaries SET hashes = :v WHERE receipt_id = :id"), {"v": kept[1], "id": ill})
    engine.examine(repair=True)
    engine._parts.prover.work()
    assert engine.forgetting.receipt(ill).state == "done"
    assert rows(engine) == []


def test_a_prompt_that_cannot_be_noted_holds_up_no_other(
    engine: MemoryEngine, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = tuple(engine.recall("When does the tram leave?"))
    assert {hit.conversation_id for hit in hits} == {"well"}
    ids = {name: engine.remember(name, said("When does it leave?")).message_ids[0] for name in ("first", "second")}
    note = engine.links.note_recalled

    def noted(scope: Scope, conversation_id: str, message_id: str, recalled: Sequence[RecallHit]) -> None:
        if conversation_id == "first":
            raise KeyError("id")
        note(scope, conversation_id, message_id, recalled)

    monkeypatch.setattr(engine.links, "note_recalled", noted)
    for name, message_id in ids.items():
        engine.links.note_later(Scope(), name, message_id, hits)
    assert engine.links.work() == 1
    assert [link.kind for link in engine.links.of(Scope(), "second")] == ["recalled"]
    for _ in range(3):
        assert engine.links.work() == 0
        clock.advance(seconds=20)
    (item,) = engine.parts()["background"].items
    assert (item.stage, item.conversation_id, item.attempts) == ("connections", "first", 3)
    monkeypatch.undo()
    engine.links.note_later(Scope(), "first", ids["first"], hits)
    assert engine.links.work() == 1
    assert "background" not in engine.parts()


class Writer:
    """Replies by a script, by the first words of what is summed up."""

    def __init__(self) -> None:
        self.replies: dict[str, Callable[[str], Any]] = {}

    def write(self, asked: Sequence[Source], words: int) -> Written:
        name = asked[0].text.split()[1]
        return Written(model="m\x00odel", sentences=self.replies[name](asked[0].message_id))

    def stop(self) -> None:
        """Nothing is being written."""


@pytest.fixture
def written(database_url: str, tmp_path: Path, clock: FixedClock) -> Iterator[tuple[MemoryEngine, Writer]]:
    writer = Writer()
    options: dict[str, Any] = {"database_url": database_url, "clock": clock, "summary_writer": writer}
    with MemoryEngine.open(tmp_path / "data", **options) as opened:
        opened._parts.stop_background()
        yield opened, writer


#: Replies of a model, of which none can be kept.
REPLIES: dict[str, Callable[[str], Any]] = {
    "nul": lambda name: (("It lands \x00 at noon.", (name,)),),
    "surrogate": lambda name: (("It lands \ud800 at noon.", (name,)),),
    "large": lambda name: (("x" * 2_000_000, (name,)),),
    "number": lambda name: ((5, (name,)),),
    "nothing": lambda name: ((None, (name,)),),
    "list": lambda name: (("It lands at noon.", ([name],)),),
    "stranger": lambda name: (("It lands at noon.", ("msg_other",)),),
}


def test_a_writer_s_reply_passes_the_validator_or_the_quotations_stay(
    written: tuple[MemoryEngine, Writer], clock: FixedClock
) -> None:
    engine, writer = written
    writer.replies = {**REPLIES, "well": lambda name: (("It lands at noon.", (name,)),)}
    writer.replies["raises"] = lambda name: {}[name]
    for name in writer.replies:
        engine.remember(name, said(f"The {name} lands at noon."))
    engine.consolidate()
    assert engine._parts.rewriter is not None
    for _ in range(3):
        engine._parts.rewriter.work()
        clock.advance(seconds=20)
    assert {each.made_by for each in engine.history.summaries("well")} == {"model/unknown"}
    for name in REPLIES:
        assert {each.made_by for each in engine.history.summaries(name)} == {"extractive/1"}, name
    (item,) = engine.parts()["background"].items
    assert (item.stage, item.conversation_id, item.attempts) == ("writing", "raises", 3)


@pytest.mark.parametrize(
    "answer",
    ["", "{", "{}", "[" * 5000, '{"sentences": 5}', '{"sentences": ["x"]}', '{"sentences": ' + "[" * 5000 + "}"],
)
def test_a_writer_s_answer_of_another_shape_has_no_sentences(answer: str) -> None:
    assert _sentences(answer, {}) == ()


@pytest.mark.parametrize(
    "call",
    [
        None, 5, "call", [], {}, {"function": None}, {"function": {"name": 5}},
        {"id": ["x"], "function": {"name": "f"}},
        {"type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c", "function": {"name": "f", "arguments": "[" * 5000}},
        {"id": "c", "function": {"name": "f", "arguments": '{"a": "\\u0000", "b": "\\ud800", "c": NaN, "d": 1e999}'}},
        {"id": "c", "function": {"name": "f\x00", "arguments": {"a": [1]}}},
    ],
)  # fmt: skip
def test_calls_of_any_shape_are_learned_from_or_passed_over(engine_on_both: MemoryEngine, call: Any) -> None:
    engine = engine_on_both
    engine._parts.stop_background()
    sound = {"id": "c1", "type": "function", "function": {"name": "g", "arguments": '{"city": "Lyon"}'}}
    engine.remember("c", [{"role": "assistant", "content": None, "tool_calls": [sound]}, *said("Thanks.")])
    message = engine.history.newest("c", 2)[0]
    shown = tools.shown_in([replace(message, tool_calls=(call, sound))])
    assert [each.detail for each in shown if each.kind == "tool_argument"] == [
        {"tool": "g", "argument": "city", "value": "Lyon"}
    ]


@pytest.mark.parametrize(("status", "raised"), [(400, ModelRejected), (500, WriterUnavailable)])
def test_a_request_that_the_server_refuses_is_the_fault_of_its_messages(
    model: ScriptedModel, status: int, raised: type[Exception]
) -> None:
    model.script = [Scripted(status=status) for _ in range(20)]
    settings = Settings(openai_base_url=model.url, openai_api_key="x", fallback_model="m", turn_timeout=2)
    asked = Source(message_id="m", speaker="user", said_at=FixedClock().now(), text="The zeppelin lands at noon.")
    with pytest.raises(raised) as caught:
        ModelSummaryWriter(settings, "m").write([asked], 50)
    assert blames_item(caught.value) == (status == 400)
