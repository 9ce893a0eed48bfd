"""Brings a backup back: checked as a whole first, then written in one transaction, or not at all."""

import hashlib
import json
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memory_engine import suppression
from memory_engine.backup import FORMAT, MANIFEST, Manifest, TableEntry, table_file
from memory_engine.erasure import ErasedAgain, Keeper
from memory_engine.errors import BackupDamaged, SchemaMismatch, StoreNotEmpty
from memory_engine.models import to_micros
from memory_engine.ports import Clock, Progress, no_progress
from memory_engine.storage import migrations, outbox, scopes, store_settings, tables
from memory_engine.storage.database import LARGE_LOAD, Database, Transaction

_PIECE = 1024 * 1024
#: A row longer than this is none of ours.
_LONGEST_LINE = 64 * _PIECE


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A backup that was brought back."""

    manifest: Manifest
    #: What of it does not come back.
    erased_again: ErasedAgain


def check(path: Path, progress: Progress = no_progress) -> Manifest:
    """Read the whole file, compare it with its checksums, and say what it holds.

    Raises:
        BackupDamaged: it is no backup, is cut off, or was changed.
        SchemaMismatch: a later version of the program made it.
    """
    with _opened(path) as archive:
        manifest = _manifest(archive, path)
        for name, entry in manifest.tables.items():
            digest, rows = hashlib.sha256(), 0
            with archive.open(table_file(name)) as member:
                while piece := member.read(_PIECE):
                    digest.update(piece)
                    rows += piece.count(b"\n")
            progress(f"checking {name}", rows)
            if digest.hexdigest() != entry.sha256 or rows != entry.rows:
                raise BackupDamaged(f"{path} is damaged: the rows of {name} do not match their checksum.")
    return manifest


def restore(
    database: Database, path: Path, clock: Clock, keepers: Mapping[str, Keeper], *,
    replace: bool, progress: Progress = no_progress,
) -> Restored:  # fmt: skip
    """Put a backup into a database that holds nothing, or with `replace` in place of what it holds.

    The rows are written into tables of the backup's own schema, which is then brought to this program's. Either all
    of it is there in the end or nothing has changed. What this store erased, or the backup's, does not come back.

    Args:
        database: the store; nobody else may use it meanwhile.
        path: the backup.
        clock: tells the time of what is noted.
        keepers: who keeps copies of messages in the same database.
        replace: put it in place of what is there.
        progress: told of each table.

    Raises:
        BackupDamaged: the file is not whole.
        SchemaMismatch: a later version of the program made it.
        StoreNotEmpty: something is remembered there, and `replace` was not asked for.
        StoreInUse: another program is connected to the database.
        StoreUnavailable: the database does not answer, or is full.
    """
    manifest = check(path, progress)
    with _opened(path) as archive, database.write_alone() as db:
        database.refuse_company(db)
        if not replace and is_used(db):
            raise StoreNotEmpty
        erased = suppression.take_along(db)
        tables.drop_all(db)
        migrations.upgrade_within(db, manifest.schema)
        for table in tables.all_tables(db):
            if (entry := manifest.tables.get(table.name)) is None:
                continue
            with archive.open(table_file(table.name)) as member:
                for written in tables.write_rows(db, table, entry.columns, _rows(member)):
                    progress(f"restoring {table.name}", written)
        migrations.upgrade_within(db, "head")
        _settle(db, to_micros(clock.now()))
        if erased is not None:
            suppression.put_back(db, erased)
        made_at = to_micros(datetime.fromisoformat(manifest.made_at))
        again = suppression.erase_again(database, db, clock, keepers, made_at=made_at)
    if database.high_water is not None:
        database.high_water.forget()
    if sum(entry.rows for entry in manifest.tables.values()) > LARGE_LOAD:
        database.analyse()
    return Restored(manifest=manifest, erased_again=again)


def is_used(db: Transaction) -> bool:
    """Whether anybody ever wrote to the store."""
    return "scopes" in tables.names(db) and bool(scopes.all_scopes(db))


def _settle(db: Transaction, now: int) -> None:
    """What has to be so once the rows are in and the schema is this program's; within the restore's transaction."""
    tables.settle_counters(db)
    # Another name for the vector index's collections: those of before know nothing of these rows.
    store_settings.put(db, "store_id", secrets.token_hex(4))
    for key, (last_seq, _) in scopes.counters(db).items():
        if last_seq:
            outbox.delete_until(db, key, last_seq)
            outbox.insert_pending(db, outbox.Pending(key=key, first_seq=0, last_seq=last_seq), now)


def _rows(member: Any) -> Iterator[list[Any]]:
    while line := member.readline(_LONGEST_LINE):
        yield json.loads(line)


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        told = json.loads(archive.read(MANIFEST))
        entries = {
            name: TableEntry(columns=tuple(entry["columns"]), rows=entry["rows"], sha256=entry["sha256"])
            for name, entry in told.pop("tables").items()
        }
        manifest = Manifest(tables=entries, **told)
    except (KeyError, TypeError, ValueError) as exc:
        raise BackupDamaged(f"{path} has no manifest that can be read.") from exc
    if manifest.format > FORMAT or manifest.schema > migrations.HEAD:
        text = f"{path} has schema {manifest.schema}; this program knows {migrations.HEAD} and earlier"
        raise SchemaMismatch(f"{text}: a later version of it can restore the file.")
    return manifest


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as exc:
        raise BackupDamaged(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError) as exc:
        raise BackupDamaged(f"{path} is no backup, or is cut off or damaged: {exc}.") from exc
