"""Statements are as fast on rows that the database has no statistics of as on any others."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import insert, text

from memory_engine import MemoryEngine
from memory_engine.models import ScopeKey
from memory_engine.storage import embeddings, migrations
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.schema import MessageEmbedding, MessageTerms
from tests.postgres import new_database

HERE = ScopeKey(1, 1)
ROWS = 50_000
#: One message in this many has no vector.
LACKING_EVERY = 1_000


@pytest.fixture(scope="module")
def fresh(postgres_server: str) -> Iterator[Database]:
    """A database with 50,000 rows that nothing has analysed, nor will."""
    with closing(Database(new_database(postgres_server))) as database:
        migrations.upgrade(database)
        with database.write() as db:
            _let_rows_stand_alone(db)
            place = {"namespace_id": 1, "scope_id": 1, "version": 1}
            terms = [{**place, "seq": seq, "words": 1, "asks": False, "terms": b""} for seq in range(1, ROWS + 1)]
            db.execute(insert(MessageTerms), terms)
            made = {**place, "space_id": 1, "chunk": 0, "vector": bytes(8)}
            db.execute(
                insert(MessageEmbedding), [{**made, "seq": row["seq"]} for row in terms if row["seq"] % LACKING_EVERY]
            )
        yield database


def _let_rows_stand_alone(db: Transaction) -> None:
    """Without the rows that they refer to, and without autovacuum, which would analyse them."""
    of_both = "conrelid IN ('message_terms'::regclass, 'message_embeddings'::regclass) AND contype = 'f'"
    found = db.execute(text(f"SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE {of_both}")).all()
    for table, name in found:
        db.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
    for table in ("message_terms", "message_embeddings"):
        db.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))


@pytest.mark.postgresql
@pytest.mark.parametrize("is_analysed", [False, True])
def test_rows_without_vectors_are_found_without_statistics(fresh: Database, is_analysed: bool) -> None:
    expected = list(range(LACKING_EVERY, ROWS + 1, LACKING_EVERY))
    if is_analysed:
        fresh.analyse()
    with fresh.read() as db:
        assert bool(db.execute(text("SELECT count(*) FROM pg_stats WHERE tablename = 'message_terms'")).scalar()) is (
            is_analysed
        )
        started = time.perf_counter()
        assert embeddings.lacking_seqs(db, HERE, 1, after=0, until=ROWS, limit=100) == expected
        assert embeddings.count_lacking(db, HERE, 1) == len(expected)
        assert embeddings.lacking_seqs(db, HERE, 1, after=ROWS - 500, until=ROWS, limit=100) == [ROWS]
        taken = time.perf_counter() - started
    print(f"three times over 50,000 rows, analysed {is_analysed}: {taken * 1000:.0f} ms")
    assert taken < 3, "a minute and more with an anti-join"


def test_a_large_load_is_analysed(engine_on_both: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed = threading.Event()
    monkeypatch.setattr("memory_engine.indexing.LARGE_LOAD", 3)
    monkeypatch.setattr(engine_on_both.database, "analyse", analysed.set)
    engine_on_both._parts.stop_background()
    engine_on_both.remember("c", [{"role": "user", "content": f"number {n}"} for n in range(3)])
    engine_on_both._parts.generation.indexer.work()
    assert not analysed.is_set()
    engine_on_both.remember("c", [{"role": "user", "content": "number 3"}])
    engine_on_both._parts.generation.indexer.work()
    assert analysed.is_set()
    monkeypatch.undo()
    engine_on_both.database.analyse()
