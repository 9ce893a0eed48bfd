"""Reads a backup file within limits, so that a crafted file costs no more than its size allows."""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from memory_engine.backup import FORMAT, MANIFEST, Manifest, TableEntry, table_file
from memory_engine.errors import BackupDamaged, SchemaMismatch
from memory_engine.models import to_micros
from memory_engine.storage import migrations

_MIB = 1024 * 1024
#: Bytes of a manifest; ours have 20,000.
MAX_MANIFEST = _MIB
#: What a file may unpack to: a multiple of its size, and a number of bytes that is always allowed. Our own files unpack
#: to 3 to 50 times their size.
MAX_RATIO, ALWAYS_ALLOWED = 200, 4 * 1024 * _MIB
#: Bytes of a row, and of that what is not in texts: numbers, brackets and commas take many times their size in memory.
MAX_ROW, MAX_OUTSIDE_TEXTS = 128 * _MIB, 8 * _MIB
#: Rows that are held at once, and their bytes.
_BATCH_ROWS, _BATCH_BYTES = 2_000, 8 * _MIB
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SCHEMA = re.compile(r"[0-9]{4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST = 2**63 - 1
_FIELDS = frozenset(
    ("format", "schema", "store_id", "database", "made_at", "last_seqs", "newest_at", "tables")
)  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a backup, and turn what is wrong with the file into one error.

    Raises:
        BackupDamaged: it is no archive, is cut off, unpacks to too much, or was packed in another way than ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive, path)
            yield archive
    except OSError as exc:
        raise BackupDamaged(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError) as exc:
        raise BackupDamaged(f"{path} is no backup, or is cut off or damaged: {exc}.") from exc


def _check_size(archive: zipfile.ZipFile, path: Path) -> None:
    """See that the archive is packed as ours are. No member gives more bytes than it declares."""
    known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if any(member.compress_type not in known or member.flag_bits & 1 for member in archive.infolist()):
        raise BackupDamaged(f"{path} is not a backup: it is encrypted, or packed in another way.")
    unpacked = sum(member.file_size for member in archive.infolist())
    most = max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)
    if unpacked > most:
        raise BackupDamaged(f"{path} is not a backup: it would unpack to {unpacked:,} bytes; the limit is {most:,}.")


def read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    """Read what a backup says of itself.

    Raises:
        BackupDamaged: it has no manifest, or one with values of other types than ours.
        SchemaMismatch: a later version of the program made it.
    """
    with archive.open(MANIFEST) as member:
        content = member.read(MAX_MANIFEST + 1)
    if len(content) > MAX_MANIFEST:
        raise BackupDamaged(f"{path} has a manifest of more than {MAX_MANIFEST:,} bytes.")
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise BackupDamaged(f"{path} has no manifest that can be read.") from exc
    if not isinstance(told, dict):
        raise BackupDamaged(f"{path} has no manifest that can be read.")
    _check_version(told, path)
    if wrong := _wrong(told):
        raise BackupDamaged(f"{path} has a damaged manifest: {wrong} is missing or not valid.")
    entries = {
        name: TableEntry(columns=tuple(entry["columns"]), rows=entry["rows"], sha256=entry["sha256"])
        for name, entry in told.pop("tables").items()
    }
    return Manifest(tables=entries, **told)


def _check_version(told: Mapping[str, Any], path: Path) -> None:
    """Look at the version first: what a later one says besides is not known here."""
    form, schema = told.get("format"), told.get("schema")
    if form is None or not _is_number(form):
        raise BackupDamaged(f"{path} has a damaged manifest: format is missing or not valid.")
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
        raise BackupDamaged(f"{path} has a damaged manifest: schema is missing or not valid.")
    if form > FORMAT or schema > migrations.HEAD:
        text = f"{path} has schema {schema}; this program knows {migrations.HEAD} and earlier"
        raise SchemaMismatch(f"{text}: a later version of it can restore the file.")


def _wrong(told: Mapping[str, Any]) -> str | None:
    """Return the name of what is wrong in a manifest, or None."""
    if set(told) != _FIELDS:
        return "a field"
    tables = told["tables"]
    valid = {
        "schema": told["schema"] in {revision for revision, _ in migrations.history()},
        "store_id": (isinstance(told["store_id"], str) and told["store_id"].isalnum()) or told["store_id"] == "",
        "database": told["database"] in ("SQLite", "PostgreSQL"),
        "made_at": _is_time(told["made_at"]),
        "last_seqs": _is_number(told["last_seqs"]),
        "newest_at": told["newest_at"] is None or _is_number(told["newest_at"], least=-_LARGEST),
        "tables": isinstance(tables, dict) and all(_is_entry(name, entry) for name, entry in tables.items()),
    }
    return next((name for name, is_valid in valid.items() if not is_valid), None)


def _is_entry(name: str, entry: Any) -> bool:
    if not _NAME.fullmatch(name) or not isinstance(entry, dict) or set(entry) != {"columns", "rows", "sha256"}:
        return False
    columns, digest = entry["columns"], entry["sha256"]
    return (
        isinstance(columns, list)
        and all(isinstance(column, str) and _NAME.fullmatch(column) for column in columns)
        and len(set(columns)) == len(columns)
        and _is_number(entry["rows"])
        and isinstance(digest, str)
        and bool(_SHA256.fullmatch(digest))
    )


def _is_number(value: Any, *, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LARGEST


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and to_micros(datetime.fromisoformat(value)) > 0
    except (ValueError, TypeError, OverflowError):  # not ISO 8601, without a zone, or beyond the years
        return False


def row_batches(archive: zipfile.ZipFile, path: Path, name: str, entry: TableEntry) -> Iterator[list[list[Any]]]:
    """Read the rows of a table, as many at once as fit into a few megabytes.

    Raises:
        BackupDamaged: a line is too long, or is no row of the columns.
    """
    wrong = BackupDamaged(f"{path} is damaged: a row of {name} cannot be read.")
    batch, size = list[list[Any]](), 0
    with archive.open(table_file(name)) as member:
        while line := member.readline(MAX_ROW + 1):
            if len(line) > MAX_OUTSIDE_TEXTS and not _is_mostly_text(line):
                raise wrong
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as exc:
                raise wrong from exc
            if not isinstance(row, list) or len(row) != len(entry.columns):
                raise wrong
            batch.append(row)
            size += len(line)
            if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _is_mostly_text(line: bytes) -> bool:
    return len(line) <= MAX_ROW and len(_TEXT.sub(b"", line)) <= MAX_OUTSIDE_TEXTS
