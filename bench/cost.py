"""CPU of one recall as a namespace grows.

Run it by hand: `python -m bench.cost --data ../shared/data`. It fills a namespace with LoCoMo's conversations, again
and again under new ids, and asks its questions for ten hits. CPU is this process's, user and system, all threads;
the floor is a transaction that reads one number. The background is stopped, or its CPU would be counted too.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from sqlalchemy import text

from api.server import use_one_thread
from bench.datasets import Haystack, locomo
from memory_engine import MemoryEngine, RecallQuery

SIZES = (1_000, 10_000, 30_000)


def conversations(haystacks: list[Haystack]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The conversations of the haystacks, for ever, each time under another id."""
    for turn in count():
        for haystack in haystacks:
            for name, messages in haystack.conversations.items():
                yield f"{turn}-{haystack.name}-{name}", messages


def cpu_ms(act: Callable[[Any], Any], arguments: list[Any]) -> tuple[float, float]:
    """Median and 95th percentile of the CPU milliseconds that the act takes."""
    spent = []
    for argument in arguments:
        start = time.process_time()
        act(argument)
        spent.append(1000 * (time.process_time() - start))
    return statistics.median(spent), statistics.quantiles(spent, n=20)[-1]


def measure(haystacks: list[Haystack], sizes: tuple[int, ...], queries: int) -> list[tuple[int, float, float]]:
    """For each size the median and the 95th percentile; size 0 is the floor."""
    asked = [question.text for haystack in haystacks for question in haystack.questions]
    asked = asked[:: max(1, len(asked) // queries)][:queries]
    rows = []
    with tempfile.TemporaryDirectory() as folder, MemoryEngine.open(folder) as engine:
        engine._parts.stop_background()

        def read_one_number(_: str) -> None:
            with engine.database.read() as db:
                db.execute(text("SELECT 1")).scalar()

        def recall(query: str) -> None:
            engine.search(RecallQuery(text=query))

        rows.append((0, *cpu_ms(read_one_number, asked)))
        source, stored = conversations(haystacks), 0
        for size in sizes:
            while stored < size:
                ((name, messages),) = islice(source, 1)
                stored += len(engine.remember(name, messages).message_ids)
            for query in asked[:20]:
                recall(query)
            rows.append((stored, *cpu_ms(recall, asked)))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    options = parser.parse_args()
    use_one_thread()
    print("| messages | CPU ms, median | CPU ms, 95th percentile |\n|---|---|---|")
    for size, median, high in measure(locomo(options.data / "locomo"), SIZES, queries=300):
        print(f"| {f'{size:,}' if size else 'floor: one SELECT 1'} | {median:.2f} | {high:.2f} |")


if __name__ == "__main__":
    main()
