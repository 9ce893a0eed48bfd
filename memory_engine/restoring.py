"""Brings a backup back: checked as a whole first, then written in one transaction, or not at all."""

import hashlib
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from memory_engine import backup_file, carrying, suppression
from memory_engine.backup import Manifest, table_file
from memory_engine.erasure import ErasedAgain, Keeper
from memory_engine.errors import BackupDamaged, StoreNotEmpty
from memory_engine.models import to_micros
from memory_engine.ports import Clock, Progress, no_progress
from memory_engine.storage import migrations, outbox, scopes, store_settings, tables
from memory_engine.storage.database import LARGE_LOAD, Database, Transaction

_PIECE = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A backup that was brought back."""

    manifest: Manifest
    #: What of it does not come back.
    erased_again: ErasedAgain
    #: Holds, quarantines and revoked keys of the store before that were applied, by kind.
    carried: Mapping[str, int]


def check(path: Path, progress: Progress = no_progress) -> Manifest:
    """Read the whole file, compare it with its checksums, and say what it holds.

    Raises:
        BackupDamaged: it is no backup, is cut off, or was changed.
        SchemaMismatch: a later version of the program made it.
    """
    with backup_file.opened(path) as archive:
        manifest = backup_file.read_manifest(archive, path)
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
    of it is there in the end or nothing has changed. What this store erased, or the backup's, does not come back. What
    this store forbids stays forbidden: holds and quarantines, and what its keepers forbid, such as revoked API keys.

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
    with backup_file.opened(path) as archive, database.write_alone() as db, _fitting(path):
        database.refuse_company(db)
        before = _Before(db, keepers)
        if not replace and before.is_used:
            raise StoreNotEmpty
        tables.drop_all(db)
        migrations.upgrade_within(db, manifest.schema)
        _write(db, archive, path, manifest, progress)
        migrations.upgrade_within(db, "head")
        now = to_micros(clock.now())
        _settle(db, now)
        store_settings.put(db, store_settings.REPLACED, before.store_ids)
        if before.erased is not None:
            suppression.put_back(db, before.erased)
        made_at = to_micros(datetime.fromisoformat(manifest.made_at))
        again = suppression.erase_again(database, db, clock, keepers, made_at=made_at)
        carried = before.put_back(db, keepers, now)
    if database.high_water is not None:
        database.high_water.forget()
    if sum(entry.rows for entry in manifest.tables.values()) > LARGE_LOAD:
        database.analyse()
    return Restored(manifest=manifest, erased_again=again, carried=carried)


def _write(
    db: Transaction, archive: zipfile.ZipFile, path: Path, manifest: Manifest, progress: Progress
) -> None:  # fmt: skip
    for table in tables.all_tables(db):
        if (entry := manifest.tables.get(table.name)) is None:
            continue
        batches = backup_file.row_batches(archive, path, table.name, entry)
        for written in tables.write_rows(db, table, entry.columns, batches):
            progress(f"restoring {table.name}", written)


@contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """Turn what values of a wrong kind bring about, of which only a crafted file has any, into one error."""
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError) as exc:
        raise BackupDamaged(f"{path} is damaged: what it holds does not fit together.") from exc


def is_used(db: Transaction) -> bool:
    """Whether anybody ever wrote to the store."""
    return "scopes" in tables.names(db) and bool(scopes.all_scopes(db))


class _Before:
    """What the store erased and forbids, read before its tables are dropped."""

    def __init__(self, db: Transaction, keepers: Mapping[str, Keeper]) -> None:
        self.erased = suppression.take_along(db)
        names = ("store_id", store_settings.REPLACED) if "store_settings" in tables.names(db) else ()
        ids = [store_settings.setting(db, name) for name in names]
        #: Of the stores whose vectors a Chroma server may still have.
        self.store_ids = ",".join(each for each in ids if each)
        self._marks = carrying.take_along(db)
        self._kept = {name: keeper.take_along(db) for name, keeper in keepers.items()}
        self.is_used = is_used(db) or any(self._kept.values())

    def put_back(self, db: Transaction, keepers: Mapping[str, Keeper], now: int) -> dict[str, int]:
        """Forbid it in the restored store, and return counts of what was changed, by kind."""
        counts = carrying.put_back(db, self._marks, now)
        for name, keeper in keepers.items():
            counts |= keeper.put_back(db, self._kept[name] if self.is_used else None)
        return counts


def _settle(db: Transaction, now: int) -> None:
    """What has to be so once the rows are in and the schema is this program's; within the restore's transaction."""
    tables.settle_counters(db)
    # Another name for the vector index's collections: those of before know nothing of these rows.
    store_settings.put(db, "store_id", secrets.token_hex(4))
    for key, (last_seq, _) in scopes.counters(db).items():
        if last_seq:
            outbox.delete_until(db, key, last_seq)
            outbox.insert_pending(db, outbox.Pending(key=key, first_seq=0, last_seq=last_seq), now)
