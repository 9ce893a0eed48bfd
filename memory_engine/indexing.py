"""From the outbox to vectors and their index: one background thread whose every step can be done again."""

import threading
import time
from collections.abc import Callable, Sequence

from memory_engine.errors import MemoryEngineError
from memory_engine.models import ScopeKey
from memory_engine.ports import Progress, VectorIndex, no_progress
from memory_engine.recall.resident import ResidentScopes
from memory_engine.remembering import Rememberer
from memory_engine.storage import changes, embeddings, outbox, scopes
from memory_engine.storage.database import Database

_BATCH = 2_000
#: Rows of a queue that are read at once.
_ROWS = 500
_RETRY_SECONDS = 5.0
#: Without a commit for so long it is calm; what waits for that is done so often at the least.
_CALM_SECONDS, _ROUND_SECONDS = 2.0, 30.0


class Indexer:
    """Embeds what was kept without a vector, and brings vectors to the index of scopes that are large enough."""

    def __init__(  # noqa: PLR0913  (each is another part of a generation)
        self,
        database: Database,
        index: VectorIndex,
        rememberer: Rememberer,
        residents: ResidentScopes,
        *,
        space_id: int,
        threshold: int,
        closing: threading.Event,
    ) -> None:
        """Take the parts of a generation, and the event that breaks long work off, to go on when next opened."""
        self._database = database
        self._index = index
        self._rememberer = rememberer
        self._residents = residents
        self._space_id = space_id
        self._dimension = rememberer.space.dimension
        self._threshold = threshold
        self._closing = closing

    def work(self) -> None:
        """Do all that waits, what was committed and what was changed in turns: neither may keep the other waiting.

        Raises:
            MemoryEngineError: the store, the embedder or the index does not answer; what waits stays.
        """
        while self._drain_some() + self._follow_some():
            pass

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
        spans = {
            row.key: (
                min(r.first_seq for r in pending if r.key == row.key),
                max(r.last_seq for r in pending if r.key == row.key),
            )
            for row in pending
        }
        for key, (first, last) in spans.items():
            self._embed(key, first, last)
            self.catch_up(key)
            if self._closing.is_set():
                return 0
            with self._database.write() as db:
                outbox.delete_until(db, key, last)
        return len(pending)

    def _embed(self, key: ScopeKey, first: int, last: int) -> None:
        for start in range(first, last + 1, _BATCH):
            if self._closing.is_set():
                return
            until = min(start + _BATCH - 1, last)
            embedded = self._rememberer.embed_lacking(key, after=start - 1, until=until)
            if embedded and self._rememberer.embeds_at_once:
                self._residents.forget(key)  # they came after what follows them: another space was left meanwhile

    def follow(self) -> int:
        """Bring edits and erasures to the index, and return how many there were.

        Raises:
            MemoryEngineError: the store, the embedder or the index does not answer; the rows stay.
        """
        return sum(iter(self._follow_some, 0))

    def _follow_some(self) -> int:
        """The first scope's oldest changes; how many there were, none once the store is closed."""
        with self._database.read() as db:
            waiting = changes.waiting(db, _ROWS)
        if not waiting or self._closing.is_set():
            return 0
        key = waiting[0][0]
        mine = [(change, seq) for owner, change, seq in waiting if owner == key]
        seqs = sorted({seq for _, seq in mine})
        embedded = self._rememberer.embed_these(key, seqs)
        self.replace(key, seqs)
        if embedded or not self._rememberer.embeds_at_once:
            self._residents.forget(key)  # vectors came after what follows them
        with self._database.write() as db:
            changes.followed(db, key, mine[-1][0])
        return len(mine)

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
            self._index.add(key, found.tolist(), embeddings.unpack(rows, self._dimension), watermark=watermark)

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
            self._index.add(key, seqs.tolist(), vectors, watermark=int(seqs[-1]))
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


class BackgroundWorker:
    """A thread that does one kind of work whenever something was committed: at once, or when it is calm, or overdue."""

    def __init__(self, work: Callable[[], object], *, at_once: bool = False) -> None:
        """Take the work, which is done in rounds that can be repeated, and whether it cannot wait."""
        self._work = work
        self._at_once = at_once
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        #: What went wrong last, or None when the last round went well.
        self.problem: str | None = None

    def start(self) -> None:
        """Begin, with whatever an earlier process left."""
        self._wake.set()
        self._thread.start()

    def notify(self) -> None:
        """Something was committed."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the step at hand and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        wait, worked = 0.0, time.monotonic()
        while True:
            woken = self._wake.wait(timeout=wait)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                if self._at_once or not woken or time.monotonic() - worked > _ROUND_SECONDS:
                    self._work()
                    self.problem = None
                    wait, worked = _ROUND_SECONDS, time.monotonic()
                else:
                    wait = _CALM_SECONDS
            except MemoryEngineError as exc:
                self.problem, wait = exc.message, _RETRY_SECONDS
