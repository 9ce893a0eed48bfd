"""The bench of summaries works; how good they are, it says itself when run by hand."""

import json
from pathlib import Path

from bench import summaries
from memory_engine import MemoryEngine


def test_the_bench_measures(tmp_path: Path, engine: MemoryEngine) -> None:
    said = ["Hello!", "We sail to Malta in June with the old boat.", "Nice. The cat is called Pixel, by the way."]
    turns = [{"speaker": "Ana", "dia_id": f"D1:{n}", "text": text} for n, text in enumerate(said, 1)]
    sample = {
        "conversation": {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_1": turns},
        "observation": {"session_1_observation": {"Ana": [["Ana sails to Malta.", "D1:2"], ["A cat.", "D1:3"]]}},
        "session_summary": {"session_1_summary": "Ana sails to Malta in June. Her cat is Pixel."},
        "qa": [],
    }
    (tmp_path / "locomo10.json").write_text(json.dumps([sample]))
    (session,) = summaries.sessions(tmp_path)
    assert session.observed == {1, 2}
    found = summaries.measure(engine, [session])
    assert found["ours"][1] == 1.0
    assert found["ours"][0] >= found["lead"][0] > 0
    assert summaries.table(found).splitlines()[2].startswith("| ours | 0.")
    assert summaries.rouge_l("a b c d", "a c x") == 2 * 2 / 7
    assert summaries.rouge_l("", "a") == 0
