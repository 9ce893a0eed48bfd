"""The service as a process of its own, started and ended as a person would."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import httpx2

#: Settings of the machine must not reach the tests.
_CLEAN = ("OPENAI", "MEMORY_ENGINE", "DEFAULT_MODEL", "FALLBACK_MODEL", "MODEL_ALIASES", "TIKTOKEN")


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without this project's settings, with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CLEAN)}
    return {**kept, **extra}


def command(*args: str) -> list[str]:
    """The console script of the environment that runs the tests."""
    return [str(Path(sys.executable).with_name("memory-engine")), *args]


class RunningService:
    """`memory-engine serve` on a free port; use as a context manager."""

    def __init__(self, data_dir: Path, *args: str, **environment: str) -> None:
        self.data_dir = data_dir
        (data_dir / "service.json").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            command("serve", "--port", "0", "--data-dir", str(data_dir), *args),
            env=clean_environment(**environment),
            cwd=data_dir.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # The greeting's line is the event: it is printed once the address is known.
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()
        if "serves on" not in self.greeting:
            raise AssertionError(self.greeting + self.process.stdout.read())
        self._lines: queue.Queue[str] = queue.Queue()
        # A pipe that is not read fills up, and then everything that logs waits.
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        self.address = json.loads((data_dir / "service.json").read_text())["address"]
        self.http = httpx2.Client(base_url=self.address, timeout=60, trust_env=False)
        self._wait_ready()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            self._lines.put(line)

    def line(self) -> str:
        """The next line that the service prints after its greeting."""
        return self._lines.get(timeout=30)

    def _wait_ready(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                self.http.get("/health").raise_for_status()
                return
            except httpx2.TransportError:
                continue  # the socket listens before the server accepts; connecting waits in its queue
        raise AssertionError("the service was not ready in 30 seconds")

    def post(self, path: str, body: Any, **kwargs: Any) -> httpx2.Response:
        return self.http.post(path, json=body, **kwargs)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self._ended()

    def _ended(self) -> None:
        self.process.wait(30)
        self.http.close()
        self._reader.join(30)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> "RunningService":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
