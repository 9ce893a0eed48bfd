"""The bench of a long-running assistant works; what it finds, it says itself when run by hand."""

from datetime import UTC, datetime
from pathlib import Path

from assistant import CustomAssistant, load_settings
from bench import long_running
from memory_engine import MemoryEngine


def test_the_bench_looks_at_every_prompt(tmp_path: Path) -> None:
    facts = [("The boiler was put in by Marlow and Sons.", "Who put in the boiler?")]
    filler = [f"Number {n} of the things that I say between." for n in range(20)]
    said = long_running.script(facts, filler, 12)
    assert len(said) == 12
    assert [fact for _, fact in said if fact] == [facts[0][0]]
    clock = long_running.SimulatedClock(moment=datetime(2026, 1, 1, tzinfo=UTC))
    with long_running.noting_model() as address, MemoryEngine.open(tmp_path, clock=clock) as engine:
        assistant = CustomAssistant(engine, settings=load_settings(openai_base_url=address, data_dir=tmp_path))
        report = long_running.run(assistant, clock, said, 1_500)
        assistant.close()
    assert (report.asked, report.over_budget, len(report.prompt_tokens)) == (1, 0, 12)
    assert report.history_tokens == sorted(report.history_tokens)
    assert clock.moment > datetime(2026, 3, 25, tzinfo=UTC)
    assert "| needed messages in the prompt |" in long_running.table(report)
