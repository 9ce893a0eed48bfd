"""Answer accuracy with a model: from memory, beside the full history and nothing at all.

Run it by hand where a Chat Completions server is to be had:
`OPENAI_BASE_URL=… OPENAI_API_KEY=… python -m bench.answers --model MODEL --judge MODEL --data ../shared/data`.
The same model answers each question three times: with the messages that `POST /v1/memory/context` packs into the
budget, with every message of the haystack, and with the question alone. A judge, whose prompt is printed, compares
each answer with the data set's. A call that fails is counted as failed, not as wrong.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
from openai import OpenAI, OpenAIError
from rich.console import Console
from rich.progress import track

from bench.datasets import Haystack, Question, locomo, longmemeval
from bench.recall import fill, running_service

WAYS = ("memory", "full history", "nothing")
SETS = ("locomo", "longmemeval")
_PROGRESS = Console(stderr=True)

ANSWER_PROMPT = (
    "Answer the question in at most one sentence, from what you are given of earlier conversations. "
    "If it is not said there, answer: I do not know."
)
JUDGE_PROMPT = """You compare an answer with the right one. It is correct when it says the same, in any words, \
any date format and any language, even if it says more besides. It is wrong when it contradicts the right answer, \
lacks a part of it, or says that it is not known.

Question: {question}
Right answer: {right}
Answer to compare: {given}

Reply with one word, correct or wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """Who answers and who judges."""

    client: OpenAI
    answers: str
    judges: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One question answered in one way."""

    question: str
    kind: str
    way: str
    #: What the server counted in the prompt.
    tokens: int
    given: str
    right: str
    #: None when a call failed.
    correct: bool | None


def prompts(http: httpx2.Client, haystack: Haystack, question: Question, budget: int) -> dict[str, list[Any]]:
    """The messages of each way."""
    body = {
        "conversation_id": "asking",
        "message": question.text,
        "token_budget": budget,
        "agent": None,
        "as_of": question.asked_at,
    }
    answer = http.post("/v1/memory/context", json=body, headers={"x-namespace": haystack.name})
    answer.raise_for_status()
    asked = {"role": "user", "content": _dated(question)}
    history = {"role": "user", "content": "Earlier conversations:\n" + "\n".join(_lines(haystack))}
    *before, newest = answer.json()["messages"]
    recalled = newest["content"].removesuffix(question.text)  # the block stands before the question in its message
    packed = [*before, {**asked, "content": recalled + asked["content"]}]
    return dict(zip(WAYS, (packed, [history, asked], [asked]), strict=True))


def _dated(question: Question) -> str:
    return question.text if question.asked_at is None else f"(asked on {question.asked_at[:10]}) {question.text}"


def _lines(haystack: Haystack) -> Iterable[str]:
    for messages in haystack.conversations.values():
        for message in messages:
            yield f"[{message['created_at'][:16]}] {message.get('name') or message['role']}: {message['content']}"


def answered(models: Models, question: Question, way: str, messages: list[Any]) -> Row:
    """One question answered and judged."""
    given, tokens, correct = "", 0, None
    try:
        given, tokens = _complete(models, models.answers, [{"role": "system", "content": ANSWER_PROMPT}, *messages])
        asked = JUDGE_PROMPT.format(question=question.text, right=question.answer, given=given)
        verdict, _ = _complete(models, models.judges, [{"role": "user", "content": asked}])
        correct = {"correct": True, "wrong": False}.get(verdict.strip().strip(".").lower())
    except OpenAIError as exc:
        given = f"failed: {exc}"
    return Row(
        question=question.text, kind=question.kind, way=way, tokens=tokens, given=given, right=question.answer,
        correct=correct,
    )  # fmt: skip


def _complete(models: Models, model: str, messages: list[Any]) -> tuple[str, int]:
    done = models.client.chat.completions.create(model=model, messages=messages)
    return done.choices[0].message.content or "", done.usage.prompt_tokens if done.usage else 0


def measure(http: httpx2.Client, models: Models, haystacks: list[Haystack], *, budget: int, parallel: int) -> list[Row]:
    """Every question of every haystack, in every way."""
    rows: list[Row] = []
    with ThreadPoolExecutor(parallel) as pool:
        for haystack in track(haystacks, description="haystacks", console=_PROGRESS):
            fill(http, haystack)
            asked = [
                pool.submit(answered, models, question, way, messages)
                for question in haystack.questions
                if question.answer
                for way, messages in prompts(http, haystack, question, budget).items()
            ]
            rows += [each.result() for each in asked]
    return rows


def table(rows: list[Row]) -> str:
    """A Markdown table: each way, over all questions and by kind."""
    kinds = sorted({row.kind for row in rows})
    lines = [f"| way | n | failed | tokens | accuracy | {' | '.join(kinds)} |", "|---" * (5 + len(kinds)) + "|"]
    for way in WAYS:
        mine = [row for row in rows if row.way == way]
        judged = [row for row in mine if row.correct is not None]
        tokens = sum(row.tokens for row in judged) / max(len(judged), 1)
        shares = [_accuracy(judged), *(_accuracy([row for row in judged if row.kind == kind]) for kind in kinds)]
        failed = len(mine) - len(judged)
        lines.append(f"| {way} | {len(mine)} | {failed} | {tokens:,.0f} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _accuracy(judged: list[Row]) -> str:
    return f"{sum(bool(row.correct) for row in judged) / len(judged):.3f}" if judged else "-"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--only", type=int, default=None, help="so many haystacks of each set")
    parser.add_argument("--budget", type=int, default=2000, help="tokens of the prompt from memory")
    parser.add_argument("--model", required=True, help="who answers")
    parser.add_argument("--judge", required=True, help="who judges")
    parser.add_argument("--parallel", type=int, default=8, help="questions asked at once")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for every answer")
    options = parser.parse_args()
    if not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
        sys.exit("bench.answers: set OPENAI_API_KEY or OPENAI_BASE_URL; this bench needs a model.")
    client = OpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "none", max_retries=4)
    models = Models(client=client, answers=options.model, judges=options.judge)
    print(f"{options.model} answers, {options.judge} judges by this prompt:\n\n{JUDGE_PROMPT}\n", flush=True)
    found = {}
    for name in options.sets:
        haystacks = _read(name, options.data)[: options.only]
        with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), 100_000) as http:
            found[name] = measure(http, models, haystacks, budget=options.budget, parallel=options.parallel)
        print(f"## {name}, {options.budget} tokens from memory\n\n{table(found[name])}\n", flush=True)
    if options.out is not None:
        kept = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        options.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False))


def _read(name: str, data: Path) -> list[Haystack]:
    return locomo(data / "locomo") if name == "locomo" else longmemeval(data / "longmemeval" / "dev40.jsonl.gz")


if __name__ == "__main__":
    main()
