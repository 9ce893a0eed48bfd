"""What it costs to add one more message, and to consolidate, link and learn from it, as a store grows to a million.

Run it by hand, it takes hours: `python -m bench.growth --messages 1000000`. Conversations of a hundred messages are
made from LoCoMo's; in each copy the rarer words are replaced by words of its own, so that the vocabulary grows as
people's does. Printed are milliseconds a message for each step (CPU of the process), the memory that the process
holds, and the CPU of a neighbourhood query.
"""

import argparse
import itertools
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import text

from api.server import use_one_thread
from bench.datasets import Haystack, locomo
from memory_engine import MemoryEngine, Scope

#: Messages of one conversation.
_LENGTH = 100
#: A word of so few messages is another one in each copy.
_RARE = 3
_WORD = re.compile(r"[^\W\d_]{3,}")


def conversations(haystacks: list[Haystack]) -> Iterator[list[dict[str, Any]]]:
    """Conversations without end, each copy of the data with rare words of its own."""
    said = [message for haystack in haystacks for some in haystack.conversations.values() for message in some]
    often = Counter(word for message in said for word in set(_WORD.findall(message["content"].lower())))
    for copy in itertools.count():
        for start in range(0, len(said) - _LENGTH + 1, _LENGTH):
            yield [_of_copy(message, often, copy) for message in said[start : start + _LENGTH]]


def _of_copy(message: dict[str, Any], often: Counter[str], copy: int) -> dict[str, Any]:
    suffix = "".join(chr(97 + int(digit)) for digit in str(copy)) if copy else ""

    def renamed(found: re.Match[str]) -> str:
        return found.group() + (suffix if often[found.group().lower()] <= _RARE else "")

    return {**message, "content": _WORD.sub(renamed, message["content"])}


def _cpu(work: Callable[[], object]) -> float:
    """Milliseconds of CPU, all threads."""
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


def _megabytes() -> float:
    """What the process holds now, or at the most where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmRSS:\s+(\d+)", status.read_text()).group(1)) / 1024  # type: ignore[union-attr]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    engine: MemoryEngine, haystacks: list[Haystack], messages: int, every: int, one_in: int = 1
) -> Iterator[str]:
    """One row of a Markdown table each time the store has grown by so many messages.

    Args:
        engine: an empty memory.
        haystacks: what conversations are made from.
        messages: how many in the end.
        every: after how many a row is told.
        one_in: of so many conversations one is consolidated, so that a million messages take minutes.
    """
    yield "| messages | add, ms | consolidate, link, learn, ms | neighbourhood, ms | links | MB held |"
    yield "|---|---|---|---|---|---|"
    engine._parts.stop_background()  # what it does is done, and timed, here
    source, stored = conversations(haystacks), 0
    while stored < messages:
        add = strata = 0.0
        for number in range(max(1, every // _LENGTH)):
            said, name = next(source), f"c{stored // _LENGTH}"
            add += _cpu(lambda name=name, said=said: engine.remember(name, said))  # type: ignore[misc]
            stored += len(said)
            if number % one_in:
                _forget_to_consolidate(engine)
            else:
                strata += _cpu(engine.consolidate)
        around = sorted(_cpu(lambda: engine.links.around(Scope(), name, 2)) for _ in range(5))[2]  # noqa: B023
        done = (add / every, one_in * strata / every, around)
        figures = " | ".join(f"{figure:.2f}" for figure in done)
        yield f"| {stored:,} | {figures} | {engine.stats().links:,} | {_megabytes():,.0f} |"


def _forget_to_consolidate(engine: MemoryEngine) -> None:
    with engine.database.write() as db:
        db.execute(text("DELETE FROM consolidation_queue"))


def main() -> None:
    """Measure and print each row as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=20_000, help="messages between two rows")
    parser.add_argument("--one-in", type=int, default=1, help="of so many conversations one is consolidated")
    options = parser.parse_args()
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder, MemoryEngine.open(folder) as engine:
        for row in measure(engine, locomo(options.data / "locomo"), options.messages, options.every, options.one_in):
            print(row, flush=True)


if __name__ == "__main__":
    main()
