"""Breaks a store in every way and prints what became of it: `python -m bench.faults [--kills 100]`.

By hand, some minutes, as root for the disk that is full and the one that is read-only (a small tmpfs). The short forms
are in tests/integration. What it prints stands in docs/reliability.md.
"""

import argparse
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from memory_engine import MemoryEngine
from memory_engine.errors import StoreUnavailable
from tests.operations import Client, killed_after
from tests.running_service import RunningService

_THRESHOLD = {"MEMORY_ENGINE_INDEX_THRESHOLD": "20"}


def kills(folder: Path, times: int) -> None:
    """SIGKILL at random moments over all operations."""
    chance = random.Random(100)
    clients = [Client(name=f"client{n}", chance=random.Random(n)) for n in range(4)]
    for number in range(times):
        service = RunningService(folder / "data", **_THRESHOLD)
        for client in clients:
            client.check(service)
        killed_after(service, clients, chance.randint(0, 40), chance.uniform(0.0, 0.1))
        if number % 10 == 9:
            print(f"  {number + 1} kills, {sum(client.done for client in clients):,} operations", flush=True)
    with RunningService(folder / "data", **_THRESHOLD) as service:
        for client in clients:
            client.check(service)
        lost = "history" in service.http.get("/ready").json()["parts"]
        before = service.post("/v1/memory/doctor", None).json()["findings"]
        mended = service.post("/v1/memory/doctor?repair=true", None).json()["findings"]
    alive = sum(said is not None for client in clients for said in client.known.values())
    wrong = {finding["check"]: finding["detail"] for finding in before if finding["problems"]}
    left = {finding["check"]: finding["detail"] for finding in mended if not finding["healthy"]}
    print(f"kills: {times}, {sum(client.done for client in clients):,} operations acknowledged, {alive:,} messages")
    print(f"  all as acknowledged; mark says lost: {lost}; doctor before: {wrong}; after --repair: {left}")


def full_disk(folder: Path) -> None:
    """A tmpfs of 12 MB that fills up, and then a read-only one."""
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], check=False).returncode:
        print("full disk: not tried, mounting needs root")
        return
    try:
        kept = _fill(disk / "data")
        print(f"  opened again while it is full: {_opened(disk / 'data')}")
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        with MemoryEngine.open(disk / "data") as engine:
            print(f"  with room again: {engine.stats().messages:,} of {kept + 1:,} messages are there", end="")
            engine.remember("after", [{"role": "user", "content": "There is room again."}])
            print(f", writes go on, doctor --repair leaves {_unhealthy(engine, repair=True)}")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        told = subprocess.run(["memory-engine", "recall", "x", "--data-dir", str(disk / "data")], capture_output=True,
                              text=True, check=False)  # fmt: skip
        print(f"read-only directory: code {told.returncode}, {told.stderr.strip()!r}")
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def _fill(data: Path) -> int:
    kept = 0
    with MemoryEngine.open(data) as engine:
        engine.remember("first", [{"role": "user", "content": "The zeppelin lands at noon."}])
        try:
            while True:
                engine.remember("c", [{"role": "user", "content": f"Number {kept} " + "words " * 1000}])
                kept += 1
        except StoreUnavailable as exc:
            print(f"full disk: after {kept:,} messages: {exc.message}")
        print(f"  recall still answers: {bool(engine.recall('When does the zeppelin land?'))}")
    return kept


def _opened(data: Path) -> str:
    try:
        with MemoryEngine.open(data) as engine:
            return f"it opens; doctor: {_unhealthy(engine, repair=False)}"
    except StoreUnavailable as exc:
        return f"refused: {exc.message}"


def _unhealthy(engine: MemoryEngine, *, repair: bool) -> dict[str, str]:
    return {f.check: f.detail for f in engine.examine(repair=repair) if not f.healthy}


def waits(folder: Path) -> None:
    """How long a writer waits while everything derived of 20,000 messages is mended."""
    with MemoryEngine.open(folder / "data", index_threshold=10**9) as engine:
        for number in range(200):
            said = [{"role": "user", "content": f"Harbour {number} {n} opens at nine in the {n}."} for n in range(100)]
            engine.remember(f"c{number}", said)
        engine._parts.stop_background()
        calm = _writes(engine, lambda: threading.Event().wait(10))
        with engine.database.write() as db:
            for table in ("message_terms", "message_embeddings"):
                db.execute(text(f"DELETE FROM {table}"))
        started = time.perf_counter()
        mending = _writes(engine, lambda: engine.examine(repair=True))
        print(f"repair: 40,000 rows remade in {time.perf_counter() - started:.0f} s")
    for name, times in (("without", calm), ("with repair", mending)):
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
        print(
            f"  a write {name}: median {p50:.1f} ms, p99 {p99:.1f} ms, most {max(times):.1f} ms ({len(times)} writes)"
        )


def _writes(engine: MemoryEngine, meanwhile: Callable[[], object]) -> list[float]:
    """Milliseconds of each write while something goes on in another thread."""
    other = threading.Thread(target=meanwhile)
    other.start()
    times = []
    while other.is_alive():
        started = time.perf_counter()
        with engine.database.write() as db:
            db.execute(text("UPDATE namespaces SET last_scope = last_scope"))
        times.append(1000 * (time.perf_counter() - started))
        threading.Event().wait(0.01)
    return times


def mark(folder: Path) -> None:
    """What the high-water mark costs a remember."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    with MemoryEngine.open(folder / "data") as engine:
        engine._parts.stop_background()
        kept = engine.database.high_water
        for number in range(4000):
            is_marked = number // 20 % 2 == 0
            engine.database.high_water = kept if is_marked else None
            started = time.perf_counter()
            engine.remember("c", [{"role": "user", "content": f"Harbour {number} opens at nine."}])
            costs[is_marked].append(1000 * (time.perf_counter() - started))
        engine.database.high_water = kept
    with_mark, without = statistics.median(costs[True]), statistics.median(costs[False])
    print(f"mark: a remember takes {with_mark:.3f} ms with it, {without:.3f} ms without (medians of 2,000)")


def main() -> None:
    """Try everything, or what is named."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--only", choices=["kills", "disk", "waits", "mark"], default=None)
    asked = arguments.parse_args()
    parts: dict[str, Callable[[Path], None]] = {
        "mark": mark, "waits": waits, "disk": full_disk, "kills": lambda folder: kills(folder, asked.kills),
    }  # fmt: skip
    for name, part in parts.items():
        if asked.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                part(Path(folder))


if __name__ == "__main__":
    main()
