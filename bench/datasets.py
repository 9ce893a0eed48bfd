"""Reads the evaluation data sets: conversations to remember, and questions with their evidence.

Answers and labels stay on this side: what goes to the engine is `Haystack.conversations` and a question's text.
"""

import gzip
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question, and what the data set says answers it."""

    text: str
    kind: str
    #: (conversation_id, index of the message in it) of each turn of evidence.
    evidence: tuple[tuple[str, int], ...]
    #: What a judge compares answers with; empty where the set has none.
    answer: str = ""
    #: When it was asked; None where the set does not say.
    asked_at: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Haystack:
    """One namespace: conversations by id, and the questions asked of them."""

    name: str
    conversations: dict[str, list[dict[str, Any]]]
    questions: tuple[Question, ...]


def locomo(folder: Path, *, corrected: bool = False, categories: tuple[int, ...] = (1, 2, 3, 4)) -> list[Haystack]:
    """LoCoMo: each of its ten conversations is a namespace, each of its sessions a conversation_id."""
    corrections = _corrections(folder) if corrected else {}
    raw = json.loads((folder / "locomo10.json").read_text())
    return [_locomo_haystack(n, sample, corrections, categories) for n, sample in enumerate(raw)]


def _locomo_haystack(
    number: int, sample: dict[str, Any], corrections: dict[str, list[str]], categories: tuple[int, ...]
) -> Haystack:
    conversations: dict[str, list[dict[str, Any]]] = {}
    places: dict[str, tuple[str, int]] = {}
    said = sample["conversation"]
    for key in sorted((k for k in said if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
        start = datetime.strptime(said[f"{key}_date_time"] + " +0000", "%I:%M %p on %d %B, %Y %z")
        messages = []
        for index, turn in enumerate(said[key]):
            caption = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            said_at = start + timedelta(seconds=30 * index)
            messages.append(
                {"role": "user", "name": turn["speaker"], "content": turn["text"] + caption,
                 "created_at": said_at.isoformat()}
            )  # fmt: skip
            places[turn["dia_id"]] = (key, index)
        if messages:
            conversations[key] = messages
    questions = []
    for index, asked in enumerate(sample["qa"]):
        cited = corrections.get(f"locomo_{number}_qa{index}", asked.get("evidence", []))
        ids = [name for text in cited for name in re.findall(r"D\d+:\d+", text)]
        evidence = tuple(sorted({places[name] for name in ids if name in places}))
        if asked["category"] in categories and evidence:
            kind, answer = str(asked["category"]), str(asked.get("answer", ""))
            questions.append(Question(text=asked["question"], kind=kind, evidence=evidence, answer=answer))
    return Haystack(name=f"locomo-{number}", conversations=conversations, questions=tuple(questions))


def _corrections(folder: Path) -> dict[str, list[str]]:
    raw = json.loads((folder / "corrections.json").read_text())
    return {row["question_id"]: row["correct_evidence"] for row in raw if row.get("correct_evidence")}


def longmemeval(path: Path) -> list[Haystack]:
    """LongMemEval: each question is a namespace with its own haystack of sessions."""
    haystacks = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            conversations = {session["session_id"]: _chat(session) for session in row["sessions"]}
            places = (name.rsplit(":", 1) for name in row["gold_turn_ids"])
            evidence = tuple(sorted((session, int(index)) for session, index in places))
            question = Question(
                text=row["question"],
                kind=row["question_type"],
                evidence=evidence,
                answer=str(row["answer"]),
                asked_at=_moment(row["question_date"]).isoformat(),
            )
            haystacks.append(Haystack(name=f"longmemeval-{number}", conversations=conversations, questions=(question,)))
    return haystacks


def own_conversations(path: Path) -> Haystack:
    """A set of our own: JSON with conversations (id, said_at, messages) and questions (evidence as id and index)."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    conversations = {
        each["id"]: [
            {**message, "created_at": (datetime.fromisoformat(each["said_at"]) + timedelta(seconds=40 * n)).isoformat()}
            for n, message in enumerate(each["messages"])
        ]
        for each in raw["conversations"]
    }
    questions = (
        Question(
            text=asked["question"],
            kind=asked["kind"],
            evidence=tuple(sorted((name, index) for name, index in asked["evidence"])),
        )
        for asked in raw["questions"]
    )
    return Haystack(name=path.stem, conversations=conversations, questions=tuple(questions))


def _chat(session: dict[str, Any]) -> list[dict[str, Any]]:
    start = _moment(session["date"])
    return [
        {"role": turn["role"], "content": turn["content"],
         "created_at": (start + timedelta(seconds=30 * index)).isoformat()}
        for index, turn in enumerate(session["turns"])
    ]  # fmt: skip


def _moment(text: str) -> datetime:
    """A time as LongMemEval writes it: 2023/03/21 (Tue) 08:01."""
    return datetime.strptime(re.sub(r" \(\w+\)", "", text) + " +0000", "%Y/%m/%d %H:%M %z")
