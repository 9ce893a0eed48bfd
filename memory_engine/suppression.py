"""What was erased does not come back with a backup: the list of it outlives the rows, and is held against them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memory_engine.canaries import Hasher
from memory_engine.digests import Digests
from memory_engine.erasure import ErasedAgain, Eraser, Keeper
from memory_engine.ports import Clock
from memory_engine.storage import store_settings, tables
from memory_engine.storage.database import Database, Transaction

#: The setting that holds the key of the list's hashes.
KEY = "erasure_key"
#: Each after those that it refers to.
_TABLES = ("erasure_receipts", "erasure_canaries", "suppressions", "erased_names")


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedList:
    """What a store knows of its erasures: the key of the hashes, and the rows of each table."""

    key: str
    rows: Mapping[str, tuple[tuple[str, ...], list[list[Any]]]]


def take_along(db: Transaction) -> ErasedList | None:
    """The list of the store as it is, or None where nothing was ever erased."""
    if not set(_TABLES) <= set(tables.names(db)) or (key := store_settings.setting(db, KEY)) is None:
        return None
    found = {table.name: table for table in tables.all_tables(db) if table.name in _TABLES}
    rows = {
        name: (tuple(table.columns.keys()), [row for batch in tables.read_rows(db, table) for row in batch])
        for name, table in found.items()
    }
    return ErasedList(key=key, rows=rows) if rows["erasure_receipts"][1] else None


def put_back(db: Transaction, erased: ErasedList) -> None:
    """Add the list to that of the rows that were restored; one of another key, which no hash here fits, goes."""
    if store_settings.setting(db, KEY) != erased.key:
        for name in reversed(_TABLES):
            tables.empty(db, name)
        store_settings.put(db, KEY, erased.key)
    for name in _TABLES:
        columns, rows = erased.rows[name]
        tables.add_rows(db, name, columns, rows)


def erase_again(
    database: Database, db: Transaction, clock: Clock, keepers: Mapping[str, Keeper], *, made_at: int
) -> ErasedAgain:
    """Take out of restored rows what was erased, and return how much it was.

    They go as they went before, with a receipt of their own, which is proved when the store is next opened.

    Args:
        database: the store.
        db: the restore's transaction.
        clock: tells the time of the receipt.
        keepers: who keeps copies of messages in the same database.
        made_at: when the rows were copied, microseconds: who was erased as a whole since is erased as a whole again.
    """
    key = store_settings.setting(db, KEY)
    if key is None:
        return ErasedAgain()
    eraser = Eraser(database, clock, Digests(bytes.fromhex(key)), Hasher.of(bytes.fromhex(key)))
    eraser.keepers.update(keepers)
    return eraser.erase_again(db, made_at)
