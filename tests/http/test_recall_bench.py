"""The recall bench works; how good recall is, the bench itself says when it is run by hand."""

import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import httpx2
import pytest

from bench import ablation, cost
from bench.datasets import Haystack, Question, locomo, longmemeval
from bench.recall import main, measure, table, write
from memory_engine import MemoryEngine
from memory_engine.recall import ranking
from tests.running_service import RunningService


def haystack() -> Haystack:
    said = ["We sail to Malta in June.", "The cat is called Pixel.", "Rent went up to nine hundred."]
    messages = [
        {"role": "user", "name": "Ana", "content": text, "created_at": f"2026-02-0{day}T10:00:00Z"}
        for day, text in enumerate(said, 1)
    ]
    questions = (
        Question(text="What is Ana's cat called?", kind="fact", evidence=(("s1", 1),)),
        Question(text="How much is the rent?", kind="number", evidence=(("s1", 2),)),
    )
    return Haystack(name="tiny", conversations={"s1": messages}, questions=questions)


def test_the_bench_measures_over_http(service: RunningService) -> None:
    with httpx2.Client(base_url=service.address, trust_env=False) as http:
        rows = measure(http, [haystack()], (500,))
    assert [row["kind"] for row in rows] == ["fact", "number"]
    assert all(row["R@5"] == 1.0 and row["@500"] == 1.0 and row["all@5"] == 1.0 for row in rows)
    assert table(rows).splitlines()[2].startswith("| all | 2 |")


def test_locomo_is_read_with_and_without_its_corrections(tmp_path: Path) -> None:
    turns = [
        {"speaker": "Ana", "dia_id": "D1:1", "text": "Hello"},
        {"speaker": "Ben", "dia_id": "D1:2", "text": "Look", "blip_caption": "a boat"},
    ]
    sample = {
        "conversation": {
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": turns,
            "session_2_date_time": "x",
        },
        "qa": [
            {"question": "Who?", "answer": "Ana", "evidence": ["D1:1"], "category": 1},
            {"question": "No evidence?", "answer": "-", "evidence": ["D9:9"], "category": 2},
            {"question": "Adversarial?", "answer": "-", "evidence": ["D1:1"], "category": 5},
        ],
    }
    (tmp_path / "locomo10.json").write_text(json.dumps([sample]))
    fix = [{"question_id": "locomo_0_qa0", "correct_evidence": ["D1:2"]}]
    (tmp_path / "corrections.json").write_text(json.dumps(fix))
    (plain,) = locomo(tmp_path)
    assert plain.questions == (Question(text="Who?", kind="1", evidence=(("session_1", 0),), answer="Ana"),)
    assert plain.conversations["session_1"][1]["content"] == "Look [shares a boat]"
    assert plain.conversations["session_1"][1]["created_at"] == "2023-05-08T13:56:30+00:00"
    (mended,) = locomo(tmp_path, corrected=True)
    assert mended.questions[0].evidence == (("session_1", 1),)


def test_longmemeval_is_read(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    row = {
        "question": "Q?", "question_type": "kind", "answer": "secret", "gold_turn_ids": ["s1:1"],
        "question_date": "2023/03/22 (Wed) 09:00",
        "sessions": [{"session_id": "s1", "date": "2023/03/21 (Tue) 08:01", "turns": turns}],
    }  # fmt: skip
    path = tmp_path / "dev.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    (read,) = longmemeval(path)
    (question,) = read.questions
    assert (question.text, question.kind, question.evidence, question.answer) == ("Q?", "kind", (("s1", 1),), "secret")
    assert question.asked_at == "2023-03-22T09:00:00+00:00"
    assert read.conversations["s1"][0]["created_at"] == "2023-03-21T08:01:00+00:00"
    assert "secret" not in json.dumps(read.conversations)


def test_no_answer_and_no_label_reaches_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bench sends is what was said, when and by whom, and the questions; nothing that knows the answer."""
    turns = [{"speaker": "Ana", "dia_id": "D1:1", "text": "The cat is called Pixel."}]
    asked = {"question": "What is the cat called?", "answer": "CANARY", "evidence": ["D1:1"], "category": 1}
    chat = {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_1": turns, "speaker_a": "CANARY"}
    observed = {"observation": "CANARY", "session_summary": "CANARY", "event_summary": "CANARY"}
    (tmp_path / "locomo10.json").write_text(json.dumps([{"conversation": chat, "qa": [asked], **observed}]))
    long = {
        "question": "Q?", "question_type": "CANARY", "answer": "CANARY", "gold_turn_ids": ["s1:0"],
        "gold_session_ids": ["s1"], "question_id": "CANARY", "question_date": "2023/03/22 (Wed) 09:00",
        "sessions": [{"session_id": "s1", "date": "2023/03/21 (Tue) 08:01",
                      "turns": [{"role": "user", "content": "Hi", "has_answer": "CANARY"}]}],
    }  # fmt: skip
    (tmp_path / "dev.jsonl.gz").write_bytes(gzip.compress(json.dumps(long).encode()))
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(f"{request.url} {dict(request.headers)} {request.read().decode()}")
        if request.url.path.endswith("/messages"):
            return httpx2.Response(201, json={"message_ids": ["m1"]})
        if request.url.path.endswith("/recall"):
            return httpx2.Response(200, json={"hits": [{"message_id": "m1"}], "took_ms": 1.0})
        return httpx2.Response(200, json={"messages": [], "tokens": 1, "manifest": {"items": []}})

    with httpx2.Client(base_url="http://service", transport=httpx2.MockTransport(answer)) as http:
        measure(http, [*locomo(tmp_path), *longmemeval(tmp_path / "dev.jsonl.gz")], (500,))
    assert len(sent) == 6
    for label in ("CANARY", "D1:1", "has_answer", "gold", "s1:0", "evidence", "category"):
        assert not [request for request in sent if label in request], label


def test_the_bench_writes_tables_and_a_plot(tmp_path: Path) -> None:
    write(tmp_path / "out", {"tiny": [{"kind": "fact", "took_ms": 2.0, "R@5": 1.0, "@500": 0.5}]})
    assert json.loads((tmp_path / "out" / "recall.json").read_text())["tiny"][0]["R@5"] == 1.0
    assert "| all | 1 | 2.000 | 1.000 | 0.500 |" in (tmp_path / "out" / "recall.md").read_text()
    plot = ElementTree.parse(tmp_path / "out" / "recall.svg").getroot()
    assert [title.text for title in plot.iter("{http://www.w3.org/2000/svg}title")] == ["1.000", "0.500"]


def test_the_ablation_changes_what_is_found_and_leaves_no_trace(engine: MemoryEngine) -> None:
    stranger = Haystack(name="other", conversations={"s1": [{"role": "user", "content": "Ah."}]}, questions=())
    sets = {"locomo": [ablation.store(engine, each) for each in (haystack(), stranger)]}
    rows = ablation.measure(engine, sets, wrong=2)
    assert set(rows) == set(ablation.INGREDIENTS)
    assert rows["all of it"]["locomo R@10"] == 1.0
    assert rows["no floor"]["wrong, any hit"] == 1.0 >= rows["all of it"]["wrong, any hit"]
    assert ablation.table(rows).count("\n") == len(rows) + 1
    assert ranking._GATE > 0
    assert ablation.masked("What is Ana's cat called?", frozenset({"Ana"})) == "What is someone's cat called?"


def test_the_cost_is_measured() -> None:
    sizes = [size for size, median, _ in cost.measure([haystack()], (3, 9), queries=2) if median >= 0]
    assert sizes == [0, 3, 9]


def test_the_bench_explains_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench.recall", "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "--sets" in capsys.readouterr().out
