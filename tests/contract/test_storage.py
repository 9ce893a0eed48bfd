"""One suite for the store on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, event, text

from assistant.storage.contexts import metadata as assistant_metadata
from memory_engine import MemoryEngine, Page, Scope
from memory_engine.errors import ConversationNotFound, IdConflict, MessageNotFound, SchemaMismatch
from memory_engine.models import ScopeKey
from memory_engine.storage import messages, migrations, threads
from memory_engine.storage.database import Database
from memory_engine.storage.schema import Base
from tests import samples
from tests.fakes import FixedClock
from tests.postgres import new_database

ASC = Page(limit=100, ascending=True)


def user(content: str, **fields: object) -> dict[str, object]:
    return {"role": "user", "content": content, **fields}


def texts(engine: MemoryEngine, conversation_id: str, page: Page = ASC) -> list[str]:
    return [message.text for message in engine.history.messages(conversation_id, page)[0]]


def test_order_is_that_of_committing_not_of_time(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", [user("late", created_at="2030-01-01T00:00:00Z")])
    engine_on_both.remember("c", [user("early", created_at="1990-01-01T00:00:00Z"), user("now")])
    assert texts(engine_on_both, "c") == ["late", "early", "now"]
    assert [message.text for message in engine_on_both.history.newest("c", 2)] == ["early", "now"]


def test_everything_comes_back_as_it_was(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    parts = [{"type": "text", "text": "Élodie 日本語 😀"}, {"type": "image_url", "image_url": {"url": "u"}}]
    said = user("", metadata={"a": [1, {"b": None}]}, created_at="2024-03-05T10:00:00.123456Z", name="Ana", id="mine")
    engine_on_both.remember(
        "c", [{**said, "content": parts}, {"role": "tool", "content": "22", "tool_call_id": "call_1"}]
    )
    first, second = engine_on_both.history.messages("c", ASC)[0]
    assert first.content == parts
    assert first.text == "Élodie 日本語 😀"
    assert first.metadata == {"a": [1, {"b": None}]}
    assert first.created_at == datetime(2024, 3, 5, 10, 0, 0, 123456, tzinfo=UTC)
    assert (first.message_id, first.name, first.recorded_at) == ("mine", "Ana", clock.now())
    assert (second.role, second.tool_call_id, second.created_at) == ("tool", "call_1", clock.now())


def test_a_repeated_call_changes_nothing(engine_on_both: MemoryEngine) -> None:
    once = engine_on_both.remember("c", [user("one", id="a"), user("two", id="b")])
    assert engine_on_both.remember("c", [user("one", id="a"), user("two", id="b")]) == once
    assert engine_on_both.remember("c", [user("one", id="a"), user("one", id="a")]).message_ids == ("a", "a")
    assert texts(engine_on_both, "c") == ["one", "two"]


def test_a_conflict_in_the_middle_leaves_nothing(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", [user("one", id="a")])
    before = engine_on_both.stats()
    with pytest.raises(IdConflict, match="'a' is taken"):
        engine_on_both.remember("new", [user("fresh"), user("other", id="a"), user("fresh too")])
    assert engine_on_both.stats() == before
    with pytest.raises(ConversationNotFound):
        engine_on_both.history.conversation("new")


def test_scopes_share_nothing(engine_on_both: MemoryEngine) -> None:
    here, ana, there = Scope(), Scope(user="ana"), Scope(namespace="other")
    engine_on_both.remember("c", [user("swordfish", id="a")], scope=here)
    engine_on_both.remember("c", [user("marlin", id="a")], scope=there)
    engine_on_both.remember("hers", [user("trout")], scope=ana)
    for scope, word in ((here, "swordfish"), (there, "marlin"), (ana, "trout")):
        assert [hit.text for hit in engine_on_both.recall("swordfish marlin trout", scope=scope)] == [word]
        rows, _ = engine_on_both.history.conversations(ASC, scope=scope)
        assert len(rows) == 1
    history = engine_on_both.history
    for call in (history.conversation, history.current_agent):
        with pytest.raises(ConversationNotFound):
            call("hers", scope=here)
    with pytest.raises(ConversationNotFound):
        engine_on_both.remember("hers", [user("mine")], scope=Scope(user="never seen before"))
    with pytest.raises(MessageNotFound):
        engine_on_both.history.message("a", scope=ana)
    assert engine_on_both.stats().conversations == 2
    assert engine_on_both.stats("other").messages == 1
    assert engine_on_both.stats("nobody").messages == 0


def test_pages(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", [user(str(number), id=f"m{number}") for number in range(5)])
    rows, more = engine_on_both.history.messages("c", Page(limit=2, after="m1", ascending=True))
    assert ([row.text for row in rows], more) == (["2", "3"], True)
    rows, more = engine_on_both.history.messages("c", Page(limit=2, after="m2"))
    assert ([row.text for row in rows], more) == (["1", "0"], False)
    with pytest.raises(MessageNotFound):
        engine_on_both.history.messages("c", Page(after="m9"))


def test_as_of_is_what_was_said_by_then(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", [user("the launch is in May", created_at="2026-03-01T00:00:00Z")])
    engine_on_both.remember("c", [user("the launch is in June", created_at="2026-04-01T00:00:00Z")])
    hits = engine_on_both.recall("launch", as_of=datetime(2026, 3, 15, tzinfo=UTC))
    assert [hit.text for hit in hits] == ["the launch is in May"]
    until = engine_on_both.history.newest("c", 9, until=datetime(2026, 3, 15, tzinfo=UTC))
    assert [message.text for message in until] == ["the launch is in May"]


def test_the_newest_writer_names_the_agent(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", [user("hi")], agent="greeter")
    engine_on_both.remember("c", [user("plan this")], agent="pm")
    engine_on_both.remember("c", [user("thanks")])
    assert engine_on_both.history.current_agent("c") == "pm"
    assert [m.agent for m in engine_on_both.history.messages("c", ASC)[0]] == ["greeter", "pm", "pm"]


def test_the_outbox_is_worked_through(engine_on_both: MemoryEngine) -> None:
    engine_on_both.remember("c", [user("hi")])
    engine_on_both.examine(repair=True)
    assert engine_on_both.parts()["outbox"].detail == "0 commits and 0 changes waiting"


def test_the_migrations_make_just_the_tables_of_the_models(database_url: str) -> None:
    database = Database(database_url)
    assert migrations.current(database) is None
    assert migrations.upgrade(database)
    assert not migrations.upgrade(database)
    assert migrations.current(database) == migrations.HEAD == migrations.history()[-1][0]
    both = MetaData()
    for table in (*Base.metadata.tables.values(), *assistant_metadata.tables.values()):
        table.to_metadata(both)
    with database.read() as db:
        differences = compare_metadata(MigrationContext.configure(db), both)
    structural = [d for d in differences if isinstance(d, tuple) and d[0] not in ("remove_fk",)]
    assert [d for d in structural if d[0].startswith(("add_", "remove_")) and "alembic" not in str(d)] == []
    database.close()


def test_processes_that_set_up_one_database_at_once_agree(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One process serves a database of PostgreSQL for now. What SQL keeps in order is tested all the same.
    monkeypatch.setattr(Database, "own", lambda _: None)

    def open_one(number: int) -> MemoryEngine:
        return MemoryEngine.open(tmp_path / str(number), database_url=database_url)

    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(open_one, range(4)))
    for number, engine in enumerate(engines):
        engine.remember("c", [user(f"whale {number}")])
    found = [{hit.text for hit in engine.recall("whale")} for engine in engines]
    assert found == [{f"whale {number}" for number in range(4)}] * 4
    for engine in engines:
        engine.close()


def test_a_database_of_a_later_version_is_refused(database_url: str, tmp_path: Path) -> None:
    MemoryEngine.open(tmp_path / "data", database_url=database_url).close()
    database = Database(database_url)
    with database.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(SchemaMismatch, match="9999"):
        MemoryEngine.open(tmp_path / "data", database_url=database_url)


@pytest.mark.postgresql
def test_both_databases_rank_the_same(postgres_server: str, tmp_path: Path) -> None:
    found = []
    for name, url in (("sqlite", None), ("postgresql", new_database(postgres_server))):
        with MemoryEngine.open(tmp_path / name, database_url=url) as engine:
            samples.load(engine)
            found.append(samples.answers(engine))
    assert found[0] == found[1]


def test_a_conversation_is_read_without_reading_its_scope(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "x"}])
        asked: list[tuple[str, Any]] = []

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        with engine.database.read() as db:
            event.listen(db.engine, "before_cursor_execute", note)
        engine.history.messages("c", Page(limit=5))
        with engine.database.read() as db:
            thread = threads.find_thread(db, ScopeKey(1, 1), "c")
            assert thread is not None
            messages.newest(db, thread, 5)
            of_messages = [each for each in asked if "chat_messages.content" in each[0]]
            assert len(of_messages) == 2
            for statement, parameters in of_messages:
                plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
                assert any("ix_chat_messages_thread" in line for line in plan)
