"""PostgreSQL itself keeps other roles than the tables' owner to the namespace that their session names."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import event, make_url, text

from assistant import Settings
from memory_engine import MemoryEngine, Page, Scope
from memory_engine.errors import SchemaMismatch
from memory_engine.storage import migrations
from memory_engine.storage.database import Database
from tests.canaries import MARK, Owner, canary, plant
from tests.postgres import new_database

pytestmark = pytest.mark.postgresql

#: What waits for the background's work: of nobody, of both, or of one alone where the service ended in between.
_QUEUES = {"outbox", "message_changes", "consolidation_queue", "derivation_queue", "set_aside"}
#: What a session without a policy of its own sees nothing of.
_NO_ROWS = 0


@dataclass(frozen=True, kw_only=True)
class Store:
    """A PostgreSQL database with the memory of two owners, and a role that may read and write all its tables."""

    url: str
    data_dir: Path
    owners: tuple[Owner, Owner]
    role: str
    #: Whose the tables are, and as whom the service connects; not a superuser, whom no policy binds anyway.
    service: str

    @contextmanager
    def session(self, namespace: str | None = None, *, role: str | None = None) -> Iterator[psycopg.Cursor[Any]]:
        """A session of the role, or of another, in which nothing is kept."""
        url = make_url(self.url).set(drivername="postgresql", username=role or self.role)
        with psycopg.connect(url.render_as_string()) as connection, connection.cursor() as cursor:
            if namespace is not None:
                cursor.execute("SELECT set_config('memory_engine.namespace', %s, false)", [namespace])
            yield cursor
            connection.rollback()

    def counts(self, cursor: psycopg.Cursor[Any]) -> dict[str, int]:
        """How many rows of each table the session sees."""
        return {
            name: _count(cursor, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))
            for name in self.tables
        }

    @property
    def tables(self) -> list[str]:
        """Every table of the schema, whoever made it."""
        return [name for name, _, _ in self.catalogue()]

    def catalogue(self) -> list[tuple[str, bool, bool]]:
        """Of each table its name, whether it has row-level security, and whether it knows namespaces."""
        query = """
            SELECT c.relname, c.relrowsecurity, EXISTS (
                SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'namespace_id')
            FROM pg_class AS c
            WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
            ORDER BY c.relname
        """
        with self.session(role=self.service) as cursor:
            return cursor.execute(query).fetchall()


@pytest.fixture(scope="module")
def store(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made, number = new_database(postgres_server), secrets.token_hex(4)
    role, service = f"analyst_{number}", f"service_{number}"
    with closing(Database(made)) as database, database.write() as db:
        db.execute(text(f"CREATE ROLE {role} LOGIN"))
        db.execute(text(f"CREATE ROLE {service} LOGIN"))
        db.execute(text(f"ALTER DATABASE {make_url(made).database} OWNER TO {service}"))
    url = make_url(made).set(username=service).render_as_string()
    data_dir = tmp_path_factory.mktemp("rows") / "data"
    owners = (Owner(Scope(namespace=f"ns-{canary()}")), Owner(Scope(namespace=f"ns-{canary()}")))
    plant(Settings(data_dir=data_dir, database_url=url), list(owners))
    with closing(Database(url)) as database, database.write() as db:
        db.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
    return Store(url=url, data_dir=data_dir, owners=owners, role=role, service=service)


def _count(cursor: psycopg.Cursor[Any], query: sql.Composed, *values: Any) -> int:
    row = cursor.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])


def test_every_table_has_row_level_security(store: Store) -> None:
    # A table that is added needs `row_security.enable` in the migration that makes it.
    assert [name for name, secured, _ in store.catalogue() if not secured] == []


@pytest.mark.parametrize("namespace", [None, "", "nobody's", "%", "' OR true --"])
def test_a_session_that_names_no_namespace_sees_no_row(store: Store, namespace: str | None) -> None:
    with store.session(namespace) as cursor:
        assert {name: count for name, count in store.counts(cursor).items() if count} == {}


def test_a_session_sees_the_rows_of_the_namespace_that_it_names_and_no_others(store: Store) -> None:
    ids = {}
    with store.session(role=store.service) as cursor:
        for owner in store.owners:
            row = cursor.execute(
                "SELECT namespace_id FROM namespaces WHERE name = %s", [owner.scope.namespace]
            ).fetchone()
            assert row is not None
            ids[owner.scope.namespace] = row[0]
        whole = store.counts(cursor)
    knowing = {name for name, _, knows in store.catalogue() if knows}
    assert {name for name in knowing if not whole[name]} <= _QUEUES
    for namespace, namespace_id in ids.items():
        with store.session(namespace) as cursor:
            for name, seen in store.counts(cursor).items():
                if name not in knowing:
                    assert seen == _NO_ROWS, name
                    continue
                theirs = sql.SQL("SELECT count(*) FROM {} WHERE namespace_id = %s").format(sql.Identifier(name))
                assert _count(cursor, theirs, namespace_id) == seen, name
                assert name in _QUEUES or 0 < seen < whole[name], name


def test_a_store_of_before_is_brought_under_it_with_its_rows(store: Store, postgres_server: str) -> None:
    made = new_database(postgres_server)
    with closing(Database(made)) as database:
        with database.write_alone() as db:
            command.upgrade(migrations._config(db), "0011")
            for number, name in ((1, "ours"), (2, "theirs")):
                values = {"number": number, "name": name}
                db.execute(text("INSERT INTO namespaces VALUES (:number, :name, 1, 0)"), values)
                db.execute(text("INSERT INTO scopes VALUES (:number, 1, '', 0, 0)"), values)
        assert migrations.upgrade(database)
        with database.write() as db:
            db.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {store.role}"))
    brought = replace(store, url=made)
    for namespace, seen in ((None, []), ("ours", [("ours",)]), ("theirs", [("theirs",)])):
        with brought.session(namespace) as cursor:
            assert cursor.execute("SELECT name FROM namespaces").fetchall() == seen
            assert cursor.execute("SELECT count(*) FROM scopes").fetchone() == (len(seen),)


def test_no_text_of_another_namespace_is_in_anything_that_a_session_sees(store: Store) -> None:
    ours, others = store.owners
    theirs = {word for names in others.ids.values() for name in names for word in [name] if MARK in word}
    with store.session(ours.scope.namespace) as cursor:
        everything = ""
        for name in store.tables:
            query = sql.SQL("SELECT coalesce(string_agg(t::text, ' '), '') FROM {} AS t").format(sql.Identifier(name))
            row = cursor.execute(query).fetchone()
            assert row is not None
            everything += row[0]
    assert ours.ids["conversation"][0] in everything
    assert [word for word in theirs if word in everything] == []


def test_a_setting_that_is_local_to_a_transaction_ends_with_it(store: Store) -> None:
    with store.session() as cursor:
        cursor.execute("SELECT set_config('memory_engine.namespace', %s, true)", [store.owners[0].scope.namespace])
        assert store.counts(cursor)["chat_messages"]
        cursor.connection.rollback()
        assert not any(store.counts(cursor).values())


def test_a_session_changes_its_own_rows_and_no_others(store: Store) -> None:
    namespace = store.owners[0].scope.namespace
    with store.session(namespace) as cursor:
        seen = store.counts(cursor)
        for name in (name for name, _, knows in store.catalogue() if knows and name != "namespaces"):
            cursor.execute(sql.SQL("UPDATE {} SET namespace_id = namespace_id").format(sql.Identifier(name)))
            assert cursor.rowcount == seen[name], name
        cursor.execute("DELETE FROM notes")
        assert cursor.rowcount == seen["notes"] > 0
        cursor.execute("UPDATE namespaces SET name = 'another'")
        assert cursor.rowcount == 0


def test_a_session_writes_nothing_into_another_namespace(store: Store) -> None:
    ours, others = store.owners
    find = "SELECT namespace_id FROM namespaces WHERE name = %s"
    with store.session(role=store.service) as cursor:
        row = cursor.execute(find, [others.scope.namespace]).fetchone()
        assert row is not None
        theirs = row[0]
    with store.session(ours.scope.namespace) as cursor:
        seen = store.counts(cursor)
        for name in (name for name, _, knows in store.catalogue() if knows and seen[name]):
            moved = sql.SQL("UPDATE {} SET namespace_id = %s").format(sql.Identifier(name))
            copied = sql.SQL(
                "INSERT INTO {0} SELECT (jsonb_populate_record(t, jsonb_build_object('namespace_id', %s::int))).* "
                "FROM {0} AS t LIMIT 1"
            ).format(sql.Identifier(name))
            for statement in (moved, copied) if name != "namespaces" else (copied,):
                with pytest.raises(InsufficientPrivilege, match="row-level security"), cursor.connection.transaction():
                    cursor.execute(statement, [theirs])


def test_the_owners_statements_run_as_they_would_without(store: Store) -> None:
    with MemoryEngine.open(store.data_dir, database_url=store.url) as engine:
        asked = _statements_of(engine, store.owners[0])
        assert len(asked) > 10
        with_it = _plans(engine.database, asked)
        off = [f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY" for name in store.tables]
        assert _plans(engine.database, asked, before=off) == with_it


def _statements_of(engine: MemoryEngine, owner: Owner) -> list[tuple[str, Any]]:
    """What a recall, a list, a message that is kept, and an edit ask of the database."""
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) and isinstance(parameters, dict):
            asked.append((statement, parameters))

    with engine.database.read() as db:
        listened: Callable[..., None] = note
        event.listen(db.engine, "before_cursor_execute", listened)
    assert engine.recall("the password of the safe", scope=owner.scope)
    engine.history.messages(owner.ids["conversation"][0], Page(limit=5), scope=owner.scope)
    engine.links.of(owner.scope, owner.ids["conversation"][0])
    engine.edit(owner.ids["message"][0], {"content": "The password of the safe is new."}, scope=owner.scope)
    event.remove(engine.database._reader, "before_cursor_execute", listened)
    return asked


def _plans(database: Database, asked: list[tuple[str, Any]], before: list[str] | None = None) -> list[list[str]]:
    """How the owner's statements would be run, in a transaction that leaves nothing."""
    with closing(Database(database.url)) as alone, alone._writer.connect() as db, db.begin() as begun:
        for statement in before or []:
            db.execute(text(statement))
        plans = [
            list(db.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", parameters).scalars())
            for statement, parameters in asked
        ]
        begun.rollback()
        return plans


def test_a_role_that_does_not_own_the_tables_is_told_so_and_not_shown_an_empty_store(store: Store) -> None:
    url = make_url(store.url).set(username=store.role).render_as_string()
    with closing(Database(url)) as database, pytest.raises(SchemaMismatch, match="owns"):
        migrations.upgrade(database)
