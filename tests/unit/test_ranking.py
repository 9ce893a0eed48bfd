"""Ranking is pure functions over columns."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.recall import ranking
from memory_engine.recall.catalogue import SESSION_GAP, Catalogue, CatalogueView
from memory_engine.recall.ranking import Evidence


def catalogue(*rows: tuple[str, int, int]) -> CatalogueView:
    """A catalogue of (conversation, minutes, words)."""
    made = Catalogue()
    made.append(
        [
            SimpleNamespace(
                version=1,
                seq=seq,
                thread_id="t",
                branch=0,
                active=True,
                conversation_id=name,
                role="user",
                name=None,
                agent=None,
                created_at=minutes * 60_000_000,
                words=words,
                asks=False,
            )
            for seq, (name, minutes, words) in enumerate(rows, 1)
        ]
    )
    return made.view()


def evidence(
    lexical: list[float], allowed: list[bool] | None = None, words: list[tuple[list[int], float]] | None = None
) -> Evidence:
    size = len(lexical)
    mask = np.ones(size, bool) if allowed is None else np.array(allowed)
    nobody = np.zeros(size, bool)
    return Evidence(
        lexical=np.array(lexical), similar=np.zeros(size), cosine=np.zeros(size), allowed=mask, spoken=nobody,
        asker=nobody, pinned=nobody, timely=np.zeros(size), dense=ranking.dense_share(np.full(size, 5)),
        words=[(np.array(having, np.int32), rarity) for having, rarity in words or ()],
    )  # fmt: skip


def test_sessions_end_at_an_idle_gap_and_interleaved_conversations_keep_their_neighbours() -> None:
    gap = SESSION_GAP // 60_000_000 + 1
    view = catalogue(("a", 0, 5), ("b", 1, 5), ("a", 2, 5), ("a", 2 + gap, 5), ("b", 3, 5))
    assert view.previous.tolist() == [-1, -1, 0, -1, 1]
    assert view.session.tolist() == [0, 1, 0, 2, 1]


def test_a_part_keeps_the_neighbours_that_are_in_it() -> None:
    view = catalogue(("a", 0, 5), ("b", 1, 5), ("a", 2, 5), ("a", 3, 5), ("b", 4, 5))
    part = view.part(np.array([0, 2, 4]))
    assert part.previous.tolist() == [-1, 0, -1]
    assert part.next.tolist() == [1, -1, -1]
    assert part.session.tolist() == [0, 0, 1]
    assert view.with_neighbours(np.array([0]), 1).tolist() == [0, 2]
    assert view.with_neighbours(np.array([3]), 3).tolist() == [0, 2, 3]


def test_a_view_is_not_changed_by_what_comes_later() -> None:
    made = Catalogue()
    row = SimpleNamespace(
        version=1, seq=1, thread_id="t", branch=0, active=True, conversation_id="a", role="user", name="Ana",
        agent=None, created_at=0, words=3, asks=False,
    )  # fmt: skip
    made.append([row])
    before = made.view()
    made.append([SimpleNamespace(**{**vars(row), "seq": n, "conversation_id": f"c{n}"}) for n in range(2, 300)])
    assert len(before) == 1
    assert before.seq.tolist() == [1]
    assert len(made.view()) == 299


def test_what_lacks_a_word_that_stands_beside_it_is_completed() -> None:
    view = catalogue(("a", 0, 5), ("a", 1, 5), ("a", 2, 5), ("a", 3, 5), ("a", 4, 5), ("b", 5, 5))
    sought = [([0, 2], 2.0), ([1, 5], 1.0)]
    found = ranking.completed(view, evidence([0.0] * 6, words=sought))
    assert found[3] > found[1] > found[0] > 0, "lacking both, the rarer one, the other one"
    assert found[0] == found[2]
    assert found[5] == 0, "another conversation completes nothing"
    hidden = ranking.completed(view, evidence([0.0] * 6, allowed=[False, True, False, True, True, True], words=sought))
    assert hidden[1] == 0, "what may not be recalled completes nothing"
    assert ranking.completed(view, evidence([0.0] * 6)).tolist() == [0.0] * 6


def test_a_message_that_comes_later_is_no_neighbour_of_an_earlier_view() -> None:
    made = Catalogue()
    row = SimpleNamespace(
        version=1, seq=1, thread_id="t", branch=0, active=True, conversation_id="a", role="user", name="Ana",
        agent=None, created_at=0, words=3, asks=False,
    )  # fmt: skip
    made.append([row])
    before = made.view()
    made.append([SimpleNamespace(**{**vars(row), "seq": 2})])
    assert before.following(np.array([0])).tolist() == [-1]
    assert made.view().following(np.array([0, 1])).tolist() == [1, -1]
    assert made.view().preceding(np.array([0, 1])).tolist() == [-1, 0]


def test_short_neighbours_lend_and_long_ones_do_not() -> None:
    view = catalogue(("a", 0, 5), ("a", 1, 5), ("a", 2, 5), ("a", 3, 5), ("b", 4, 5))
    lent = ranking.borrowed(view, np.array([1.0, 0, 0, 0, 0]))
    assert lent[1] > lent[2] > 0
    assert lent[3] == lent[4] == lent[0] == 0
    long_lender = catalogue(("a", 0, 1000), ("a", 1, 5))
    assert ranking.borrowed(long_lender, np.array([1.0, 0]))[1] < 0.01


def test_what_is_not_allowed_neither_ranks_nor_lends() -> None:
    view = catalogue(("a", 0, 5), ("a", 1, 5))
    ranked = ranking.rank(view, evidence([0.9, 0.0], [False, True]))
    assert ranked.ordered(ranked.passing(-1.0, -1.0)).tolist() == [1]
    assert ranked.substance[1] == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_best_are_sorted_and_above_the_floor(lexical: list[float]) -> None:
    view = catalogue(*[(f"c{n}", n, 5) for n in range(len(lexical))])
    ranked = ranking.rank(view, evidence(lexical))
    best = ranked.ordered(ranked.passing(0.2, 0.3))
    values = ranked.relevance[best].tolist()
    assert values == sorted(values, reverse=True)
    assert all(value >= 0.3 for value in values)
    assert len(best) == int((ranked.relevance >= 0.3).sum())


def test_nothing_passes_where_nothing_speaks_to_the_question() -> None:
    def found(best: float, size: int) -> ranking.Ranking:
        view = catalogue(*[(f"c{n}", n, 5) for n in range(size)])
        return ranking.rank(view, evidence([best, *[best / 10] * (size - 1)]))

    weak, strong = found(0.15, 600), found(0.3, 600)
    assert weak.substance.max() < ranking.floor(weak, 600)
    assert (strong.substance >= ranking.floor(strong, 600)).sum() == 1
    assert found(0.15, 150).substance.max() >= ranking.floor(found(0.15, 150), 150)  # less is there by chance
    assert found(0.0, 10).substance.max() < ranking.floor(found(0.0, 10), 10)


def test_who_said_it_raises_a_hit_and_makes_none() -> None:
    view = catalogue(("a", 0, 5), ("b", 0, 5))
    known = evidence([0.5, 0.0])
    ranked = ranking.rank(view, replace(known, spoken=np.array([False, True])))
    assert ranked.relevance[1] > 0
    assert ranked.substance[1] == 0


def test_what_was_said_at_the_time_asked_is_raised_and_what_soon_after_by_less() -> None:
    day = 24 * 3600 * 1_000_000
    near = ranking.timely(np.array([-1, 0, 9 * day, 10 * day, 17 * day, 24 * day]), 0, 10 * day)
    assert near.tolist() == [0, 1, 1, 0.75, 0.375, 0]
    view = catalogue(("a", 0, 5), ("b", 0, 5))
    ranked = ranking.rank(view, replace(evidence([0.5, 0.5]), timely=np.array([0.0, 1.0])))
    assert ranked.relevance[1] > ranked.relevance[0]
    assert ranked.substance[1] == ranked.substance[0]


def test_an_answer_gets_more_of_a_question_than_a_question_of_its_answer() -> None:
    view = catalogue(("a", 0, 5), ("a", 1, 5), ("b", 0, 5), ("b", 1, 5))
    asking = replace(view, asks=np.array([1, 0, 0, 0]))
    lent = ranking.borrowed(asking, np.array([1.0, 0, 1.0, 0]))
    assert lent[1] == pytest.approx(1.5 * lent[3])
    ranked = ranking.rank(asking, evidence([0.5, 0, 0.5, 0]))
    assert ranked.relevance[0] < ranked.relevance[2]


@given(st.floats(-1, 3))
def test_the_score_and_its_inverse(relevance: float) -> None:
    shown = float(ranking.score(np.array([relevance]))[0])
    assert 0 < shown < 1
    assert ranking.relevance_of(shown) == pytest.approx(relevance, abs=1e-6)
