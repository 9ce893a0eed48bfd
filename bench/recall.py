"""Recall quality over HTTP: how much of the evidence comes back, and how much of it fits a prompt.

Run it by hand: `python -m bench.recall --data ../shared/data`. It starts a service of its own on an empty folder,
puts the conversations in over HTTP with their own dates (one namespace a haystack), asks every question, and prints
the mean found share of each question's evidence within the first k hits (R@k) and within the tokens that
`POST /v1/memory/context` with `agent: null` really packs (@2k: the turn's id is in the manifest and its text in the
messages).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import track

from assistant.recalled_block import quoted
from bench.datasets import Haystack, Question, locomo, longmemeval, own_conversations
from bench.plot import bars

KS = (5, 10, 20, 50)
BUDGETS = (500, 1000, 2000, 4000)
SETS = ("locomo", "locomo-corrected", "longmemeval", "own")
_PROGRESS = Console(stderr=True)


@contextmanager
def running_service(data_dir: Path, index_threshold: int) -> Iterator[httpx2.Client]:
    """A service on a folder of its own."""
    program = [sys.executable, "-m", "api", "serve", "--port", "0", "--data-dir", str(data_dir)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "MEMORY_ENGINE"))}
    kept["MEMORY_ENGINE_INDEX_THRESHOLD"] = str(index_threshold)
    with subprocess.Popen(program, env=kept, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        address = json.loads((data_dir / "service.json").read_text())["address"]
        try:
            with httpx2.Client(base_url=address, timeout=120, trust_env=False) as http:
                yield http
        finally:
            process.terminate()


def fill(http: httpx2.Client, haystack: Haystack) -> dict[str, tuple[str, int]]:
    """Put a haystack in and return where each message id belongs."""
    places = {}
    for name, messages in haystack.conversations.items():
        said = [(n, message) for n, message in enumerate(messages) if message["content"].strip()]
        body = {"conversation_id": name, "messages": [message for _, message in said]}
        answer = _post(http, haystack.name, "/v1/memory/messages", body)
        places.update({kept: (name, n) for kept, (n, _) in zip(answer["message_ids"], said, strict=True)})
    return places


def ask(
    http: httpx2.Client, haystack: Haystack, question: Question, places: dict[str, tuple[str, int]],
    budgets: tuple[int, ...],
) -> dict[str, Any]:  # fmt: skip
    """One question's figures."""
    found = _post(http, haystack.name, "/v1/memory/recall", {"query": question.text, "k": max(KS)})
    ranked = [places[hit["message_id"]] for hit in found["hits"]]
    gold = set(question.evidence)
    row: dict[str, Any] = {"kind": question.kind, "took_ms": found["took_ms"]}
    row |= {f"R@{k}": len(gold.intersection(ranked[:k])) / len(gold) for k in KS}
    sessions = list(dict.fromkeys(session for session, _ in ranked))[:5]
    wanted = {session for session, _ in gold}
    row |= {"all@5": float(wanted <= set(sessions)), "any@5": float(bool(wanted & set(sessions)))}
    for budget in budgets:
        row[f"@{budget}"] = _packed_share(http, haystack, question, places, budget)
    return row


def _packed_share(
    http: httpx2.Client,
    haystack: Haystack,
    question: Question,
    places: dict[str, tuple[str, int]],
    budget: int,
) -> float:
    body = {"conversation_id": "asking", "message": question.text, "token_budget": budget, "agent": None}
    prompt = _post(http, haystack.name, "/v1/memory/context", body)
    if prompt["tokens"] > budget:
        raise AssertionError("a prompt over its budget")
    text = "\n".join(str(message["content"]) for message in prompt["messages"])
    ids = {name for item in prompt["manifest"]["items"] for name in item["message_ids"]}
    packed = {places[name] for name in ids if quoted(_text_of(haystack, places[name])) in text}
    return len(packed.intersection(question.evidence)) / len(set(question.evidence))


def _text_of(haystack: Haystack, place: tuple[str, int]) -> str:
    return str(haystack.conversations[place[0]][place[1]]["content"])


def _post(http: httpx2.Client, namespace: str, path: str, body: dict[str, Any]) -> Any:
    answer = http.post(path, json=body, headers={"x-namespace": namespace})
    if answer.is_error:
        raise AssertionError(f"{path}: {answer.status_code} {answer.text[:500]}")
    return answer.json()


def measure(http: httpx2.Client, haystacks: list[Haystack], budgets: tuple[int, ...]) -> list[dict[str, Any]]:
    """Every question of every haystack."""
    rows = []
    for haystack in track(haystacks, description="haystacks", console=_PROGRESS):
        places = fill(http, haystack)
        rows += [ask(http, haystack, question, places, budgets) for question in haystack.questions]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of means: all questions, then each kind."""
    columns = [name for name in rows[0] if name != "kind"]
    lines = [f"| questions | n | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for kind in ("all", *sorted({row["kind"] for row in rows})):
        chosen = [row for row in rows if kind in ("all", row["kind"])]
        means = means_of(chosen).values()
        lines.append(f"| {kind} | {len(chosen)} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(lines)


def means_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean of every column but the kind."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0] if name != "kind"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--only", type=int, default=None, help="so many haystacks of each set")
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--out", type=Path, default=None, help="a folder for recall.json, recall.md and recall.svg")
    parser.add_argument("--index-threshold", type=int, default=100_000, help="scopes of so many messages ask Chroma")
    options = parser.parse_args()
    results = {}
    for name in options.sets:
        haystacks = _read(name, options.data)[: options.only]
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), options.index_threshold) as http:
            results[name] = measure(http, haystacks, tuple(options.budgets))
        print(f"## {name} ({time.perf_counter() - started:.0f} s)\n\n{table(results[name])}\n", flush=True)
    if options.out is not None:
        write(options.out, results)


def write(folder: Path, results: dict[str, list[dict[str, Any]]]) -> None:
    """Every question's figures as JSON, the tables as Markdown, the means as a plot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recall.json").write_text(json.dumps(results, indent=1))
    tables = [f"## {name}\n\n{table(rows)}\n" for name, rows in results.items()]
    (folder / "recall.md").write_text("\n".join(tables))
    means = {name: means_of(rows) for name, rows in results.items()}
    shares = {name: {k: v for k, v in row.items() if not k.endswith("_ms")} for name, row in means.items()}
    (folder / "recall.svg").write_text(bars(shares))


def _read(name: str, data: Path) -> list[Haystack]:
    if name == "longmemeval":
        return longmemeval(data / "longmemeval" / "dev40.jsonl.gz")
    if name == "own":
        paths = sorted((Path(__file__).parent / "conversations").glob("*.json"))
        return [own_conversations(path) for path in paths]
    return locomo(data / "locomo", corrected=name == "locomo-corrected")


if __name__ == "__main__":
    main()
