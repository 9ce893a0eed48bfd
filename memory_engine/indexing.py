"""From the outbox to vectors and their index: one background thread whose every step can be done again."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from memory_engine.attempts import Attempts, described, unless_damaged
from memory_engine.errors import IndexUnavailable, MemoryEngineError
from memory_engine.models import ScopeKey
from memory_engine.ports import Progress, no_progress
from memory_engine.recall.resident import ResidentScopes
from memory_engine.remembering import Rememberer
from memory_engine.storage import changes, embeddings, messages, outbox, scopes, store_settings
from memory_engine.storage.database import LARGE_LOAD, Database
from memory_engine.storage.outbox import Pending
from memory_engine.storage.set_aside import Item
from memory_engine.vectors.chroma import ChromaIndex

_BATCH = 2_000
#: What its failures are kept under, and the name of the item that is a scope as a whole.
_STAGE, _SCOPE = "indexing", "scope"
#: Vectors that are counted in a scope to tell how far the index is behind.
_MOST_COUNTED = 100_000
#: Rows of a queue that are read at once.
_ROWS = 500
_RETRY_SECONDS = 5.0
#: Seconds between two looks at what a Chroma server has of the collections that recall uses.
_LOOK_SECONDS = 30.0
#: Without a commit for so long it is calm; what waits for that is done so often at the least.
_CALM_SECONDS, _ROUND_SECONDS = 2.0, 30.0


class Indexer:
    """Embeds what was kept without a vector, and brings vectors to the index of scopes that are large enough."""

    def __init__(  # noqa: PLR0913  (each is another part of a generation)
        self,
        database: Database,
        index: ChromaIndex,
        rememberer: Rememberer,
        residents: ResidentScopes,
        *,
        attempts: Attempts,
        space_id: int,
        threshold: int,
        closing: threading.Event,
    ) -> None:
        """Take the parts of a generation, and the event that breaks long work off, to go on when next opened."""
        self._database = database
        self._index = index
        self._rememberer = rememberer
        self._residents = residents
        self._attempts = attempts
        self._space_id = space_id
        self._dimension = rememberer.space.dimension
        self._threshold = threshold
        self._closing = closing
        #: Messages that came since the database was last analysed.
        self._fresh = 0
        #: The scopes whose changes wait for a server, in this round.
        self._held = set[ScopeKey]()
        self._next_look = 0.0

    def work(self) -> None:
        """Do all that waits, what was committed and what was changed in turns: neither may keep the other waiting.

        Raises:
            MemoryEngineError: the store, the embedder or the index does not answer; what waits stays. While a Chroma
                server is away, all that does not need it is done first.
        """
        self._held.clear()
        while self._drain_some() + self._follow_some():
            pass
        if self._fresh > LARGE_LOAD:
            self._fresh = 0
            self._database.analyse()
        for item in self._attempts.due(_STAGE):
            if not self._closing.is_set():
                self._attempts.made(item, partial(self._again, item))
        self._look_after_server()

    def drain(self) -> int:
        """Work through the outbox until nothing waits or the store is closed, and return how many rows were done.

        Raises:
            MemoryEngineError: the store, the embedder or the index does not answer; the rows stay.
        """
        return sum(iter(self._drain_some, 0))

    def _drain_some(self) -> int:
        """The oldest rows of the outbox; how many were done, none once the store is closed."""
        with self._database.read() as db:
            pending = outbox.oldest(db, _ROWS)
        for key in dict.fromkeys(row.key for row in pending):
            rows = [row for row in pending if row.key == key]
            was_done = self._attempts.made(_whole(key), partial(self._bring, key, rows))
            if self._closing.is_set():
                return 0
            with self._database.write() as db:
                if was_done:
                    outbox.delete_until(db, key, max(row.last_seq for row in rows))
                outbox.delete_rows(db, [] if was_done else rows)  # what failed waits among the failures
            if was_done:  # a damaged row has no numbers
                self._fresh += sum(row.last_seq - row.first_seq + 1 for row in rows)
        return len(pending)

    def _bring(self, key: ScopeKey, rows: Sequence[Pending]) -> None:
        with self._database.read() as db:
            newest = scopes.newest(db, key)
        if newest:  # else the scope was erased
            self._embed(key, min(row.first_seq for row in rows), min(newest, max(row.last_seq for row in rows)))
            try:
                self.catch_up(key)
            except IndexUnavailable:
                if not self._index.is_server:
                    raise
                self._index.distrust(key)  # it catches up when it is compared

    def _embed(self, key: ScopeKey, first: int, last: int) -> None:
        for start in range(max(0, first), last + 1, _BATCH):
            if self._closing.is_set():
                return
            until = min(start + _BATCH - 1, last)
            after = start - 1
            embedded = unless_damaged(partial(self._rememberer.embed_lacking, key, after=after, until=until), None)
            if embedded is None:
                embedded = self._embed_one_by_one(key, after, until)
            if embedded and self._rememberer.embeds_at_once:
                self._residents.forget(key)  # they came after what follows them: another space was left meanwhile

    def _embed_one_by_one(self, key: ScopeKey, after: int, until: int) -> int:
        """Embed what lacks a vector message by message, because one of them cannot be read; how many it were."""
        with self._database.read() as db:
            seqs = embeddings.lacking_seqs(db, key, self._space_id, after=after, until=until, limit=_BATCH)
        return sum(self._attempts.made(self._item(key, seq), partial(self._bring_one, key, seq)) for seq in seqs)

    def _item(self, key: ScopeKey, seq: int) -> Item:
        with self._database.read() as db:
            thread_id = messages.thread_of(db, key, seq)
        return Item(key=key, stage=_STAGE, name=str(seq), thread_id=thread_id)

    def _bring_one(self, key: ScopeKey, seq: int) -> None:
        if self._rememberer.embed_these(key, [seq]):
            self._residents.forget(key)
        self.replace(key, [seq])

    def _again(self, item: Item) -> None:
        """Do again what failed: a message, or the whole scope."""
        if item.name != _SCOPE:
            self._bring_one(item.key, int(item.name))
            return
        self._bring(item.key, [Pending(key=item.key, first_seq=1, last_seq=messages.LAST_SEQ)])

    def follow(self) -> int:
        """Bring edits and erasures to the index, and return how many there were.

        Raises:
            MemoryEngineError: the store, the embedder or the index does not answer; the rows stay.
        """
        return sum(iter(self._follow_some, 0))

    def _follow_some(self) -> int:
        """The first scope's oldest changes; how many there were, none once the store is closed."""
        with self._database.read() as db:
            waiting = changes.waiting(db, _ROWS, but=self._held)
        if not waiting or self._closing.is_set():
            return 0
        key = waiting[0][0]
        mine = [(change, seq) for owner, change, seq in waiting if owner == key]
        try:
            self._follow_of(key, mine)
        except IndexUnavailable:
            if not self._index.is_server:
                raise
            self._held.add(key)
        return len(mine)

    def _follow_of(self, key: ScopeKey, mine: Sequence[tuple[int | None, int | None]]) -> None:
        seqs = sorted({seq for _, seq in mine if seq is not None})
        if any(seq is None for _, seq in mine) and self._is_large(key):
            self.rebuild(key)  # the damaged rows no longer say what it lacks
        if unless_damaged(partial(self._follow_these, key, seqs), None) is None:
            for seq in seqs:
                self._attempts.made(self._item(key, seq), partial(self._bring_one, key, seq))
        else:
            self._attempts.settle(key, _STAGE, [str(seq) for seq in seqs])
        numbers = [change for change, _ in mine if change is not None]
        with self._database.write() as db:
            if numbers:
                changes.followed(db, key, numbers[-1])
            if len(numbers) < len(mine):
                changes.drop_damaged(db, key)

    def _follow_these(self, key: ScopeKey, seqs: Sequence[int]) -> bool:
        embedded = self._rememberer.embed_these(key, seqs)
        self.replace(key, seqs)
        if embedded or not self._rememberer.embeds_at_once:
            self._residents.forget(key)  # vectors came after what follows them
        return True

    def replace(self, key: ScopeKey, seqs: Sequence[int]) -> None:
        """Have the index hold what SQL has of these messages, where it holds the scope at all.

        Raises:
            IndexUnavailable: the index does not answer.
        """
        if (watermark := self._index.watermark(key)) == 0:
            return
        self._index.remove(key, seqs)
        with self._database.read() as db:
            found, rows = embeddings.vectors_of(db, key, self._space_id, [seq for seq in seqs if seq <= watermark])
        if len(found):
            vectors = embeddings.unpack(rows, self._dimension)
            self._index.add(key, found.tolist(), vectors, watermark=watermark, after=watermark)

    def catch_up(self, key: ScopeKey, progress: Progress = no_progress) -> None:
        """Bring the scope's newer vectors to the index, batch by batch; small scopes have no use for it.

        It is broken off when the store is closed. What the index has not got is ranked by SQL.
        """
        if not self._is_large(key):
            return
        while not self._closing.is_set():
            after = self._index.watermark(key)
            with self._database.read() as db:
                seqs, rows = embeddings.vectors_after(db, key, self._space_id, after, _BATCH)
                if len(seqs) == _BATCH and seqs[0] != seqs[-1]:
                    # The last message's chunks may go on in the next batch: leave it whole for then.
                    keep = int((seqs < seqs[-1]).sum())
                    seqs, rows = seqs[:keep], rows[:keep]
            if not len(seqs):
                return
            vectors = embeddings.unpack(rows, self._dimension)
            self._index.add(key, seqs.tolist(), vectors, watermark=int(seqs[-1]), after=after)
            progress("building the vector index", len(seqs))

    def _is_large(self, key: ScopeKey) -> bool:
        """Whether the index has the scope, or should. It is asked at each commit, and to count takes long."""
        with self._database.read() as db:
            if scopes.marks(db, key)[0] < self._threshold:
                return False
        if self._index.watermark(key):
            return True
        with self._database.read() as db:
            return embeddings.count_vectors(db, key, self._space_id) >= self._threshold

    def rebuild(self, key: ScopeKey, progress: Progress = no_progress) -> None:
        """Make the scope's vector index anew.

        Raises:
            IndexUnavailable: the index does not answer.
        """
        self._index.drop(key)
        self.catch_up(key, progress)

    def _look_after_server(self) -> None:
        """Compare a server's collections with SQL where that was not done since it last failed, and fill them.

        Raises:
            IndexUnavailable: the server does not answer; it is tried again.
        """
        if not self._index.is_server:
            return
        is_due = time.monotonic() >= self._next_look
        if is_due:
            self._index.ping()
            self._drop_replaced()
        for key in self._large():
            if not self._closing.is_set():
                self._look_after(key, is_due)
        if is_due:
            self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._held:
            raise IndexUnavailable("Edits and erasures wait for the Chroma server.")

    def _look_after(self, key: ScopeKey, is_due: bool) -> None:
        if is_due and self._index.lost_rows(key):
            self._index.distrust(key)
        if not self._index.is_trusted(key):
            self._compare(key)

    def _large(self) -> list[ScopeKey]:
        with self._database.read() as db:
            return scopes.with_places(db, self._threshold)

    def _compare(self, key: ScopeKey) -> None:
        """Have the index hold as many rows as SQL, and then have recall use it."""
        with self._database.read() as db:
            if changes.count_of_scope(db, key):
                return  # they come first, in the next round
        if not self._is_large(key):
            return
        self.catch_up(key)
        if not self._closing.is_set() and not self._has_all_rows(key):
            self.rebuild(key)
        if not self._closing.is_set():
            self._index.trust(key)

    def _has_all_rows(self, key: ScopeKey) -> bool:
        until = self._index.watermark(key)
        with self._database.read() as db:
            expected = embeddings.count_vectors_between(db, key, self._space_id, until=until)
        return self._index.count(key) == expected

    def _drop_replaced(self) -> None:
        """Delete the collections of stores that a restore replaced."""
        with self._database.read() as db:
            replaced = store_settings.setting(db, store_settings.REPLACED)
        if replaced:
            self._index.drop_stores(replaced.split(","))
            with self._database.write() as db:
                store_settings.put(db, store_settings.REPLACED, "")

    def shortfall(self) -> "Shortfall":
        """Compare what a server's collections have with SQL, within about two seconds."""
        end, found = time.monotonic() + 1.0, Shortfall()
        for key in self._large() if self._index.is_server else []:
            is_trusted = self._index.is_trusted(key)
            after = self._index.last_watermark(key)
            with self._database.read() as db:
                newer = embeddings.count_vectors_between(db, key, self._space_id, after=after, most=_MOST_COUNTED)
            if not after and newer < self._threshold:
                continue
            lost = 0
            if is_trusted and time.monotonic() < end:
                lost = unless_away(partial(self._index.lost_rows, key))
                is_trusted = self._index.is_trusted(key) and not lost
                if lost:
                    self._index.distrust(key)
            found = found.plus(behind=newer + lost, untrusted=not is_trusted)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """What a Chroma server lacks."""

    #: Vectors of SQL that it does not have.
    behind: int = 0
    #: Scopes that recall does not ask it about.
    scopes: int = 0

    def plus(self, *, behind: int, untrusted: bool) -> "Shortfall":
        """Return the sum with another scope's."""
        return Shortfall(behind=self.behind + behind, scopes=self.scopes + untrusted)


def unless_away(ask: Callable[[], int]) -> int:
    """Return the answer, or 0 if the server does not answer; the outage is told elsewhere."""
    try:
        return ask()
    except IndexUnavailable:
        return 0


def _whole(key: ScopeKey) -> Item:
    return Item(key=key, stage=_STAGE, name=_SCOPE)


class BackgroundWorker:
    """A thread that does one kind of work whenever something was committed: at once, or when it is calm, or overdue.

    Nothing that the work raises ends the thread. Where it ends all the same, the next notice or look starts another.
    """

    def __init__(
        self, work: Callable[[], object], *, at_once: bool = False, are_waiting: Callable[[], bool] | None = None
    ) -> None:
        """Take the work.

        Args:
            work: done in rounds that can be repeated.
            at_once: it cannot wait.
            are_waiting: whether items that failed are soon tried again.
        """
        self._work = work
        self._at_once = at_once
        self._are_waiting = are_waiting
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        #: What went wrong last, or None when the last round went well.
        self.problem: str | None = None

    def start(self) -> None:
        """Begin, with whatever an earlier process left."""
        self._wake.set()
        with self._starting:
            self._begin()

    def notify(self) -> None:
        """Something was committed."""
        self._wake.set()
        self.revive()

    def revive(self) -> bool:
        """Start the thread again where it ended without being stopped; returns whether it runs as it should."""
        thread = self._thread
        if thread is None or thread.is_alive() or self._stopping.is_set():
            return True
        with self._starting:
            if self._thread is thread:
                try:
                    self._begin()
                except RuntimeError:  # the system gives no more threads
                    return False
        return True

    def stop(self) -> None:
        """Finish the step at hand and end."""
        self._stopping.set()
        self._wake.set()
        with self._starting:
            if self._thread is not None:
                self._thread.join()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._live, name="background", daemon=True)
        thread.start()
        self._thread = thread

    def _live(self) -> None:
        try:
            self._run()
        except BaseException as exc:  # noqa: BLE001  (the thread ends; it is told, and another one is started)
            self.problem = f"The thread ended: {described(exc)}."
            self._wake.set()

    def _run(self) -> None:
        wait, worked = 0.0, time.monotonic()
        while True:
            woken = self._wake.wait(timeout=wait)
            self._wake.clear()
            if self._stopping.is_set():
                return
            if self._at_once or not woken or time.monotonic() - worked > _ROUND_SECONDS:
                wait, worked = self._round(), time.monotonic()
            else:
                wait = _CALM_SECONDS

    def _round(self) -> float:
        """Do the work once; returns the seconds until the next round."""
        try:
            self._work()
            self.problem = None
            return _RETRY_SECONDS if self._are_waiting is not None and self._are_waiting() else _ROUND_SECONDS
        except MemoryEngineError as exc:
            self.problem = exc.message
        except Exception as exc:  # noqa: BLE001  (the thread goes on whatever the work raises)
            self.problem = f"The work failed: {described(exc)}."
        return _RETRY_SECONDS
