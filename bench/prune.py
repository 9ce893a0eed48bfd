"""What a pruning costs those who write meanwhile, and whether a restore brings back the same answers.

Run it by hand: `python -m bench.prune --messages 1000000`. A store of so many messages over two years is built in some
scopes; then writers write, first by themselves and then while what is older than a year (or `--older-than-days`) is
pruned. Printed are the 99th percentile of a write in both, how long the pruning held the writers' lock, whether the dry
run and the run agree, and of fifty questions how many are answered as before once all is restored.

No scope has a vector index of its own here: to build ten of 100,000 vectors takes longer than all the rest. A store
that is there already, in `--data-dir`, is used as it is, its marks taken back.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from api.server import TURN_SECONDS, spare_what_stays, use_one_thread
from memory_engine import MemoryEngine, Scope
from memory_engine.pruning import Share
from memory_engine.retention import Policy, Rule

#: Messages of one conversation, and of one call.
_LENGTH, _CALL = 100, 1_000
_SCOPES = 10
_WORDS = 20_000
_QUESTIONS = 50
#: Between two writes of a writer.
_PAUSE = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one run showed; times in milliseconds."""

    messages: int
    marked: int
    agrees: bool
    same_answers: int
    p99_before: float
    p99_during: float
    longest_write: float
    longest_hold: float
    #: Seconds that the dry run, the pruning and the restore took.
    dry_run: float
    prune: float
    restore: float


class Standing:
    """A clock that stands, so that a dry run and a run see the same day."""

    def __init__(self) -> None:
        self._moment = datetime.now(UTC)

    def now(self) -> datetime:
        """When it was made."""
        return self._moment


class Writers:
    """Threads that write small messages until they are stopped, and how long each write took."""

    def __init__(self, engine: MemoryEngine, count: int) -> None:
        self._engine = engine
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(count)]
        self.took: list[float] = []

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def take(self) -> list[float]:
        """The milliseconds since this was last asked."""
        taken, self.took = self.took, []
        return taken

    def _write(self, number: int) -> None:
        scope, chosen = Scope(user=f"writer-{number}"), random.Random(number)
        while not self._stopping.wait(_PAUSE):
            began = time.perf_counter()
            self._engine.remember(f"writer-{number}", [_message(chosen, None)], scope=scope)
            self.took.append(1000 * (time.perf_counter() - began))


def build(engine: MemoryEngine, messages: int) -> None:
    """Fill a store with conversations over two years."""
    chosen, now = random.Random(7), engine.clock.now()
    per_scope = messages // _SCOPES
    for number in range(_SCOPES):
        for start in range(0, per_scope, _LENGTH):
            at = now - timedelta(days=730) * (1 - start / per_scope)
            if start % _CALL == 0:
                _forget_queue(engine)
            said = [_message(chosen, at + timedelta(seconds=place)) for place in range(min(_LENGTH, per_scope - start))]
            engine.remember(f"c-{number}-{start}", said, scope=_scope(number))
    _forget_queue(engine)


def _forget_queue(engine: MemoryEngine) -> None:
    """Summing up a million messages takes hours, and is measured by bench.growth."""
    with engine.database.write() as db:
        db.execute(text("DELETE FROM consolidation_queue"))


def _scope(number: int) -> Scope:
    return Scope(user=f"user-{number}")


def _message(chosen: random.Random, at: datetime | None) -> dict[str, Any]:
    words = [f"word{min(int(chosen.paretovariate(0.5)), _WORDS)}" for _ in range(12)]
    return {"role": "user", "content": " ".join(words), **({} if at is None else {"created_at": at})}


def _answers(engine: MemoryEngine) -> list[list[tuple[str, float]]]:
    chosen = random.Random(11)
    found = []
    for number in range(_QUESTIONS):
        query = " ".join(f"word{chosen.randrange(2, 200)}" for _ in range(4))
        hits = engine.recall(query, scope=_scope(number % _SCOPES))
        found.append([(hit.message_id, hit.score) for hit in hits])
    return found


@contextmanager
def _holds(engine: MemoryEngine) -> Iterator[list[float]]:
    """How long this thread's transactions kept other writers waiting, in milliseconds."""
    held: list[float] = []
    write, own = engine.database.write, threading.get_ident()

    @contextmanager
    def timed() -> Iterator[Any]:
        with write() as db:
            began = time.perf_counter()
            yield db
        if threading.get_ident() == own:
            held.append(1000 * (time.perf_counter() - began))

    engine.database.write = timed  # type: ignore[method-assign]
    try:
        yield held
    finally:
        engine.database.write = write  # type: ignore[method-assign]


def measure(
    engine: MemoryEngine, messages: int, *, seconds: float, writers: int = 2, older_than_days: float = 365
) -> Result:
    """Prune a built store while writers write, and restore it."""
    policy = Policy(rules=(Rule(stratum="messages", older_than_days=older_than_days),))
    before = _answers(engine)
    with Writers(engine, writers) as writing:
        time.sleep(seconds)
        alone = writing.take()
        told, dry_run = _timed(lambda: engine.pruner.prune("default", policy, dry_run=True))
        writing.take()
        with _holds(engine) as held:
            done, prune = _timed(lambda: engine.pruner.prune("default", policy))
        during = writing.take()
    _, restore = _timed(lambda: engine.pruner.restore_since("default", engine.clock.now()))
    after = _answers(engine)
    return Result(
        messages=messages,
        marked=sum(share.rows for share in done),
        agrees=told == done,
        same_answers=sum(one == other for one, other in zip(before, after, strict=True)),
        p99_before=float(np.percentile(alone, 99)),
        p99_during=float(np.percentile(during, 99)),
        longest_write=max(during),
        longest_hold=max(held),
        dry_run=dry_run,
        prune=prune,
        restore=restore,
    )


def _timed(work: Any) -> tuple[list[Share], float]:
    began = time.perf_counter()
    done = work()
    return done, time.perf_counter() - began


def main() -> None:
    """Build, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20, help="how long writers write by themselves first")
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--data-dir", type=Path, help="where the store is built; a temporary folder unless given")
    parser.add_argument("--older-than-days", type=float, default=365)
    asked = parser.parse_args()
    use_one_thread()
    sys.setswitchinterval(TURN_SECONDS)
    with (
        tempfile.TemporaryDirectory() as folder,
        MemoryEngine.open(asked.data_dir or folder, clock=Standing(), index_threshold=2**31) as engine,
    ):
        began = time.perf_counter()
        if engine.stats().messages:
            engine.pruner.restore_since("default", engine.clock.now() - timedelta(days=3650))
        else:
            build(engine, asked.messages)
        print(f"ready after {time.perf_counter() - began:.0f} s: {engine.stats().messages:,} messages", flush=True)
        spare_what_stays()
        chosen = {"seconds": asked.seconds, "writers": asked.writers, "older_than_days": asked.older_than_days}
        result = measure(engine, asked.messages, **chosen)
    print(f"{result.marked:,} marked in {result.prune:.1f} s; the dry run took {result.dry_run:.1f} s", flush=True)
    print(f"dry run and run agree: {result.agrees}")
    print(f"write p99: {result.p99_before:.1f} ms alone, {result.p99_during:.1f} ms during the pruning")
    print(f"longest write {result.longest_write:.1f} ms; longest hold of the lock {result.longest_hold:.1f} ms")
    print(f"restored in {result.restore:.1f} s; {result.same_answers} of {_QUESTIONS} answers as before")


if __name__ == "__main__":
    main()
