"""How fast it starts: seconds from process start to /ready on the sample store, and to the end of --help.

Run it by hand: `python -m bench.cold`. Medians of nine; the floor is a Python that does nothing.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

_PROGRAM = str(Path(sys.executable).with_name("memory-engine"))
_TARGETS = {"to /ready": 2.5, "--help": 0.5}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        seconds_to_ready(data_dir)  # makes the sample store
        figures = measured(
            {
                "python -c pass": lambda: seconds_of([sys.executable, "-c", "pass"]),
                "--help": lambda: seconds_of([_PROGRAM, "--help"]),
                "to /ready": lambda: seconds_to_ready(data_dir),
            },
            runs,
        )
    print("| | median s | least | most | asked |\n|---|---|---|---|---|")
    for name, seconds in figures.items():
        spread = f"{statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f}"
        print(f"| {name} | {spread} | {_TARGETS.get(name, '')} |")


def measured(what: dict[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Each thing so many times, in turn, so that a busy moment falls on all alike."""
    figures: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(runs):
        for name, once in what.items():
            figures[name].append(once())
    return figures


def seconds_of(command: list[str]) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def seconds_to_ready(data_dir: Path) -> float:
    """Seconds from starting the service to its first 200 on /ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [_PROGRAM, "serve", "--demo", "--port", str(port), "--data-dir", str(data_dir)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "MEMORY_ENGINE"))}
    # One client, made before the clock starts: making one costs more than a question.
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
        started = time.perf_counter()
        with subprocess.Popen(command, env=kept, stdout=subprocess.DEVNULL) as process:
            try:
                while not _is_ready(http):
                    if process.poll() is not None:
                        raise SystemExit(f"the service ended with code {process.returncode}")
                    time.sleep(0.005)
                return time.perf_counter() - started
            finally:
                process.send_signal(signal.SIGTERM)


def _is_ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False


if __name__ == "__main__":
    main()
