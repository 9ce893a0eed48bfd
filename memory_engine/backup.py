"""A backup: every table of one consistent state in one file, the same for both databases.

The file is a zip archive of `tables/NAME.jsonl`, one row a line, and of `manifest.json`, which comes last and tells how
many rows each has and their SHA-256. What is derived outside SQL, the vector index, is not in it.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from memory_engine.errors import StoreUnavailable
from memory_engine.ports import Progress, no_progress
from memory_engine.storage import migrations, scopes, store_settings, tables
from memory_engine.storage.database import Database, Transaction

#: Grows when a reader of before could not read the file any more.
FORMAT = 1
MANIFEST = "manifest.json"
#: Most of it is text; the next level takes twice as long and saves a tenth.
_COMPRESSION = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class TableEntry:
    """What a backup holds of one table."""

    columns: tuple[str, ...]
    rows: int
    #: Of the uncompressed lines.
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    format: int
    #: The schema of the tables, and the store that they are of.
    schema: str
    store_id: str
    database: str
    #: ISO 8601, UTC.
    made_at: str
    #: Places that were given out in all scopes, and when the newest message was recorded (microseconds).
    last_seqs: int
    newest_at: int | None
    tables: dict[str, TableEntry]

    def rows(self, table: str) -> int:
        """How many rows of the table there are."""
        return self.tables[table].rows if table in self.tables else 0


def table_file(name: str) -> str:
    """The archive's name of a table's file."""
    return f"tables/{name}.jsonl"


def stream(database: Database, now: datetime, progress: Progress = no_progress) -> Iterator[bytes]:
    """The bytes of a backup, piece by piece, of the state at the first of them; writers go on meanwhile.

    Raises:
        StoreUnavailable: the database does not answer, or is empty.
    """
    sink = _Sink()
    with database.snapshot() as db, zipfile.ZipFile(sink, "w", allowZip64=True, **_COMPRESSION) as archive:  # type: ignore[call-overload]
        about = _about(db, database, now)
        entries: dict[str, TableEntry] = {}
        for table in tables.all_tables(db):
            digest, rows = hashlib.sha256(), 0
            with archive.open(table_file(table.name), "w", force_zip64=True) as member:
                for batch in tables.read_rows(db, table):
                    lines = _lines(batch)
                    digest.update(lines)
                    member.write(lines)
                    rows += len(batch)
                    progress(f"writing {table.name}", len(batch))
                    yield sink.taken()
            entries[table.name] = TableEntry(columns=tuple(table.columns.keys()), rows=rows, sha256=digest.hexdigest())
        manifest = Manifest(tables=entries, **about)
        archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
    yield sink.taken()


def _lines(rows: list[list[Any]]) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return ("\n".join(lines) + "\n").encode()


def _about(db: Transaction, database: Database, now: datetime) -> dict[str, Any]:
    schema = migrations.revision(db)
    if schema is None:
        raise StoreUnavailable("The database is empty: there is nothing to back up.")
    last_seqs, newest_at = scopes.high_water(db)
    return {
        "format": FORMAT,
        "schema": schema,
        "store_id": store_settings.setting(db, "store_id") or "",
        "database": "SQLite" if database.is_sqlite else "PostgreSQL",
        "made_at": now.isoformat(),
        "last_seqs": last_seqs,
        "newest_at": newest_at,
    }


class _Sink:
    """What the archive writes, until it is taken; it cannot be sought in, so that the archive is made in one go."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
