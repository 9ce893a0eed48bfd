"""The bench of answers works against a scripted model; how well a real one answers, it says when run by hand."""

import json
import sys
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

from bench import answers
from bench.datasets import Haystack, Question
from tests.fakes import Scripted, ScriptedModel
from tests.running_service import RunningService

SAID = ["We sail to Malta in June.", "The cat is called Pixel."]


def haystack() -> Haystack:
    messages = [
        {"role": "user", "name": "Ana", "content": text, "created_at": f"2026-02-0{day}T10:00:00Z"}
        for day, text in enumerate(SAID, 1)
    ]
    question = Question(
        text="What is Ana's cat called?", kind="fact", evidence=(("s1", 1),), answer="Pixel", asked_at="2026-03-01"
    )
    return Haystack(name="answers", conversations={"s1": messages}, questions=(question,))


def measured(service: RunningService, model: ScriptedModel) -> list[answers.Row]:
    client = OpenAI(base_url=model.url, api_key="none", max_retries=0)
    models = answers.Models(client=client, answers="small", judges="judge")
    with httpx2.Client(base_url=service.address, trust_env=False) as http:
        return answers.measure(http, models, [haystack()], budget=500, parallel=1)


def test_each_way_is_answered_and_judged(service: RunningService, model: ScriptedModel) -> None:
    replies = ["Pixel", "correct", "The cat is Pixel.", "Correct.", "I do not know.", "wrong"]
    model.script = [Scripted(text=text) for text in replies]
    rows = measured(service, model)
    assert [(row.way, row.correct, row.given) for row in rows] == [
        ("memory", True, "Pixel"),
        ("full history", True, "The cat is Pixel."),
        ("nothing", False, "I do not know."),
    ]
    asked = [json.dumps(request["messages"]) for request in model.requests[::2]]
    assert [text in asked[1] for text in SAID] == [True, True]
    assert SAID[1] in asked[0]
    assert not any(text in asked[2] for text in SAID)
    assert not any("Right answer" in text for text in asked), "who answers never sees the right one"
    judged = model.requests[1]
    assert judged["model"] == "judge"
    assert "Right answer: Pixel" in judged["messages"][0]["content"]
    assert answers.table(rows).splitlines()[2] == "| memory | 1 | 0 | 7 | 1.000 | 1.000 |"


def test_a_failed_call_is_failed_and_not_wrong(service: RunningService, model: ScriptedModel) -> None:
    model.script = [Scripted(status=500, text="down"), *(Scripted(text="hm") for _ in range(4))]
    rows = measured(service, model)
    assert [row.correct for row in rows] == [None, None, None]
    assert answers.table(rows).splitlines()[2].startswith("| memory | 1 | 1 | 0 | - |")


def test_without_a_model_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["answers", "--model", "m", "--judge", "j", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match="needs a model"):
        answers.main()
