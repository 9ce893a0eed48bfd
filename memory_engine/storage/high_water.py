"""The high-water mark: what was committed last, told outside the database, so that a loss there is noticed.

SQLite drops the end of a write-ahead log that is cut off or gone without a word. Beside the database's file lies
`NAME.mark`, a ring of the last commits in lines of one length, written without fsync once a commit is durable: a
process that is killed leaves it whole. What is found missing at open is kept in `NAME.lost` until it is acknowledged.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from memory_engine.clock import SystemClock
from memory_engine.models import ScopeKey, from_micros, to_micros
from memory_engine.storage.private_files import OWNER_ALONE_FILE, write_private

#: More commits than a write-ahead log holds before SQLite empties it, unless a reader hinders that.
_LINES = 2048
_LINE = (
    "{number:019d} {at:019d} {namespace_id:010d} {scope_id:010d} {last_seq:019d} {last_change:019d} {messages:07d}\n"
)
_TAKEN = "memory_engine.taken"
_WIDTH = len(_LINE.format(number=0, at=0, namespace_id=0, scope_id=0, last_seq=0, last_change=0, messages=0))


@dataclass(slots=True)
class Taken:
    """The places that an open transaction takes in the order of scopes."""

    #: The last place and the last change of each scope; 0 where none was taken.
    last: dict[ScopeKey, tuple[int, int]] = field(default_factory=dict)
    messages: dict[ScopeKey, int] = field(default_factory=dict)

    def note(self, key: ScopeKey, *, last_seq: int = 0, last_change: int = 0, messages: int = 0) -> None:
        """A scope's counter went up."""
        seq, change = self.last.get(key, (0, 0))
        self.last[key] = (max(seq, last_seq), max(change, last_change))
        self.messages[key] = self.messages.get(key, 0) + messages

    def gone(self, key: ScopeKey) -> None:
        """A scope was removed on purpose: what the mark knows of it counts no more."""
        self.last[key], self.messages[key] = (0, 0), 0


def taken_in(db: Connection) -> Taken:
    """What the open transaction has taken until now."""
    taken: Taken = db.info.setdefault(_TAKEN, Taken())
    return taken


def begin(db: Connection) -> Taken:
    """The account of a transaction that begins on this connection."""
    db.info[_TAKEN] = taken = Taken()
    return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """What was acknowledged and is not in the database; times in microseconds."""

    messages: int
    edits: int
    first_at: int
    last_at: int

    def __str__(self) -> str:
        span = f"between {_told(self.first_at)} and {_told(self.last_at)}"
        edits = f" and {self.edits:,} edits or erasures" if self.edits else ""
        return f"{self.messages:,} messages{edits} acknowledged {span} are not in the database"

    def joined(self, other: "Lost") -> "Lost":
        """Both together."""
        return Lost(
            messages=self.messages + other.messages,
            edits=self.edits + other.edits,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
        )


class HighWater:
    """The mark of one SQLite file."""

    def __init__(self, database: Path) -> None:
        """Nothing is opened yet."""
        self._clock = SystemClock()  # the machine's: what a person looks up in its logs
        self._path = database.with_name(database.name + ".mark")
        self._lost_path = database.with_name(database.name + ".lost")
        self._file: int | None = None
        #: The number of the next line; its place is that within the ring.
        self._next = 1
        self._lock = threading.Lock()
        #: What is known to be lost and was not acknowledged.
        self.lost: Lost | None = None

    def compare(self, counters: Mapping[ScopeKey, tuple[int, int]]) -> Lost | None:
        """Say what the mark knows and the database does not, and begin the mark anew if there is such a thing.

        Args:
            counters: each scope's last place and last change in the database.
        """
        with self._lock:
            found = _behind(self._lines(), counters)
            self.lost = self._kept()
            if found is not None:
                self.lost = found if self.lost is None else self.lost.joined(found)
                with suppress(OSError):  # a disk that is full: then the mark stays, and says the same next time
                    write_private(self._lost_path, json.dumps(asdict(self.lost)))
                    self._begin_anew()
            return self.lost

    def note(self, taken: Taken) -> None:
        """A transaction is durable. What the disk refuses to take is left out."""
        with self._lock:
            at = to_micros(self._clock.now()) if taken.last else 0
            for key, (last_seq, last_change) in taken.last.items():
                row = {"last_seq": last_seq, "last_change": last_change, "messages": taken.messages[key]}
                line = _LINE.format(
                    number=self._next, at=at, namespace_id=key.namespace_id, scope_id=key.scope_id, **row
                )
                try:
                    os.pwrite(self._opened(), line.encode(), (self._next - 1) % _LINES * _WIDTH)
                except OSError:
                    return  # what is committed stays so, and the next commit tries again
                self._next += 1

    def acknowledge(self) -> None:
        """What is lost is known to be so."""
        with self._lock:
            self._lost_path.unlink(missing_ok=True)
            self.lost = None

    def forget(self) -> None:
        """The database is another one now, or scopes of it are gone on purpose."""
        with self._lock:
            self._begin_anew()
            self._lost_path.unlink(missing_ok=True)
            self.lost = None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, OWNER_ALONE_FILE)
        return self._file

    def _begin_anew(self) -> None:
        if self._path.exists():
            os.ftruncate(self._opened(), 0)
        self._next = 1

    def _lines(self) -> list[tuple[int, ...]]:
        """The commits of the ring that can be read; the next goes after the newest of them."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        parsed = [_parsed(content[start : start + _WIDTH]) for start in range(0, len(content), _WIDTH)]
        found = [line for line in parsed if line is not None]
        self._next = max((line[0] for line in found), default=0) + 1
        return found

    def _kept(self) -> Lost | None:
        try:
            return Lost(**json.loads(self._lost_path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return Lost(messages=0, edits=0, first_at=0, last_at=0)


def _parsed(line: bytes) -> tuple[int, ...] | None:
    fields = line.split()
    if len(line) != _WIDTH or len(fields) != 7 or not all(part.isdigit() for part in fields):
        return None  # torn when the machine went down
    return tuple(int(part) for part in fields)


def _behind(lines: Iterable[tuple[int, ...]], counters: Mapping[ScopeKey, tuple[int, int]]) -> Lost | None:
    by_scope: dict[ScopeKey, list[tuple[int, int, int]]] = {}
    for _, at, namespace_id, scope_id, last_seq, last_change, messages in sorted(lines):
        key = ScopeKey(namespace_id, scope_id)
        seq, change = counters.get(key, (0, 0))
        if not last_seq and not last_change:
            by_scope.pop(key, None)  # it was removed on purpose
        elif last_seq > seq or last_change > change:
            told = (at, messages if last_seq > seq else 0, int(last_change > change))
            by_scope.setdefault(key, []).append(told)
    missing = [told for some in by_scope.values() for told in some]
    if not missing:
        return None
    times = [at for at, _, _ in missing]
    return Lost(
        messages=sum(messages for _, messages, _ in missing),
        edits=sum(edits for _, _, edits in missing),
        first_at=min(times),
        last_at=max(times),
    )


def _told(at: int) -> str:
    return from_micros(at).isoformat(timespec="seconds").replace("+00:00", "Z")
