"""Edits and erasures on both databases: what is recalled follows at once, and nothing derived is left."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine, Page, Scope
from memory_engine.errors import ConversationNotFound, Erased, InvalidInput, MessageNotFound
from memory_engine.models import ScopeKey
from memory_engine.storage import changes
from tests.fakes import FixedClock

TABLES = ("chat_messages", "message_versions", "message_terms", "message_embeddings")
ASC = Page(ascending=True)


def said(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def texts(engine: MemoryEngine, query: str, **filters: Any) -> list[str]:
    return [hit.text for hit in engine.recall(query, **filters)]


def rows(engine: MemoryEngine) -> dict[str, int]:
    with engine.database.read() as db:
        return {name: db.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in TABLES}


def test_an_edit_is_recalled_at_once_and_the_old_words_are_not(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [said("The zeppelin lands on Tuesday.")]).message_ids
    assert texts(engine, "zeppelin")
    edited = engine.edit(name, {"content": "The submarine surfaces on Friday."})
    assert (edited.text, edited.version, edited.message_id) == ("The submarine surfaces on Friday.", 2, name)
    assert texts(engine, "submarine") == ["The submarine surfaces on Friday."]
    assert texts(engine, "zeppelin") == []
    assert rows(engine) == {**dict.fromkeys(TABLES, 1)}
    assert [finding for finding in engine.examine(repair=True) if finding.problems] == []
    assert texts(engine, "submarine") == ["The submarine surfaces on Friday."]


def test_as_of_answers_in_the_words_of_then(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine = engine_on_both
    (name,) = engine.remember("c", [said("The zeppelin lands on Tuesday.")]).message_ids
    for day in ("Friday", "Sunday"):
        clock.advance(days=1)
        engine.edit(name, {"content": f"The zeppelin lands on {day}."})
    now = clock.now()
    found = [texts(engine, "zeppelin", as_of=now - timedelta(days=days)) for days in (0, 1, 2)]
    assert found == [
        ["The zeppelin lands on Sunday."],
        ["The zeppelin lands on Friday."],
        ["The zeppelin lands on Tuesday."],
    ]
    (then,) = engine.history.newest("c", 5, until=now - timedelta(hours=30))
    assert (then.text, then.version) == ("The zeppelin lands on Tuesday.", 1)


def test_an_edit_that_changes_nothing_makes_no_version(engine_on_both: MemoryEngine) -> None:
    (name,) = engine_on_both.remember("c", [said("Here.", metadata={"a": 1})]).message_ids
    assert engine_on_both.edit(name, {"content": "Here.", "metadata": {"a": 1}}).version == 1
    assert engine_on_both.edit(name, {"metadata": {"a": 2}}).version == 2
    assert engine_on_both.recall("here", metadata={"a": 2})


@pytest.mark.parametrize("changed", [{"content": " "}, {"content": "a\x00b"}, {"metadata": [1]}, {"content": 7}])
def test_an_edit_that_cannot_be_taken_changes_nothing(engine_on_both: MemoryEngine, changed: dict[str, Any]) -> None:
    (name,) = engine_on_both.remember("c", [said("Here I am.")]).message_ids
    with pytest.raises(InvalidInput):
        engine_on_both.edit(name, changed)
    assert engine_on_both.history.message(name).text == "Here I am."


def test_an_erased_message_leaves_nothing(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    gone, stays = engine.remember("c", [said("The zeppelin lands."), said("The submarine surfaces.")]).message_ids
    engine.edit(gone, {"content": "The zeppelin leaves."})
    assert engine.erase(message_ids=[gone, gone]).counts["messages"] == 1
    assert texts(engine, "zeppelin") == []
    assert texts(engine, "submarine") == ["The submarine surfaces."]
    assert [m.message_id for m in engine.history.messages("c", ASC)[0]] == [stays]
    assert rows(engine) == {**dict.fromkeys(TABLES, 1), "message_versions": 0}
    (again,) = engine.remember("c", [said("The zeppelin is back.", id=gone)]).message_ids
    assert again == gone
    assert texts(engine, "zeppelin", k=1) == ["The zeppelin is back."]


def test_an_erased_conversation_is_gone_and_its_name_free(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    engine.remember("a", [said("The zeppelin lands."), said("It is silver.")])
    engine.remember("b", [said("The zeppelin is late.")])
    assert engine.erase(conversation_id="a").counts["conversations"] == 1
    assert texts(engine, "zeppelin") == ["The zeppelin is late."]
    with pytest.raises(Erased):
        engine.history.conversation("a")
    engine.remember("a", [said("A new beginning.")])
    assert engine.history.conversation("a").messages == 1


def erase_one(engine: MemoryEngine, name: str, **fields: Any) -> object:
    return engine.erase(message_ids=[name], **fields)


def edit_one(engine: MemoryEngine, name: str, **fields: Any) -> object:
    return engine.edit(name, {"content": "mine"}, **fields)


@pytest.mark.parametrize("change", [erase_one, edit_one])
def test_nobody_changes_what_is_anothers(engine_on_both: MemoryEngine, change: Callable[..., object]) -> None:
    (name,) = engine_on_both.remember("c", [said("Mine.")], scope=Scope(user="ana")).message_ids
    for scope in (Scope(), Scope(user="ben"), Scope(namespace="other", user="ana")):
        for _ in range(2):
            with pytest.raises(MessageNotFound):
                change(engine_on_both, name, scope=scope)
            engine_on_both.remember(f"own-{scope.user}", [said("I am somebody here.")], scope=scope)
    assert engine_on_both.history.message(name, scope=Scope(user="ana")).text == "Mine."


def test_all_or_none_is_erased(engine_on_both: MemoryEngine) -> None:
    (name,) = engine_on_both.remember("c", [said("Here.")]).message_ids
    with pytest.raises(MessageNotFound, match="msg_none"):
        engine_on_both.erase(message_ids=[name, "msg_none"])
    for wrong in ({}, {"message_ids": [name], "conversation_id": "c"}):
        with pytest.raises(InvalidInput, match="either"):
            engine_on_both.erase(**wrong)
    with pytest.raises(ConversationNotFound):
        engine_on_both.erase(conversation_id="none")
    assert texts(engine_on_both, "here") == ["Here."]


def test_the_vector_index_follows(tmp_path: Any) -> None:
    with MemoryEngine.open(tmp_path / "data", index_threshold=3) as engine:
        names = engine.remember("c", [said(f"Number {n} is a {word}.") for n, word in enumerate(
            ("zeppelin", "submarine", "tram", "bicycle", "glider"))]).message_ids  # fmt: skip
        assert all(finding.healthy for finding in engine.examine(repair=True))
        engine.edit(names[0], {"content": "Number 0 is a rowing boat."})
        engine.erase(message_ids=[names[1]])
        assert texts(engine, "rowing boat", k=1) == ["Number 0 is a rowing boat."]
        assert "Number 1 is a submarine." not in texts(engine, "submarine")
        assert all(finding.healthy for finding in engine.examine(repair=True))
        assert texts(engine, "rowing boat", k=1) == ["Number 0 is a rowing boat."]


def test_changes_are_followed_while_commits_never_cease(engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine._parts.stop_background()
    (name,) = engine.remember("c", [said("Hangar 1 is closed.")]).message_ids
    engine.edit(name, {"content": "Hangar 1 is open."})
    indexer, behind = engine._parts.generation.indexer, list[int]()
    catch_up = indexer.catch_up

    def meanwhile(key: ScopeKey) -> None:
        with engine.database.read() as db:
            behind.append(changes.count(db))
        if len(behind) < 5:
            engine.remember("c", [said("And another.")])
        catch_up(key)

    monkeypatch.setattr(indexer, "catch_up", meanwhile)
    indexer.work()
    assert behind == [1, 0, 0, 0, 0]


def test_many_changes_are_followed_in_few_transactions(
    engine_on_both: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on_both
    engine._parts.stop_background()
    engine.remember("c", [{"role": "user", "content": f"Hangar {number} is closed."} for number in range(60)])
    indexer, read, reads = engine._parts.generation.indexer, engine.database.read, []
    indexer.work()
    engine.erase(conversation_id="c")

    def counted() -> Any:
        reads.append(1)
        return read()

    monkeypatch.setattr(engine.database, "read", counted)
    assert indexer.follow() == 60
    assert len(reads) <= 4
