"""A damaged row stops nothing but its own item, which is named, and is done once the row is mended."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from memory_engine import MemoryEngine
from memory_engine.storage.schema import Base
from tests.fakes import FixedClock
from tests.poison import NONSENSE, OF_JSON, Ward, columns, where_ill
from tests.postgres import new_database

#: Damaged conversations of one store, and values that each column gets; POISON=all gives every column every value.
_ILL, _VALUES = 12, 18 if os.environ.get("POISON") == "all" else 3
#: Whose row it is: what has another owner is another item.
_KEYS = ("namespace_id", "scope_id", "message_id", "summary_id", "link_id", "pattern_id", "thread_id")
_TABLES = (
    "chat_messages", "message_terms", "message_embeddings", "message_versions", "summaries", "summary_sentences",
    "summary_citations", "links", "link_messages", "patterns", "pattern_messages", "consolidation_queue",
    "derivation_queue", "outbox", "message_changes", "assistant_threads",
)  # fmt: skip
#: The place of a message is its name in every other table.
_NAMES = [("chat_messages", "seq"), ("assistant_threads", "opened_seq"), ("assistant_threads", "conversation_id")]
Damage = tuple[str, str]


def _damages() -> Iterator[tuple[str, list[Damage]]]:
    """Columns and values, in portions that fit into one store, by table."""
    for table in _TABLES:
        damages: list[Damage] = []
        for number, (_, column) in enumerate(columns([table], _KEYS)):
            turned = [NONSENSE[(5 * step + 7 * number) % len(NONSENSE)] for step in range(_VALUES)]
            is_json = "JSON" in type(Base.metadata.tables[table].c[column].type).__name__.upper()
            values = dict.fromkeys([*OF_JSON, *turned] if is_json else turned)
            damages += [(column, value) for value in values if (table, column) not in _NAMES]
        for start in range(0, len(damages), _ILL):
            yield table, damages[start : start + _ILL]


DAMAGES = list(_damages())


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A SQLite store in which all is derived, and the threads of its conversations."""
    folder = tmp_path_factory.mktemp("poison") / "data"
    clock = FixedClock()
    with MemoryEngine.open(folder, clock=clock) as engine:
        ward = Ward.of(engine, clock, _ILL)
    return folder, ward.threads


@pytest.fixture(scope="module")
def template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """As `threads`, on PostgreSQL."""
    url = new_database(postgres_server)
    clock = FixedClock()
    with MemoryEngine.open(tmp_path_factory.mktemp("poison") / "data", database_url=url, clock=clock) as engine:
        ward = Ward.of(engine, clock, _ILL)
    return url, ward.threads


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def ward(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    """A copy of the store, with something to do for every stage in every conversation."""
    clock, url = FixedClock(), None
    clock.advance(minutes=3)
    if request.param == "sqlite":
        folder, threads = request.getfixturevalue("threads")
        shutil.copytree(folder, tmp_path / "data")
    else:
        source, threads = request.getfixturevalue("template")
        server, _, name = source.rpartition("/")
        copy = f"t_{secrets.token_hex(6)}"
        url = f"{server}/{copy}"
        with closing(psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True)) as db:
            db.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")  # type: ignore[call-overload]
    with MemoryEngine.open(tmp_path / "data", database_url=url, clock=clock) as engine:
        engine._parts.stop_background()
        made = Ward(engine, clock, [f"ill-{number}" for number in range(_ILL)], threads=dict(threads))
        for each in (*made.ill, *made.well):
            made.speak(each)
        made.queue_everything()
        yield made


@pytest.mark.parametrize(
    ("table", "damages"), DAMAGES, ids=[f"{table}-{number}" for number, (table, _) in enumerate(DAMAGES)]
)
def test_nonsense_in_a_row_holds_up_no_other_conversation_and_is_named(
    ward: Ward, table: str, damages: list[Damage]
) -> None:
    engine = ward.engine
    if table == "chat_messages":  # so that they are read to be embedded, too
        for name in ward.ill:
            ward.run(f"DELETE FROM message_embeddings WHERE {where_ill('message_embeddings', ward.threads[name])}")
    ward.run(f"CREATE TABLE kept AS SELECT * FROM {table}")
    poisoned = set()
    for name, (column, value) in zip(ward.ill, damages, strict=False):
        if ward.run(f'UPDATE {table} SET "{column}" = {value} WHERE {where_ill(table, ward.threads[name])}') > 0:
            poisoned.add(name)
    ward.clock.advance(seconds=61)
    ward.round()
    _check_well(ward)
    for _ in ward.wait():
        _check_well(ward)
    left = set(ward.queued())
    assert left <= poisoned
    assert left <= ward.named(), "nothing waits in silence"
    told = {finding.check: finding for finding in engine.examine()}["set-aside"]
    assert all(repr(name) in told.detail for name in ward.named())
    for column in dict.fromkeys(column for column, _ in damages):
        _mend(ward, table, column)
    ward.run("DROP TABLE kept")
    repaired = {finding.check: finding for finding in engine.examine(repair=True)}
    assert repaired["set-aside"].healthy
    assert "background" not in engine.parts(), "nothing is set aside any more"
    for _ in ward.wait():
        pass
    assert ward.rows("SELECT stage, item, error FROM set_aside") == []
    assert ward.queued() == {}


def _check_well(ward: Ward) -> None:
    """The conversations that are well are summed up to their last words, and wait for nothing."""
    waiting = ward.queued()
    for name in ward.well:
        assert name not in waiting, (waiting[name], ward.rows("SELECT stage, error, thread_id FROM set_aside"))
        (whole,) = ward.rows(
            f"SELECT last_seq FROM summaries WHERE thread_id = '{ward.threads[name]}' AND level = 'conversation'"
        )
        newest = ward.rows(
            "SELECT max(seq) FROM chat_messages WHERE content != '' AND role IN ('user', 'assistant') "
            f"AND thread_id = '{ward.threads[name]}'"
        )
        assert [whole] == newest
    assert ward.rows("SELECT * FROM outbox") == ward.rows("SELECT * FROM message_changes") == []


def _mend(ward: Ward, table: str, column: str) -> None:
    """Put back what the column held."""
    keys = [key.name for key in Base.metadata.tables[table].primary_key if key.name != column]
    same = " AND ".join(f'kept."{key}" = {table}."{key}"' for key in keys)
    found = f'(SELECT max(kept."{column}") FROM kept WHERE {same})'
    if "JSON" in type(Base.metadata.tables[table].c[column].type).__name__.upper():
        found = found.replace("max(", "(")  # PostgreSQL knows no order of JSON
    ward.run(f'UPDATE {table} SET "{column}" = {found} WHERE EXISTS (SELECT 1 FROM kept WHERE {same})')
