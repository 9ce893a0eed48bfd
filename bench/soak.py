"""An hour of everything at once against the running service: does it keep its size, its handles and its pace?

Run it by hand: `python -m bench.soak` (an hour; `--seconds` for less). People write, ask, chat offline, edit and erase,
each in conversations of their own; the store grows to a size and is then kept there by erasing, so that
what grows besides is a leak. Printed in each tenth of the time: resident memory, file handles, what waits for the
background, latencies, and the floor, which is what a fixed piece of work takes that has nothing to do with the service
and tells a machine that gets slower from a service that does.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from api.bootstrap import read_service_file
from memory_engine.ports import Progress, no_progress

_PLACES = ("harbour", "station", "orchard", "museum", "library", "bakery", "quarry", "theatre")
_TENTHS = 10
#: Numbers that the floor adds up: some milliseconds.
_FLOOR = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The service at one moment."""

    resident: int
    handles: int
    #: Commits, edits and erasures that the background has not followed yet.
    waiting: int


@dataclass(kw_only=True, slots=True)
class Report:
    """What was seen, tenth by tenth of the time."""

    samples: list[list[Sample]] = field(default_factory=lambda: [[] for _ in range(_TENTHS)])
    #: Seconds of CPU of the fixed piece of work.
    floor: list[list[float]] = field(default_factory=lambda: [[] for _ in range(_TENTHS)])
    #: Seconds of each request, by what it was.
    taken: list[dict[str, list[float]]] = field(default_factory=lambda: [{} for _ in range(_TENTHS)])
    failed: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were answered."""
        return sum(len(seconds) for tenth in self.taken for seconds in tenth.values())


class Person:
    """Somebody who uses the service without a pause."""

    def __init__(self, http: httpx2.Client, number: int, keeps: int) -> None:
        """Take the connection, and how many conversations are kept before the oldest is erased."""
        self._http = http
        self._chance = random.Random(number)
        self._user = f"person-{number}"
        self._kept: deque[str] = deque()
        self._keeps = keeps
        self._number = 0

    def act(self) -> tuple[str, float]:
        """Do one thing; what it was, and the seconds that it took."""
        what = self._chance.choices(("write", "recall", "context", "chat", "edit"), (6, 6, 2, 1, 1))[0]
        if len(self._kept) > self._keeps:
            what = "erase"
        started = time.monotonic()
        getattr(self, f"_{what}")()
        return what, time.monotonic() - started

    def _text(self) -> str:
        return f"Note {self._chance.randrange(10**6)} on the {self._chance.choice(_PLACES)} and what is said there."

    def _post(self, path: str, body: dict[str, object]) -> httpx2.Response:
        return self._http.post(path, json={**body, "user": self._user}).raise_for_status()

    def _write(self) -> None:
        if not self._kept or self._chance.random() < 0.1:
            self._number += 1
            self._kept.append(f"{self._user}-{self._number}")
        messages = [{"role": "user", "content": self._text()} for _ in range(self._chance.randint(1, 4))]
        self._post("/v1/memory/messages", {"conversation_id": self._kept[-1], "messages": messages})

    def _recall(self) -> None:
        self._post("/v1/memory/recall", {"query": f"what of the {self._chance.choice(_PLACES)}?"})

    def _context(self) -> None:
        body = {"conversation_id": f"{self._user}-asks", "message": self._text(), "agent": None}
        self._post("/v1/memory/context", {**body, "token_budget": 1_000})

    def _chat(self) -> None:
        path = f"/v1/assistant/conversations/{self._kept[-1] if self._kept else self._user}/messages"
        self._post(path, {"message": self._text()})

    def _edit(self) -> None:
        self._write()
        path = f"/v1/memory/conversations/{self._kept[-1]}/messages"
        newest = self._http.get(path, params={"user": self._user, "limit": 1}).raise_for_status().json()["data"][0]
        body = {"content": self._text(), "user": self._user}
        self._http.patch(f"/v1/memory/messages/{newest['message_id']}", json=body).raise_for_status()

    def _erase(self) -> None:
        self._post("/v1/memory/erase", {"conversation_id": self._kept.popleft()})


def run(folder: Path, *, seconds: float, people: int, keeps: int, progress: Progress = no_progress) -> Report:
    """Serve, and let the people use it for so long."""
    report, stop = Report(), threading.Event()
    command = [sys.executable, "-m", "api", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        service.stdout.readline()  # it says where it serves once it does
        address = (read_service_file(folder) or {})["address"]
        begin = time.monotonic()

        def tenth() -> int:
            return min(_TENTHS - 1, int(_TENTHS * (time.monotonic() - begin) / seconds))

        def live(number: int) -> None:
            with httpx2.Client(base_url=address, timeout=60, trust_env=False) as http:
                person = Person(http, number, keeps)
                while not stop.is_set():
                    try:
                        what, took = person.act()
                        report.taken[tenth()].setdefault(what, []).append(took)
                    except httpx2.HTTPError as exc:
                        report.failed.append(repr(exc))

        threads = [threading.Thread(target=live, args=(number,)) for number in range(people)]
        for thread in threads:
            thread.start()
        while time.monotonic() - begin < seconds:
            now = sample(service.pid, address)
            report.samples[tenth()].append(now)
            report.floor[tenth()].append(_floor())
            progress("MB in use", now.resident // 1_000_000)
            stop.wait(min(1.0, seconds / (2 * _TENTHS)))
        stop.set()
        for thread in threads:
            thread.join()
        service.terminate()
    return report


def sample(pid: int, address: str) -> Sample:
    """A service's process and its queues, at this moment."""
    parts = httpx2.get(f"{address}/ready", timeout=60, trust_env=False).json()["parts"]
    waiting = sum(int(word) for word in parts["outbox"]["detail"].split() if word.isdigit())
    return Sample(resident=resident_bytes(pid), handles=len(list(Path(f"/proc/{pid}/fd").iterdir())), waiting=waiting)


def resident_bytes(pid: int) -> int:
    """A process's resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def _floor() -> float:
    started = time.thread_time()  # the thread's own, because the people's threads take turns with it
    sum(number * number for number in range(_FLOOR))
    return time.thread_time() - started


def table(report: Report) -> str:
    """The figures as Markdown."""
    kinds = sorted({kind for tenth in report.taken for kind in tenth})
    lines = [
        f"{report.requests:,} requests, {len(report.failed)} failed.",
        "",
        f"| tenth | MB | handles | waiting | floor, ms | {' | '.join(f'{kind}, ms' for kind in kinds)} |",
        f"|{'---|' * (5 + len(kinds))}",
    ]
    for number, (samples, floor, taken) in enumerate(zip(report.samples, report.floor, report.taken, strict=True), 1):
        pace = [_median(floor), *(_median(taken.get(kind, [])) for kind in kinds)]
        lines.append(f"| {number} | {_most(samples)} | {' | '.join(pace)} |")
    return "\n".join(lines)


def _most(samples: list[Sample]) -> str:
    if not samples:
        return " | | "
    resident, handles = max(s.resident for s in samples), max(s.handles for s in samples)
    return f"{resident / 1e6:.0f} | {handles} | {max(s.waiting for s in samples)}"


def _median(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.1f}" if seconds else ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--keeps", type=int, default=40, help="conversations that each person keeps")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(table(run(Path(folder), **vars(options), progress=_tell())))


def _tell() -> Progress:
    began, told = time.monotonic(), 0.0

    def tell(what: str, megabytes: int) -> None:
        nonlocal told
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{told - began:.0f} s: {megabytes} {what}", file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    main()
