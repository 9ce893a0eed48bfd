"""A crafted backup costs little, is refused in one sentence, and changes nothing."""

import hashlib
import json
import resource
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memory_engine import MemoryEngine, backup_file, restoring
from memory_engine.clock import SystemClock
from memory_engine.errors import BackupDamaged, SchemaMismatch
from memory_engine.storage.database import Database
from tests.integration.test_backup import rows
from tests.integration.test_second_process import assert_refused, run

MANIFEST = "manifest.json"
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with MemoryEngine.open(folder / "data") as engine:
        engine.remember("c", [{"role": "user", "content": "The harbour opens at nine."}])
        (folder / "backup").write_bytes(b"".join(engine.backup()))
    return folder / "backup"


def crafted(made: Path, path: Path, change: Callable[[Members], None], **packing: Any) -> Path:
    with zipfile.ZipFile(made) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **{"compression": zipfile.ZIP_DEFLATED, **packing}) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def manifest_with(**values: Any) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **values}).encode()

    return change


def table_with(name: str, content: bytes) -> Callable[[Members], None]:
    """Put other rows in place of a table's, with the checksum that they have."""

    def change(members: Members) -> None:
        told = json.loads(members[MANIFEST])
        told["tables"][name] |= {"rows": content.count(b"\n"), "sha256": hashlib.sha256(content).hexdigest()}
        members |= {MANIFEST: json.dumps(told).encode(), f"tables/{name}.jsonl": content}

    return change


def cell(name: str, column: str, value: Any) -> Callable[[Members], None]:
    """Put another value in place of one of a table's first row."""

    def change(members: Members) -> None:
        first, *rest = members[f"tables/{name}.jsonl"].splitlines(keepends=True)
        row = json.loads(first)
        row[json.loads(members[MANIFEST])["tables"][name]["columns"].index(column)] = value
        table_with(name, json.dumps(row).encode() + b"\n" + b"".join(rest))(members)

    return change


def replaced(content: bytes) -> Callable[[Members], None]:
    return lambda members: members.update({MANIFEST: content})


def entry(**values: Any) -> dict[str, Any]:
    return {"chat_messages": {"columns": ["seq"], "rows": 1, "sha256": "0" * 64, **values}}


MANIFESTS: dict[str, Callable[[Members], None]] = {
    "too large": replaced(b'"' + b"a" * 50_000_000 + b'"'),
    "deep": replaced(b"[" * 200_000),
    "a list": replaced(b"[]"),
    "a long number": replaced(b'{"format":' + b"1" * 5_000 + b"}"),
    "not text": replaced(b"\xff\xfe\x00"),
    "empty": replaced(b""),
    "a field more": manifest_with(surprise=1),
    "schema with a colon": manifest_with(schema="0001:0002"),
    "schema head": manifest_with(schema="head"),
    "schema 0000": manifest_with(schema="0000"),
    "schema number": manifest_with(schema=1),
    "format text": manifest_with(format="1"),
    "format true": manifest_with(format=True),
    "format null": manifest_with(format=None),
    "made_at x": manifest_with(made_at="x"),
    "made_at without zone": manifest_with(made_at="2026-01-01T00:00:00"),
    "made_at number": manifest_with(made_at=5),
    "last_seqs text": manifest_with(last_seqs="1"),
    "last_seqs huge": manifest_with(last_seqs=10**30),
    "newest_at list": manifest_with(newest_at=[1]),
    "store_id list": manifest_with(store_id=["a"]),
    "database escape": manifest_with(database="\x1b[31m"),
    "tables list": manifest_with(tables=[]),
    "table null": manifest_with(tables={"chat_messages": None}),
    "table name": manifest_with(tables={"../../x": {"columns": [], "rows": 0, "sha256": "0" * 64}}),
    "columns text": manifest_with(tables=entry(columns="seq")),
    "columns twice": manifest_with(tables=entry(columns=["seq", "seq"])),
    "columns numbers": manifest_with(tables=entry(columns=[1])),
    "rows negative": manifest_with(tables=entry(rows=-1)),
    "rows float": manifest_with(tables=entry(rows=1.5)),
    "sha256 short": manifest_with(tables=entry(sha256="0")),
}
ROWS: dict[str, Callable[[Members], None]] = {
    "deep": table_with("chat_messages", b"[" * 200_000 + b"\n"),
    "an object": table_with("chat_messages", b"{}\n"),
    "too short": table_with("chat_messages", b"[1]\n"),
    "no JSON": table_with("chat_messages", b"x\n"),
    "many numbers": table_with("chat_messages", b"[" + b"1," * 10_000_000 + b"1]\n"),
    "a text for a number": cell("chat_messages", "seq", "one"),
    "a list for a text": cell("chat_messages", "content", ["x"]),
    "a number for bytes": cell("message_terms", "terms", 5),
    "no base64": cell("message_terms", "terms", "!"),
    "a huge number": cell("chat_messages", "seq", 10**30),
    "an unknown scope": cell("chat_messages", "scope_id", 77),
    "null where none may be": cell("chat_messages", "message_id", None),
    "a text for a setting": cell("store_settings", "value", None),
    "a key that is no key": lambda members: table_with(
        "store_settings", members["tables/store_settings.jsonl"] + b'["erasure_key","no hex"]\n'
    )(members),
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> str:
    with MemoryEngine.open(tmp_path / "data") as engine:
        engine.remember("mine", [{"role": "user", "content": "What was here."}])
    return Database.url_in(tmp_path / "data")


def refused(path: Path, url: str, error: type[Exception] = BackupDamaged) -> str:
    before, began, held = rows(url), time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with closing(Database(url)) as database, pytest.raises(error) as told:
        restoring.restore(database, path, SystemClock(), {}, replace=True)
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 300 * 1024
    assert rows(url) == before
    assert len(str(told.value)) < 600
    return str(told.value)


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_crafted_manifest_is_refused(made: Path, tmp_path: Path, store: str, name: str) -> None:
    assert refused(crafted(made, tmp_path / "crafted", MANIFESTS[name]), store).endswith(".")


@pytest.mark.parametrize("name", ROWS)
def test_crafted_rows_are_refused(made: Path, tmp_path: Path, store: str, name: str) -> None:
    assert "damaged" in refused(crafted(made, tmp_path / "crafted", ROWS[name]), store)


@pytest.mark.postgresql
@pytest.mark.parametrize("name", ROWS)
def test_crafted_rows_are_refused_by_postgresql(made: Path, tmp_path: Path, postgres_server: str, name: str) -> None:
    from tests.postgres import new_database

    with closing(Database(new_database(postgres_server))) as database, pytest.raises(BackupDamaged):
        restoring.restore(database, crafted(made, tmp_path / "crafted", ROWS[name]), SystemClock(), {}, replace=True)


@pytest.mark.parametrize("later", [{"schema": "9999"}, {"format": 2}, {"format": 2, "surprise": []}])
def test_a_later_version_is_named_as_such(made: Path, tmp_path: Path, store: str, later: dict[str, Any]) -> None:
    assert "later version" in refused(
        crafted(made, tmp_path / "crafted", manifest_with(**later)), store, SchemaMismatch
    )


def test_a_file_that_unpacks_to_too_much_is_refused_unread(
    made: Path, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_file, "ALWAYS_ALLOWED", 10_000_000)
    bomb = crafted(made, tmp_path / "bomb", lambda members: members.update({"tables/x.jsonl": b" " * 50_000_000}))
    assert bomb.stat().st_size < 100_000
    assert "would unpack to" in refused(bomb, store)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(made: Path, tmp_path: Path, store: str, method: int) -> None:
    assert "packed in another way" in refused(
        crafted(made, tmp_path / "crafted", lambda _: None, compression=method), store
    )


def test_an_encrypted_file_is_refused(made: Path, tmp_path: Path, store: str) -> None:
    content = bytearray(made.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of the last member, the manifest
    (tmp_path / "crafted").write_bytes(content)
    assert "encrypted" in refused(tmp_path / "crafted", store)


@pytest.mark.parametrize("name", ["deep", "schema with a colon", "made_at x", "format text"])
def test_the_command_refuses_it_in_one_line(made: Path, tmp_path: Path, name: str) -> None:
    crafted(made, tmp_path / "crafted", MANIFESTS[name])
    assert_refused(run("restore", str(tmp_path / "crafted"), "--data-dir", str(tmp_path / "data")))


def test_long_rows_of_text_are_restored_in_small_batches(tmp_path: Path) -> None:
    with MemoryEngine.open(tmp_path / "data") as engine:
        for number in range(12):
            text = ("word " * 200_000)[:1_000_000] + str(number)
            engine.remember("long", [{"role": "user", "content": text}])
        (tmp_path / "backup").write_bytes(b"".join(engine.backup()))
    (tmp_path / "other").mkdir()
    url = Database.url_in(tmp_path / "other")
    with closing(Database(url)) as database:
        restoring.restore(database, tmp_path / "backup", SystemClock(), {}, replace=False)
    assert rows(url) == rows(Database.url_in(tmp_path / "data"))
