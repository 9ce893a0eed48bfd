"""What a walk over links costs when there are many: synthetic conversations, each with links to others.

Run it by hand: `python -m bench.graph --conversations 10000`. The links are written as they are kept, without evidence;
printed are CPU milliseconds of a neighbourhood of depth 1 and 2 and of a path, median and 95th percentile.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable

from api.server import use_one_thread
from memory_engine import MemoryEngine, Scope
from memory_engine.models import to_micros
from memory_engine.storage import links, scopes
from memory_engine.storage.links import NewLink
from memory_engine.storage.threads import find_thread

_SEED, _PER_CONVERSATION = 5, 10
_BATCH = 1_000


def fill(engine: MemoryEngine, conversations: int) -> None:
    """So many conversations of one message, each linked with ten others, most of them near it in number."""
    chance = random.Random(_SEED)
    said = {"role": "user", "content": "x", "created_at": "2026-05-01T10:00:00Z"}
    for number in range(conversations):
        engine.remember(f"c{number}", [said])
    with engine.database.read() as db:
        key = scopes.find_scope(db, Scope())
        assert key is not None
        found = [find_thread(db, key, f"c{number}") for number in range(conversations)]
    ids = [thread.thread_id for thread in found if thread is not None]
    pairs = set()
    for number in range(conversations):
        for _ in range(_PER_CONVERSATION // 2):
            other = (number + 1 + int(chance.expovariate(1 / 40))) % conversations
            if other != number:
                pairs.add((number, other))
    ordered = sorted(pairs)
    for start in range(0, len(ordered), _BATCH):
        with engine.database.write() as db:
            for a, b in ordered[start : start + _BATCH]:
                new = NewLink(
                    source_id=ids[a], target_id=ids[b], kind="topic", weight=chance.uniform(0.35, 0.9),
                    made_by="bench", words=(), places=(),
                )  # fmt: skip
                links.insert_link(db, key, new, "made", to_micros(engine.clock.now()))


def measure(work: Callable[[int], object], conversations: int, times: int) -> tuple[float, float]:
    """CPU milliseconds of this thread, median and 95th percentile; the background works meanwhile."""
    chance = random.Random(_SEED)
    spent = []
    for _ in range(times):
        at = chance.randrange(conversations)
        started = time.thread_time()
        work(at)
        spent.append(1000 * (time.thread_time() - started))
    return statistics.median(spent), sorted(spent)[int(0.95 * len(spent))]


def table(engine: MemoryEngine, conversations: int, times: int) -> str:
    """The figures as Markdown."""
    here = Scope()
    works: dict[str, Callable[[int], object]] = {
        "neighbourhood, depth 1": lambda at: engine.links.around(here, f"c{at}", 1),
        "neighbourhood, depth 2": lambda at: engine.links.around(here, f"c{at}", 2),
        "path to one 60 further": lambda at: engine.links.path(here, f"c{at}", f"c{(at + 60) % conversations}"),
    }
    lines = ["| | CPU ms, median | 95th percentile |", "|---|---|---|"]
    for name, work in works.items():
        work(0)
        median, late = measure(work, conversations, times)
        lines.append(f"| {name} | {median:.1f} | {late:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=100, help="walks of each kind")
    options = parser.parse_args()
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder, MemoryEngine.open(folder) as engine:
        fill(engine, options.conversations)
        print(f"{options.conversations:,} conversations, {engine.stats().links:,} links\n")
        print(table(engine, options.conversations, options.times))


if __name__ == "__main__":
    main()
