"""A person who talks to the assistant for ninety days: is what was said long ago in the prompt when it is asked?

Run it by hand: `python -m bench.long_running --data ../shared/data`. Three hundred turns in seventy-five conversations
with three agents: thirty facts, thirty questions about them weeks later, and LoCoMo's turns between. The model is a
server that answers the same two sentences every time; its words do not matter, its prompts do. Printed: how many of
the needed messages were in the prompt, tokens of the prompts against sending the whole history, and the turn's CPU.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from api.server import use_one_thread
from assistant import CustomAssistant, Turn, load_settings
from bench.datasets import locomo
from memory_engine import DEFAULT_SCOPE, MemoryEngine

TURNS, DAYS, PER_CONVERSATION = 300, 90, 4
AGENTS = ("greeter", "spec", "pm")
_SEED = 11
_REPLY = (
    "Thank you, I have taken that down and will keep it in mind when you come back to it. "
    "Is there anything about it that you would like me to do now, or shall we go on with the rest of the day?"
)


@dataclass(kw_only=True, slots=True)
class SimulatedClock:
    """A clock that the bench turns."""

    moment: datetime

    def now(self) -> datetime:
        """The simulated moment."""
        return self.moment


@dataclass(kw_only=True, slots=True)
class Report:
    """What came out."""

    found: int = 0
    asked: int = 0
    missed: list[str] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    history_tokens: list[int] = field(default_factory=list)
    over_budget: int = 0
    #: Milliseconds of CPU of each turn, all threads, the model's server left out.
    cpu: list[float] = field(default_factory=list)


class _Noting(BaseHTTPRequestHandler):
    """Answers every request with the same two sentences."""

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": _REPLY}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        shape = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps(shape).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def _serve(told: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Noting)
    told.send(server.server_port)
    server.serve_forever()


@contextmanager
def noting_model() -> Iterator[str]:
    """The address of a Chat Completions server that answers in two sentences, in a process of its own."""
    here, there = Pipe()
    process = get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.terminate()
        process.join()
        here.close()
        there.close()


def script(facts: list[tuple[str, str]], filler: list[str], turns: int) -> list[tuple[str, str | None]]:
    """What the person says, turn by turn, each with the fact that it asks about, or None."""
    chance = random.Random(_SEED)
    said: list[tuple[str, str | None]] = [(text, None) for text in filler[: turns - 2 * len(facts)]]
    half = len(said) // 2
    for fact, question in facts:  # told in the first half, asked in the second
        said.insert(chance.randrange(half), (fact, None))
        half += 1
        said.append((question, fact))
    tail = said[half:]
    chance.shuffle(tail)
    return said[:half] + tail


def run(assistant: CustomAssistant, clock: SimulatedClock, said: list[tuple[str, str | None]], budget: int) -> Report:
    """Say it all, over the days, and look at every prompt."""
    report, history = Report(), 0
    step = timedelta(days=DAYS) / len(said)
    for number, (text, fact) in enumerate(said):
        turn = Turn(
            conversation_id=f"day-{number // PER_CONVERSATION}", message=text, token_budget=budget,
            agent=AGENTS[(number // PER_CONVERSATION) % len(AGENTS)],
        )  # fmt: skip
        started = time.process_time()
        reply = assistant.run(assistant.answer(turn))
        report.cpu.append(1000 * (time.process_time() - started))
        messages, manifest = assistant.context_manager.load(DEFAULT_SCOPE, reply.manifest_id)
        history += assistant.counter.count(text) + assistant.counter.count(reply.text)
        report.prompt_tokens.append(manifest["tokens"])
        report.history_tokens.append(history)
        report.over_budget += manifest["tokens"] > budget
        if fact is not None:
            report.asked += 1
            report.found += json.dumps(fact, ensure_ascii=False)[1:-1] in messages
            report.missed += [] if json.dumps(fact, ensure_ascii=False)[1:-1] in messages else [text]
        clock.moment += step
    return report


def table(report: Report) -> str:
    """The figures as Markdown."""
    tail = max(1, len(report.prompt_tokens) // 10)
    prompt = statistics.mean(report.prompt_tokens[-tail:])
    history = statistics.mean(report.history_tokens[-tail:])
    late = sorted(report.cpu)[int(0.95 * len(report.cpu))]
    lines = [
        f"| needed messages in the prompt | {report.found} of {report.asked} |",
        f"| prompts over their budget | {report.over_budget} |",
        f"| tokens of a prompt in the last tenth, mean | {prompt:.0f} |",
        f"| tokens of the whole history then | {history:.0f} |",
        f"| the first against the second | {prompt / history:.3f} |",
        f"| CPU of a turn, median and 95th percentile, ms | {statistics.median(report.cpu):.1f}, {late:.1f} |",
    ]
    return "\n".join(["| | |", "|---|---|", *lines])


def fillers(data: Path) -> list[str]:
    """LoCoMo's turns, in order."""
    return [
        str(message["content"])
        for haystack in locomo(data)
        for some in haystack.conversations.values()
        for message in some
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    parser.add_argument("--budget", type=int, default=1_500, help="tokens of a prompt")
    parser.add_argument("--before", type=int, default=0, help="messages that the store holds already")
    options = parser.parse_args()
    use_one_thread()
    facts: Any = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))["facts"]
    filler = fillers(options.data / "locomo")
    clock = SimulatedClock(moment=datetime(2026, 1, 1, 9, tzinfo=UTC))
    with (
        tempfile.TemporaryDirectory() as folder,
        noting_model() as address,
        MemoryEngine.open(folder, clock=clock) as engine,
    ):
        older = [{"role": "user", "content": text} for text in (filler * 3)[TURNS : TURNS + options.before]]
        for start in range(0, len(older), 100):
            engine.remember(f"before-{start}", older[start : start + 100])
        engine._parts.stop_background()  # its CPU is no turn's
        assistant = CustomAssistant(engine, settings=load_settings(openai_base_url=address, data_dir=Path(folder)))
        report = run(assistant, clock, script([tuple(pair) for pair in facts], filler, TURNS), options.budget)
        assistant.close()
    print(table(report))
    print("\n".join(f"not in the prompt: {text}" for text in report.missed))


if __name__ == "__main__":
    main()
