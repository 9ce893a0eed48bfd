"""Proof of erasures: hidden rows are removed, files are cleaned, and every byte of them is looked through."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from memory_engine.attempts import Attempts
from memory_engine.canaries import WINDOW, Hasher, Hashes, Scanned, Sieve, scan
from memory_engine.erasure import Eraser, Going
from memory_engine.errors import StoreUnavailable
from memory_engine.generation import Generation
from memory_engine.models import ScopeKey, from_micros, to_micros
from memory_engine.ports import Clock, Progress, no_progress
from memory_engine.storage import receipts, scopes, standing
from memory_engine.storage.database import Database
from memory_engine.storage.receipts import Pending
from memory_engine.storage.set_aside import OF_STORE, Item
from memory_engine.vectors.chroma import Chroma

#: What its failures are kept under.
_STAGE = "proving"
#: Bytes of rows that are hashed together.
_BLOCK = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Where a store keeps what it has."""

    database: Database
    #: None where everything is on servers.
    folder: Path | None
    chroma: Chroma
    serving: Callable[[], Generation]


class Prover:
    """Brings the receipts of one store from "pending" to "done"."""

    def __init__(
        self,
        files: Files,
        eraser: Eraser,
        hasher: Hasher,
        clock: Clock,
        *,
        attempts: Attempts,
        closing: threading.Event,
    ) -> None:
        """Take the parts, and the event that breaks a proof off; it is begun anew when the store is next opened."""
        self._attempts = attempts
        self._database = files.database
        self._folder = files.folder
        self._chroma = files.chroma
        self._serving = files.serving
        self._eraser = eraser
        self._hasher = hasher
        self._closing = closing
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def work(self, progress: Progress = no_progress) -> int:
        """Prove every receipt that is pending; how many are done now.

        A receipt that cannot be read is left for later, after the last attempt set aside; the others are proved.

        Raises:
            MemoryEngineError: the store or the index does not answer; what is not proved stays pending.
        """
        with self._one_at_a_time:
            with self._database.read() as db:
                pending = receipts.pending(db)
            held_back = self._attempts.held_back(_STAGE) if pending else {}
            keys, wanted = set[ScopeKey](), dict[str, Hashes]()
            for receipt in pending:
                failed = held_back.get((OF_STORE, receipt.receipt_id))
                item = Item(key=OF_STORE, stage=_STAGE, name=receipt.receipt_id, has_failed=failed is not None)
                if not failed and self._attempts.made(item, partial(self._prepare, receipt, wanted, progress)):
                    keys.update(receipt.scopes)
            if not wanted:
                return 0
            self._clean_index(keys, progress)
            self._database.compact(self._closing)
            return self._prove(wanted, progress)

    def _prepare(self, receipt: Pending, wanted: dict[str, Hashes], progress: Progress) -> None:
        """Remove the rows that a receipt stands for, and note what is looked for."""
        scopes_of_it = receipt.scopes
        if receipt.kind in ("user", "namespace"):
            for key in scopes_of_it:
                progress("removing rows", 0)
                self._eraser.remove_hidden(key, Going(receipt_id=receipt.receipt_id, owner=receipt.owner))
                self._serving().residents.forget(key)
        wanted[receipt.receipt_id] = self._canaries(receipt.receipt_id)

    def _canaries(self, receipt_id: str) -> Hashes:
        with self._database.read() as db:
            return np.frombuffer(receipts.canaries(db, receipt_id), "<u8")

    def verify(self, receipt_id: str, progress: Progress = no_progress) -> dict[str, Any]:
        """Look once more for what a receipt stands for, and keep what was found with the receipt.

        Raises:
            StoreError: the store does not answer.
        """
        with self._one_at_a_time:
            self._database.compact(self._closing)
            seen = self._seen({receipt_id: self._canaries(receipt_id)}, progress)
            with self._database.write() as db:
                receipts.write(db, receipt_id, scan=seen[receipt_id])
            return seen[receipt_id]

    def _prove(self, wanted: Mapping[str, Hashes], progress: Progress) -> int:
        seen = self._seen(wanted, progress)
        if any(found["found"] for found in seen.values()):
            # What SQLite moved within a page can leave a copy where no row is.
            progress("writing the database anew", 0)
            self._database.rewrite()
            seen = {name: {**found, "rewritten": True} for name, found in self._seen(wanted, progress).items()}
        now, done = to_micros(self._clock.now()), 0
        with self._database.write() as db:
            for name, found in seen.items():
                proved = not found["found"]
                state = {"state": "done", "completed_at": now} if proved else {}
                receipts.write(db, name, scan=found, **state)
                done += proved
        return done

    def _seen(self, wanted: Mapping[str, Hashes], progress: Progress) -> dict[str, dict[str, Any]]:
        """What the files and the rows hold of each receipt's canaries."""
        every = np.unique(np.concatenate([*wanted.values(), np.zeros(0, np.uint64)]))
        progress("looking through every byte", 0)
        scanned = self._scanned(every)
        in_files = np.array(sorted(scanned.found), np.uint64)
        # Where the files cannot be looked at, the rows are.
        rows = self._standing(in_files if self._can_scan else every)
        return {name: self._told(of, scanned, rows) for name, of in wanted.items()}

    def _told(self, wanted: Hashes, scanned: Scanned, rows: Mapping[int, set[str]]) -> dict[str, Any]:
        mine = {int(canary) for canary in wanted}
        elsewhere = Counter(table for canary, tables in rows.items() if canary in mine for table in tables)
        left = {canary: file for canary, file in scanned.found.items() if canary in mine and canary not in rows}
        return {
            "at": from_micros(to_micros(self._clock.now())).isoformat(),
            "files": scanned.files,
            "bytes": scanned.bytes,
            "canaries": len(mine),
            "found": len(left),
            "found_in": sorted(set(left.values())),
            # The same words, said by others or at other times, are not what was erased.
            "said_elsewhere": dict(sorted(elsewhere.items())),
            "not_in_reach": self._not_in_reach(),
        }

    @property
    def _can_scan(self) -> bool:
        return self._folder is not None and self._database.is_sqlite

    def _scanned(self, wanted: Hashes) -> Scanned:
        if self._folder is None:
            return Scanned(files=0, bytes=0, found={})
        inside = self._folder.resolve()
        outside = [path for path in self._database.files if not path.resolve().is_relative_to(inside)]
        try:
            return scan(self._folder, outside, self._hasher, wanted, closing=self._closing)
        except OSError as exc:
            raise StoreUnavailable(f"A file cannot be read to prove an erasure: {exc}.") from exc

    def _standing(self, wanted: Hashes) -> dict[int, set[str]]:
        """In which tables these canaries stand as somebody's rows."""
        found: dict[int, set[str]] = {}
        if not len(wanted):
            return found
        sieve, held, table_of_held = Sieve(wanted), bytearray(), ""

        def look() -> None:
            for canary in sieve.caught(self._hasher.everywhere(bytes(held))):
                found.setdefault(canary, set()).add(table_of_held)
            held.clear()

        with self._database.read() as db, closing(standing.cells(db)) as cells:
            for table, value in cells:
                if table != table_of_held or len(held) > _BLOCK:
                    if self._closing.is_set():
                        raise StoreUnavailable("The store is closed before an erasure is proved.")
                    look()
                    table_of_held = table
                held += value + bytes(WINDOW)
        look()
        return found

    def _clean_index(self, keys: set[ScopeKey], progress: Progress) -> None:
        """Make the vector index anew where it had what went: what it deletes stays in its files."""
        generation = self._serving()
        if not any(generation.index.watermark(key) for key in keys):
            return
        generation.index.drop_for_good(keys)
        with self._database.read() as db:
            left = scopes.all_scopes(db)
        for key in left:
            generation.indexer.catch_up(key, progress)

    def _not_in_reach(self) -> list[str]:
        reasons = []
        if not self._database.is_sqlite:
            reasons.append("the files, logs and replicas of the PostgreSQL server: its rows were looked through")
        if self._chroma.folder is None:
            reasons.append("the files of the Chroma server: its collections were made anew")
        return [*reasons, "backups and copies made by others"]
