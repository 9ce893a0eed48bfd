"""Summaries in a writer's words, on both databases: what cannot be checked is refused, and the quotations stay."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from memory_engine import MemoryEngine, Summary
from memory_engine.errors import WriterUnavailable
from memory_engine.ports import Source, Written
from tests.fakes import FixedClock

SAID = [
    "We move the booking service from MySQL to PostgreSQL 17 before the launch in October.",
    "Nadia rehearses it on 14 September on the staging cluster in Frankfurt.",
    "And the invoices keep their old numbers, because the auditors asked for that.",
]
Sentences = Sequence[tuple[str, Sequence[str]]]


class Writer:
    """A writer by a script."""

    def __init__(self) -> None:
        self.writes: Callable[[Sequence[Source]], Sentences] = lambda said: [
            (
                "The booking service moves to PostgreSQL 17; Nadia rehearses it.",
                [said[0].message_id, said[1].message_id],
            )
        ]
        self.asked: list[Sequence[Source]] = []
        self.stopped = False

    def write(self, said: Sequence[Source], words: int) -> Written:
        self.asked.append(said)
        return Written(model="scripted", sentences=tuple((text, tuple(ids)) for text, ids in self.writes(said)))

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def written(database_url: str, tmp_path: Path, clock: FixedClock, writer: Writer) -> Iterator[MemoryEngine]:
    options: dict[str, Any] = {"database_url": database_url, "clock": clock, "summary_writer": writer}
    with MemoryEngine.open(tmp_path / "data", **options) as opened:
        opened._parts.stop_background()  # the test decides when the background works
        yield opened
    assert writer.stopped


def remembered(engine: MemoryEngine) -> list[str]:
    ids = engine.remember("c", [{"role": "user", "content": text} for text in SAID]).message_ids
    engine.consolidate()
    return list(ids)


def write(engine: MemoryEngine) -> list[Summary]:
    assert engine._parts.rewriter is not None
    engine._parts.rewriter.work()
    return engine.history.summaries("c")


def test_what_is_written_replaces_the_quotations_and_cites(written: MemoryEngine, writer: Writer) -> None:
    ids = remembered(written)
    assert [each.made_by for each in written.history.summaries("c")] == ["extractive/1"] * 2
    assert writer.asked == [], "no model is asked while remembering or consolidating"
    for summary in write(written):
        assert summary.made_by == "model/scripted"
        assert summary.text == "The booking service moves to PostgreSQL 17; Nadia rehearses it."
        assert [c.message_id for c in summary.sentences[0].citations] == ids[:2]
        assert (summary.sentences[0].citations[0].start, summary.sentences[0].citations[0].end) == (0, len(SAID[0]))
    assert [[source.text for source in said] for said in writer.asked] == [SAID, SAID]
    write(written)
    assert len(writer.asked) == 2, "what is written is not written again"
    assert written.parts()["summaries"].ok


@pytest.mark.parametrize(
    "writes",
    [
        lambda said: [("It moves.", ["msg_that_is_not_there"])],
        lambda said: [("It moves.", [said[0].message_id]), ("Nadia agrees.", ["msg_x", said[1].message_id])],
        lambda said: [("It moves.", [])],
        lambda said: [("  ", [said[0].message_id])],
        lambda said: [("It \x00 moves.", [said[0].message_id])],
        lambda said: [("word " * 100, [said[0].message_id])] * 3,
        lambda said: [("letters" * 100, [said[0].message_id])],
        lambda said: [],
    ],
)
def test_what_cannot_be_checked_is_refused(
    written: MemoryEngine, writer: Writer, writes: Callable[[Sequence[Source]], Sentences]
) -> None:
    remembered(written)
    before = written.history.summaries("c")
    writer.writes = writes
    assert write(written) == before
    assert "2 refused" in written.parts()["summaries"].detail
    writer.writes = Writer().writes
    assert write(written) == before, "it is not asked again until something is said"


def test_a_writer_that_is_away_is_asked_again(written: MemoryEngine, writer: Writer) -> None:
    def away(_: Sequence[Source]) -> Sentences:
        raise WriterUnavailable("Nobody answers.")

    remembered(written)
    usual, writer.writes = writer.writes, away
    assert [each.made_by for each in write(written)] == ["extractive/1"] * 2
    assert (written.parts()["summaries"].ok, written.parts()["summaries"].detail) == (False, "Nobody answers.")
    writer.writes = usual
    assert [each.made_by for each in write(written)] == ["model/scripted"] * 2
    assert written.parts()["summaries"].ok


def test_what_changes_while_it_is_written_is_not_believed(written: MemoryEngine, writer: Writer) -> None:
    ids = remembered(written)
    usual = writer.writes

    def edits(said: Sequence[Source]) -> Sentences:
        writer.writes = usual
        written.edit(ids[0], {"content": "We stay with Oracle 19."})
        return usual(said)

    writer.writes = edits
    assert all("PostgreSQL" not in each.text for each in write(written))
    written.consolidate()
    assert [each.made_by for each in write(written)] == ["model/scripted"] * 2
    assert writer.asked[-1][0].text == "We stay with Oracle 19."


def test_an_erased_message_takes_what_was_written_with_it(written: MemoryEngine) -> None:
    ids = remembered(written)
    write(written)
    written.erase(message_ids=[ids[1]])
    assert written.history.summaries("c") == []
    written.consolidate()
    assert [each.made_by for each in written.history.summaries("c")] == ["extractive/1"] * 2
    assert "Nadia" not in "".join(each.text for each in written.history.summaries("c"))
