"""CPU of a turn and of a call through the proxy, here and in another checkout, alternating.

Run it by hand: `python -m bench.turn_cpu --against FOLDER`. Both serve the same conversations, and ask one scripted
model server. CPU is the service's own, user and system, over batches of requests; the floor is /health. A batch of a
proxy call is a conversation of eight turns whose client sends its whole history.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from api.bootstrap import read_service_file
from bench.datasets import locomo
from tests.fakes import ScriptedModel

#: Turns in a batch.
TURNS = 8
_HERE = Path(__file__).parents[1]


@contextmanager
def serving(code: Path, folder: Path, settings: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Serve a data directory with a checkout's code; yields the address and the process."""
    command = [sys.executable, "-m", "api", "serve", "--port", "0", "--data-dir", str(folder)]
    environment = {**os.environ, **settings}
    with subprocess.Popen(command, cwd=code, stdout=subprocess.PIPE, text=True, env=environment) as service:
        assert service.stdout is not None
        service.stdout.readline()  # the greeting comes when the service listens
        try:
            yield (read_service_file(folder) or {})["address"], service.pid
        finally:
            service.terminate()


def cpu_seconds(pid: int) -> float:
    """CPU that a process has taken, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Served:
    """One checkout's service, with conversations in it."""

    def __init__(self, address: str, pid: int) -> None:
        self._pid = pid
        self._http = httpx2.Client(base_url=address, timeout=120, trust_env=False)
        self._batches = 0

    def fill(self, messages: int, data: Path) -> None:
        """Store the messages that are recalled from."""
        (haystack, *_) = locomo(data / "locomo")
        said = [row for rows in haystack.conversations.values() for row in rows]
        said = [{"role": row["role"], "content": row["content"]} for row in said][:messages]
        for start in range(0, len(said), 500):
            body = {"conversation_id": f"before-{start}", "messages": said[start : start + 500]}
            self._http.post("/v1/memory/messages", json=body).raise_for_status()

    def batch(self, kind: str, questions: list[str]) -> float:
        """CPU milliseconds of the service for one request of a batch."""
        self._batches += 1
        before = cpu_seconds(self._pid)
        {"turn": self._turns, "proxy": self._proxied, "floor": self._health}[kind](questions)
        return 1000 * (cpu_seconds(self._pid) - before) / len(questions)

    def _turns(self, questions: list[str]) -> None:
        path = f"/v1/assistant/conversations/turn-{self._batches}/messages"
        for question in questions:
            self._http.post(path, json={"message": question}).raise_for_status()

    def _proxied(self, questions: list[str]) -> None:
        history: list[dict[str, Any]] = []
        for question in questions:
            history.append({"role": "user", "content": question})
            body = {"model": "m", "messages": history, "metadata": {"conversation_id": f"proxy-{self._batches}"}}
            answer = self._http.post("/v1/chat/completions", json=body).raise_for_status()
            history.append(answer.json()["choices"][0]["message"])

    def _health(self, questions: list[str]) -> None:
        for _ in questions:
            self._http.get("/health").raise_for_status()


def compare(codes: list[Path], data: Path, batches: int, tell: Callable[[str], None]) -> str:
    """Alternate batches between the checkouts, and return the table."""
    spent: dict[tuple[str, int], list[float]] = {}
    questions = [question.text for question in locomo(data / "locomo")[0].questions]
    model = ScriptedModel()
    with ExitStack() as stack:
        stack.callback(model.close)
        settings = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "x"}
        served = []
        for code in codes:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            served.append(Served(*stack.enter_context(serving(code, folder / "data", settings))))
            served[-1].fill(2_000, data)
        for number in range(batches + 1):
            asked = (questions * 2)[number * TURNS % 100 :][:TURNS]
            for kind in ("turn", "proxy", "floor"):
                for place, service in enumerate(served if number % 2 else served[::-1]):
                    which = place if number % 2 else len(served) - 1 - place
                    took = service.batch(kind, asked)
                    if number:  # the first is for warming up
                        spent.setdefault((kind, which), []).append(took)
            tell(f"batch {number} of {batches}")
    return _table(spent, codes)


def _table(spent: dict[tuple[str, int], list[float]], codes: list[Path]) -> str:
    lines = ["| | CPU ms a request, median | beside the first, median of pairs |", "|---|---|---|"]
    for kind in ("turn", "proxy", "floor"):
        for which, code in enumerate(codes):
            pairs = zip(spent[kind, which], spent[kind, 0], strict=True)
            ratio = statistics.median(one / max(other, 1e-9) for one, other in pairs)
            lines.append(f"| {kind}, {code.name} | {statistics.median(spent[kind, which]):.1f} | {ratio:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="the other checkout")
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    options = parser.parse_args()
    print(compare([options.against, _HERE], options.data, options.batches, print))


if __name__ == "__main__":
    main()
