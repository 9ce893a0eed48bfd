"""Requests per second of recall with one client and with sixteen, and what writes and /health wait meanwhile.

Run it by hand: `python -m bench.lanes --data ../shared/data`. One user's scope gets LoCoMo's conversations,
repeated under new ids up to 10,000 messages, with their summaries. Then one client and sixteen clients recall, in
alternating legs and in a separate process. During each leg one client writes to the same scope and one requests
/health, each with a pause after every answer. The floor is the time of a fixed piece of CPU work before each leg: it
shows how busy the machine is.

With `--against FOLDER` another checkout serves a copy of the same store, and the legs alternate between the two.
"""

import argparse
import http.client
import json
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

from api.bootstrap import read_service_file
from bench.cost import conversations
from bench.datasets import Haystack, locomo
from memory_engine import MemoryEngine

#: Seconds between two writes, and between two requests of /health.
_PAUSE = 0.04
#: Seconds of recall before the first leg, which load the scope.
_WARM_UP = 1.0
#: Numbers that the floor adds up: some milliseconds.
_FLOOR = 50_000
_HERE = Path(__file__).parents[1]


@dataclass(kw_only=True, slots=True)
class Leg:
    """Latencies of the clients' requests in one stretch of time, in milliseconds."""

    seconds: float
    recalls: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    floor: float = 0.0

    @property
    def rate(self) -> float:
        """Recalls per second."""
        return len(self.recalls) / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Length and number of the legs."""

    seconds: float = 8.0
    pairs: int = 5
    clients: int = 16


class Client:
    """A connection that stays open and costs little CPU: the service has the same two cores."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)

    def timed(self, method: str, path: str, body: dict[str, Any] | None = None) -> float:
        """Send a request and return the milliseconds until its answer is read.

        Raises:
            RuntimeError: the answer is an error.
        """
        headers = {} if body is None else {"content-type": "application/json"}
        began = time.perf_counter()
        self._connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        answer = self._connection.getresponse()
        read = answer.read()
        took = 1000 * (time.perf_counter() - began)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {read[:200]!r}")
        return took


def fill(folder: Path, haystacks: list[Haystack], messages: int) -> Path:
    """Store the messages for one user, consolidate them, and return the folder."""
    stored = 0
    with MemoryEngine.open(folder) as engine:
        source = conversations(haystacks)
        while stored < messages:
            name, said = next(source)
            stored += len(engine.remember(name, said).message_ids)
        engine.consolidate()
    return folder


@contextmanager
def serving(code: Path, folder: Path) -> Iterator[str]:
    """Serve a data directory with a checkout's code; yields the address."""
    command = [sys.executable, "-m", "api", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, cwd=code, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        service.stdout.readline()  # the greeting comes when the service listens
        try:
            yield (read_service_file(folder) or {})["address"]
        finally:
            service.terminate()


def drive(address: str, questions: Sequence[str], clients: int, seconds: float) -> Leg:
    """Recall with several clients, while one client writes and one requests /health."""
    leg, end, numbers = Leg(seconds=seconds), time.monotonic() + seconds, count()

    def recall(client: Client, question: Iterator[str]) -> None:
        leg.recalls.append(client.timed("POST", "/v1/memory/recall", {"query": next(question)}))

    def write(client: Client) -> None:
        said = {"role": "user", "content": f"Note {next(numbers)}: the tea is in the second drawer."}
        body = {"conversation_id": "notes", "messages": [said]}
        leg.writes.append(client.timed("POST", "/v1/memory/messages", body))
        time.sleep(_PAUSE)

    def health(client: Client) -> None:
        leg.health.append(client.timed("GET", "/health"))
        time.sleep(_PAUSE)

    def until_end(act: Callable[..., None], *arguments: Any) -> None:
        client = Client(address)
        while time.monotonic() < end:
            act(client, *arguments)

    with ThreadPoolExecutor(clients + 2) as threads:
        begun = [threads.submit(until_end, act) for act in (write, health)]
        for number in range(clients):
            first = 7 * number % len(questions)
            begun.append(threads.submit(until_end, recall, cycle([*questions[first:], *questions[:first]])))
        for each in begun:
            each.result()
    return leg


def compare(folder: Path, store: Path, codes: Sequence[Path], questions: Sequence[str], plan: Plan) -> str:
    """Serve a copy of the store with each checkout, and return the figures as Markdown."""
    with ExitStack() as stack:
        addresses = []
        for number, code in enumerate(codes):
            copy = Path(shutil.copytree(store, folder / f"copy-{number}"))
            addresses.append(stack.enter_context(serving(code, copy)))
        return table(measure(addresses, questions, plan), [code.name for code in codes])


def measure(addresses: Sequence[str], questions: Sequence[str], plan: Plan) -> dict[tuple[int, int], list[Leg]]:
    """Return the legs by address and number of clients."""
    legs: dict[tuple[int, int], list[Leg]] = {}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as clients:
        for address in addresses:
            clients.submit(drive, address, questions, 1, _WARM_UP).result()
        for _ in range(plan.pairs):
            for number, address in enumerate(addresses):
                for many in (1, plan.clients):
                    leg = _leg(clients, address, questions, (many, plan.seconds))
                    legs.setdefault((number, many), []).append(leg)
    return legs


def _leg(clients: Executor, address: str, questions: Sequence[str], how: tuple[int, float]) -> Leg:
    floor = statistics.median(_floor() for _ in range(9))
    leg: Leg = clients.submit(drive, address, questions, *how).result()
    leg.floor = floor
    return leg


def _floor() -> float:
    began = time.perf_counter()
    sum(number * number for number in range(_FLOOR))
    return 1000 * (time.perf_counter() - began)


def table(legs: dict[tuple[int, int], list[Leg]], names: Sequence[str]) -> str:
    """Format the figures as Markdown: medians over legs for rates and ratios, quantiles over all requests."""
    lines = [
        "| code | clients | recalls/s | ratio | p50, ms | p99, ms | p99/p50 | write p50 | write p99 | /health p50 "
        "| /health p99 | floor, ms |",
        f"|{'---|' * 12}",
    ]
    for (number, many), some in sorted(legs.items()):
        alone = legs[number, min(clients for place, clients in legs if place == number)]
        ratio = statistics.median(leg.rate / one.rate for leg, one in zip(some, alone, strict=True))
        rate = statistics.median(leg.rate for leg in some)
        recalls, writes, health = (
            _quantiles([took for leg in some for took in getattr(leg, what)])
            for what in ("recalls", "writes", "health")
        )
        floor = statistics.median(leg.floor for leg in some)
        lines.append(
            f"| {names[number]} | {many} | {rate:.1f} | {ratio:.2f} | {recalls[0]:.1f} | {recalls[1]:.1f} "
            f"| {recalls[1] / recalls[0]:.1f} | {writes[0]:.1f} | {writes[1]:.1f} | {health[0]:.1f} | {health[1]:.1f} "
            f"| {floor:.1f} |"
        )
    return "\n".join(lines)


def _quantiles(took: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    cut = statistics.quantiles(took, n=100, method="inclusive")
    return cut[49], cut[98]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=Plan().seconds, help="of each leg")
    parser.add_argument("--pairs", type=int, default=Plan().pairs)
    parser.add_argument("--clients", type=int, default=Plan().clients)
    parser.add_argument("--store", type=Path, help="a data directory that is filled already")
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout")
    options = parser.parse_args()
    haystacks = locomo(options.data / "locomo")
    questions = [question.text for haystack in haystacks for question in haystack.questions][::5]
    plan = Plan(seconds=options.seconds, pairs=options.pairs, clients=options.clients)
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or fill(Path(folder) / "store", haystacks, options.messages)
        print(compare(Path(folder), store, [_HERE, *options.against], questions, plan))


if __name__ == "__main__":
    main()
