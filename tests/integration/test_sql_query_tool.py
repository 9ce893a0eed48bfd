"""The SQL tool reads, and whatever it is asked, the database stays as it was."""

import hashlib
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from assistant.builtin_tools.sql_query import SqlQuery
from assistant.errors import SettingsInvalid, ToolError, ToolFailed, ToolTimedOut
from tests.postgres import new_database

_TABLES = [
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, person INTEGER, item TEXT)",
    "INSERT INTO people VALUES (1, 'Ana'), (2, 'Bo')",
    "INSERT INTO orders VALUES (1, 1, 'tea'), (2, 1, 'salt'), (3, 2, 'rice')",
    "CREATE VIEW names AS SELECT name FROM people",
]
_JOIN = "SELECT name, count(*) AS n FROM people JOIN orders ON orders.person = people.id GROUP BY name ORDER BY name"
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n"

_WRITES_OF_BOTH = [
    "INSERT INTO people VALUES (3, 'Cy')",
    "INSERT INTO people SELECT id + 10, name FROM people",
    "INSERT INTO people VALUES (3, 'Cy') RETURNING id",
    "UPDATE people SET name = 'x'",
    "UPDATE people SET name = 'x' RETURNING name",
    "DELETE FROM people",
    "DELETE FROM orders WHERE id = 1 RETURNING *",
    "CREATE TABLE t (a INTEGER)",
    "CREATE TEMP TABLE t (a INTEGER)",
    "CREATE TABLE t AS SELECT * FROM people",
    "CREATE INDEX i ON people (name)",
    "CREATE VIEW v AS SELECT 1",
    "DROP TABLE orders",
    "DROP VIEW names",
    "ALTER TABLE people RENAME TO persons",
    "ALTER TABLE people ADD COLUMN age INTEGER",
    "ALTER TABLE people DROP COLUMN name",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "SELECT 1; DELETE FROM people",
    "SELECT 1;; DELETE FROM people",
    "COMMIT; DELETE FROM people",
    "ROLLBACK; DELETE FROM people; COMMIT",
    "SELECT 1 /* ; */; -- DELETE\nDELETE FROM people",
    "/* SELECT */ DELETE FROM people",
    "-- SELECT 1\nDELETE FROM people",
    "EXPLAIN DELETE FROM people; DELETE FROM people",
    "",
    ";",
    "-- nothing",
    "SELECT 1\0; DELETE FROM people",
    "SELECT '\ud800'",
    "SELECT * FROM nowhere",
]
_WRITES_OF_SQLITE = [
    "REPLACE INTO people VALUES (1, 'x')",
    "INSERT OR REPLACE INTO people VALUES (1, 'x')",
    "INSERT INTO people VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x'",
    "WITH new AS (SELECT 9 AS id, 'x' AS name) INSERT INTO people SELECT * FROM new RETURNING id",
    "WITH old AS (SELECT 1 AS id) DELETE FROM people WHERE id IN (SELECT id FROM old)",
    "EXPLAIN DELETE FROM people",
    "EXPLAIN QUERY PLAN UPDATE people SET name = 'x'",
    "ATTACH DATABASE '{folder}/new.sqlite3' AS other",
    "ATTACH DATABASE 'file:{folder}/people.sqlite3?mode=rwc' AS again",
    "ATTACH ':memory:' AS memory",
    "DETACH DATABASE main",
    "VACUUM INTO '{folder}/copy.sqlite3'",
    "VACUUM main",
    "PRAGMA query_only = OFF",
    "PRAGMA query_only",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA incremental_vacuum",
    "PRAGMA temp_store_directory = '{folder}'",
    "SELECT * FROM pragma_query_only(0)",
    "SELECT * FROM pragma_user_version",
    "SELECT load_extension('{folder}/evil')",
    "SELECT LOAD_EXTENSION('{folder}/evil', 'main')",
    "SELECT writefile('{folder}/out', 'x')",
    "SELECT readfile('{folder}/people.sqlite3')",
    "SELECT edit('x', 'touch {folder}/out')",
    "SELECT fts3_tokenizer('simple', x'00')",
    "CREATE TRIGGER t AFTER INSERT ON people BEGIN DELETE FROM orders; END",
    "CREATE VIRTUAL TABLE t USING fts5(a)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE TEMP TRIGGER t AFTER INSERT ON people BEGIN DELETE FROM orders; END",
    "UPDATE sqlite_master SET sql = ''",
    "DELETE FROM sqlite_schema",
    "UPDATE sqlite_dbpage SET data = zeroblob(4096)",
    "INSERT INTO words (words) VALUES ('rebuild')",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
    "END; DELETE FROM people",
    "RELEASE s",
    "SELECT zeroblob(100000000)",
    "SELECT replace(hex(zeroblob(400000)), '0', 'xxxxx')",
]
_WRITES_OF_POSTGRES = [
    "TRUNCATE people",
    "INSERT INTO people VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x'",
    "MERGE INTO people USING orders ON people.id = orders.id WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
    "WITH new AS (INSERT INTO people VALUES (3, 'Cy') RETURNING id) SELECT * FROM new",
    "/* only */ WITH new AS (UPDATE people SET name = 'x' RETURNING id) SELECT count(*) FROM new",
    "EXPLAIN ANALYZE DELETE FROM people",
    "EXPLAIN ANALYZE SELECT nextval('counter')",
    "COMMIT AND CHAIN",
    "ABORT",
    "END",
    "PREPARE TRANSACTION 'x'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "SET statement_timeout = 0",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "RESET ALL",
    "DISCARD ALL",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SELECT set_config('role', 'tests', false)",
    "COPY people TO '/tmp/people'",
    "COPY people TO STDOUT",
    "COPY people FROM STDIN",
    "COPY people FROM '/etc/passwd'",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY people FROM PROGRAM 'echo 1'",
    "DO $$ BEGIN DELETE FROM people; END $$",
    "CALL clear_people()",
    "SELECT delete_people()",
    "SELECT * FROM delete_people()",
    "SELECT query_to_xml('DELETE FROM people', true, true, '')",
    "SELECT query_to_xml('SELECT delete_people()', true, true, '')",
    "GRANT ALL ON people TO PUBLIC",
    "REVOKE ALL ON people FROM PUBLIC",
    "CREATE ROLE other",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE DATABASE other",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "LISTEN news",
    "NOTIFY news, 'x'",
    "UNLISTEN *",
    "SELECT nextval('counter')",
    "SELECT setval('counter', 100)",
    "SELECT * FROM (VALUES (nextval('counter')), (1)) v",
    "SELECT 1 LIMIT nextval('counter')",
    "SELECT * INTO copied FROM people",
    "SELECT * INTO TEMP copied FROM people",
    "SELECT * FROM people FOR UPDATE",
    "SELECT * FROM people FOR SHARE",
    "SELECT * FROM people FOR KEY SHARE",
    "LOCK TABLE people IN ACCESS EXCLUSIVE MODE",
    "PREPARE q AS DELETE FROM people",
    "EXECUTE q",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "CLOSE found",
    "FETCH 1 FROM found",
    "REFRESH MATERIALIZED VIEW kept",
    "CLUSTER people",
    "CHECKPOINT",
    "COMMENT ON TABLE people IS 'x'",
    "SECURITY LABEL ON TABLE people IS 'x'",
    "IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/out')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_promote()",
    "SELECT pg_stat_reset()",
    "SELECT pg_create_physical_replication_slot('slot', true)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tests'",
    "SELECT * FROM people WHERE id = %s",
    "SELECT * FROM people; -- one\n; -- two\nSELECT 2",
]
#: What PostgreSQL runs because any role may, and what ends with the transaction.
_RUN_WITHOUT_TRACE = [
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(2)",
    "SELECT pg_notify('news', 'x')",
    "SELECT lo_create(4711)",
    "SELECT lo_from_bytea(4712, 'x')",
    "SELECT lo_creat(-1)",
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT query_to_xml('SELECT pg_advisory_lock(3)', true, true, '')",
    "SELECT txid_current()",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A database with two tables, and the URL that the tool is given."""

    url: str
    folder: Path
    #: The owner's URL, in libpq's form; empty for SQLite.
    owner: str = ""

    @property
    def file(self) -> Path:
        return self.folder / "people.sqlite3"

    def tool(self, **limits: Any) -> SqlQuery:
        return SqlQuery(self.url, **{"timeout": 20.0, **limits})

    def content(self) -> Any:
        """All that the database holds."""
        if not self.owner:
            names = sorted(path.name for path in self.folder.iterdir() if not path.name.endswith(("-shm", "-wal")))
            return names, hashlib.sha256(self.file.read_bytes()).hexdigest()
        queries = [
            "SELECT * FROM people ORDER BY id",
            "SELECT * FROM orders ORDER BY id",
            "SELECT last_value, is_called FROM counter",
            "SELECT relname, relkind, reltuples, relacl::text, xmin::text FROM pg_class ORDER BY oid",
            "SELECT proname FROM pg_proc ORDER BY oid",
            "SELECT rolname, rolsuper FROM pg_roles ORDER BY oid",
            "SELECT datname FROM pg_database WHERE datname NOT LIKE 't\\_%' ORDER BY oid",
            "SELECT oid FROM pg_largeobject_metadata",
            "SELECT locktype FROM pg_locks WHERE locktype = 'advisory'",
            "SELECT slot_name FROM pg_replication_slots",
        ]
        with psycopg.connect(self.owner) as connection:
            return [connection.execute(query.encode()).fetchall() for query in queries]


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    place = Place(url=f"sqlite:///{tmp_path}/people.sqlite3", folder=tmp_path)
    connection = sqlite3.connect(place.file)
    connection.execute("PRAGMA journal_mode=WAL")
    for statement in [*_TABLES, "CREATE VIRTUAL TABLE words USING fts5(word)", "INSERT INTO words VALUES ('hello')"]:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return place


@pytest.fixture(scope="module")
def postgres_place(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    url = new_database(postgres_server)
    owner = url.replace("+psycopg", "")
    role = f"reader_{url.rpartition('/')[2]}"
    with psycopg.connect(owner, autocommit=True) as connection:
        for statement in [
            *_TABLES,
            "CREATE SEQUENCE counter",
            "CREATE MATERIALIZED VIEW kept AS SELECT 1",
            "CREATE PROCEDURE clear_people() LANGUAGE sql AS 'DELETE FROM people'",
            "CREATE FUNCTION delete_people() RETURNS bigint LANGUAGE sql AS"
            " 'WITH gone AS (DELETE FROM people RETURNING 1) SELECT count(*) FROM gone'",
            f"CREATE ROLE {role} LOGIN",
            # All that a role can be granted here: it is the tool that refuses.
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"GRANT ALL ON SCHEMA public TO {role}",
        ]:
            connection.execute(statement.encode())
    yield Place(url=url.replace("tests@", f"{role}@"), folder=tmp_path_factory.mktemp("pg"), owner=owner)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgresql":
        found: Place = request.getfixturevalue("postgres_place")
        return found
    made = Place(url=f"sqlite:///{tmp_path}/people.sqlite3", folder=tmp_path)
    with sqlite3.connect(made.file) as connection:
        for statement in _TABLES:
            connection.execute(statement)
    connection.close()
    return made


def not_refused(tool: SqlQuery, statements: list[str]) -> dict[str, Any]:
    """The statements that gave a result, with it."""
    results = {}
    for statement in statements:
        with suppress(ToolFailed):
            results[statement] = tool(statement)
    return results


def test_a_join(place: Place) -> None:
    expected = {"columns": ["name", "n"], "rows": [["Ana", 2], ["Bo", 1]], "truncated": False}
    tool = place.tool()
    assert tool(_JOIN) == expected
    assert tool(f"-- who ordered what\n{_JOIN};  -- that is all") == expected
    assert tool("SELECT name FROM names WHERE name LIKE '%a'")["rows"] == [["Ana"]]
    assert tool("VALUES (1, 'a'), (2, 'b')")["rows"] == [[1, "a"], [2, "b"]]
    assert tool("SELECT id, id FROM people WHERE false") == {"columns": ["id", "id"], "rows": [], "truncated": False}


def test_sqlite_writes_nothing(sqlite_place: Place) -> None:
    before = sqlite_place.content()
    statements = [each.replace("{folder}", str(sqlite_place.folder)) for each in _WRITES_OF_BOTH + _WRITES_OF_SQLITE]
    assert not_refused(sqlite_place.tool(), statements) == {}
    assert sqlite_place.content() == before
    assert sqlite_place.tool()("SELECT word FROM words WHERE words MATCH 'hello'")["rows"] == [["hello"]]


@pytest.mark.postgresql
def test_postgresql_writes_nothing(postgres_place: Place) -> None:
    before = postgres_place.content()
    with psycopg.connect(postgres_place.owner, autocommit=True) as listener:
        listener.execute("LISTEN news")
        assert not_refused(postgres_place.tool(), _WRITES_OF_BOTH + _WRITES_OF_POSTGRES) == {}
        ran = not_refused(postgres_place.tool(), _RUN_WITHOUT_TRACE)
        assert ran
        assert list(listener.notifies(timeout=0)) == []
    assert postgres_place.content() == before


@pytest.mark.postgresql
def test_settings_end_with_the_query(postgres_place: Place) -> None:
    tool = postgres_place.tool(timeout=0.4)
    lifted = "SELECT set_config('statement_timeout', '0', false), pg_sleep(0.01) FROM generate_series(1, 21)"
    tool(lifted)
    with pytest.raises(ToolTimedOut):
        tool(f"WITH lifted AS MATERIALIZED ({lifted}) SELECT count(*), pg_sleep(60) FROM lifted")


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("grant", "message"),
    [
        ("ALTER ROLE {role} SUPERUSER", "is or may become"),
        ("ALTER ROLE {role} REPLICATION", "is or may become {role}"),
        ("GRANT tests TO {role}", "is or may become tests"),
        ("GRANT pg_read_server_files TO {role}", "pg_read_server_files"),
        ("GRANT pg_write_server_files TO {role}", "pg_write_server_files"),
        ("GRANT pg_execute_server_program TO {role}", "pg_execute_server_program"),
        ("GRANT pg_signal_backend TO {role}", "pg_signal_backend"),
        ("GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO {role}", "may call lo_export"),
        ("CREATE EXTENSION dblink", "may call dblink"),
    ],
)
def test_roles_that_reach_further_are_refused(postgres_place: Place, grant: str, message: str) -> None:
    role = f"far_{secrets.token_hex(4)}"
    tool = SqlQuery(re.sub(r"//\w+@", f"//{role}@", postgres_place.url))
    with psycopg.connect(postgres_place.owner, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN NOINHERIT".encode())
        assert tool("SELECT 1")["rows"] == [[1]]
        connection.execute(grant.format(role=role).encode())
        with pytest.raises(ToolFailed, match=message.format(role=role)):
            tool("SELECT 1")
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}; DROP EXTENSION IF EXISTS dblink".encode())


def test_the_time_limit(place: Place) -> None:
    slow = [_ENDLESS, "SELECT count(*) FROM people a, people b, (" + _ENDLESS + ") c"]
    if place.owner:
        slow += ["SELECT pg_sleep(60)", "SELECT pg_sleep(0.02) FROM generate_series(1, 90)"]
    else:  # a single instruction that takes minutes, between which SQLite looks at the clock
        slow += [f"SELECT {', '.join(['instr(x, x || x)'] * 90)} FROM (SELECT hex(zeroblob(200000)) AS x)"]
        slow[-1] = slow[-1].replace("x || x", "substr(x, 1, 200000) || 'b'")
    for query in slow:
        started = time.monotonic()
        with pytest.raises(ToolTimedOut, match="longer than the"):
            place.tool(timeout=0.25)(query)
        assert time.monotonic() - started < 3


def test_rows_that_have_no_room_are_left_out(place: Place) -> None:
    assert len(place.tool(max_rows=500)(_NUMBERS)["rows"]) == 500
    assert place.tool(max_rows=500)(_NUMBERS)["truncated"] is False
    short = place.tool()(_NUMBERS)
    assert (len(short["rows"]), short["truncated"]) == (100, True)
    endless = _NUMBERS.replace(" WHERE i < 500", "")
    assert place.tool(max_rows=3)(endless)["rows"] == [[1], [2], [3]]


def test_a_size_that_has_no_room_is_left_out(place: Place) -> None:
    long = "replace('" + "x" * 1000 + "', 'x', 'xxxxxxxxxx')"
    cut = place.tool(max_bytes=25_000)(f"SELECT {long} AS a FROM people, orders")
    assert ([len(row[0]) for row in cut["rows"]], cut["truncated"]) == ([10_000, 10_000], True)
    assert place.tool(max_bytes=900)(f"SELECT {long} AS a") == {"columns": ["a"], "rows": [], "truncated": True}
    with pytest.raises(ToolFailed, match="columns"):
        place.tool(max_bytes=20)(f"SELECT 1 AS {'a' * 40}")
    with pytest.raises(ToolFailed, match="longer than"):
        place.tool()(f"SELECT '{'x' * 200_000}'")


def test_values_of_sqlite(tmp_path: Path) -> None:
    place = Place(url=f"sqlite:///{tmp_path}/people.sqlite3", folder=tmp_path)
    sqlite3.connect(place.file).close()
    values = "SELECT NULL, 1, 1.5, 'é', x'00ff', 9e999, CAST(x'ff41' AS TEXT), date('2026-01-02')"
    assert place.tool()(values)["rows"] == [[None, 1, 1.5, "é", {"base64": "AP8="}, "inf", "�A", "2026-01-02"]]
    assert place.tool()("SELECT value FROM json_each('[1, 2]')")["rows"] == [[1], [2]]


@pytest.mark.postgresql
def test_values_of_postgresql(postgres_place: Place) -> None:
    values = """SELECT NULL, true, 9007199254740993, 1.5::float8, 'NaN'::float8, 12.340::numeric, '\\x00ff'::bytea,
        DATE '2026-01-02', TIMESTAMPTZ '2026-01-02 03:04:05+00' AT TIME ZONE 'UTC', TIME '03:04', INTERVAL '90 minutes',
        ARRAY[1, NULL], '{"a": [1, "b"]}'::jsonb, '12345678-1234-5678-1234-567812345678'::uuid, int4range(1, 3)"""
    assert postgres_place.tool()(values)["rows"] == [
        [
            None, True, 9007199254740993, 1.5, "nan", "12.340", {"base64": "AP8="},
            "2026-01-02", "2026-01-02T03:04:05", "03:04:00", "1:30:00",
            [1, None], {"a": [1, "b"]}, "12345678-1234-5678-1234-567812345678", "[1, 3)",
        ]
    ]  # fmt: skip
    with pytest.raises(ToolFailed, match="does not do as asked"):
        postgres_place.tool()("SELECT DATE '20260-01-01'")


def test_databases_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    for path in (tmp_path / "none.sqlite3", tmp_path, tmp_path / "text"):
        with pytest.raises(ToolError, match="does not do as asked"):
            SqlQuery(f"sqlite:///{path}")("SELECT * FROM sqlite_master")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]
    with pytest.raises(ToolFailed, match="does not answer"):
        SqlQuery("postgresql+psycopg://nobody@127.0.0.1:9/none")("SELECT 1")


@pytest.mark.parametrize(
    "url",
    ["", "people.sqlite3", "sqlite://", "sqlite:///:memory:", "sqlite:///a?mode=rwc", "mysql://here/a", "postgresql"],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="URL"):
        SqlQuery(url)
