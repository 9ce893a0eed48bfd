"""Ranking is pure functions over columns."""

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
                seq=seq,
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


def evidence(lexical: list[float], allowed: list[bool] | None = None) -> Evidence:
    size = len(lexical)
    mask = np.ones(size, bool) if allowed is None else np.array(allowed)
    return Evidence(lexical=np.array(lexical), cosine=np.zeros(size), allowed=mask, spoken=np.zeros(size, bool))


def test_sessions_end_at_an_idle_gap_and_interleaved_conversations_keep_their_neighbours() -> None:
    gap = SESSION_GAP // 60_000_000 + 1
    view = catalogue(("a", 0, 5), ("b", 1, 5), ("a", 2, 5), ("a", 2 + gap, 5), ("b", 3, 5))
    assert view.previous.tolist() == [-1, -1, 0, -1, 1]
    assert view.session.tolist() == [0, 1, 0, 2, 1]


def test_a_view_is_not_changed_by_what_comes_later() -> None:
    made = Catalogue()
    row = SimpleNamespace(seq=1, conversation_id="a", role="user", name="Ana", agent=None, created_at=0, words=3)
    made.append([row])
    before = made.view()
    made.append([SimpleNamespace(**{**vars(row), "seq": n, "conversation_id": f"c{n}"}) for n in range(2, 300)])
    assert len(before) == 1
    assert before.seq.tolist() == [1]
    assert len(made.view()) == 299


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
    assert ranked.best(10, -1.0).tolist() == [1]
    assert ranked.relevance[1] == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 5))
def test_the_best_are_sorted_and_above_the_floor(lexical: list[float], k: int) -> None:
    view = catalogue(*[(f"c{n}", n, 5) for n in range(len(lexical))])
    ranked = ranking.rank(view, evidence(lexical))
    best = ranked.best(k, 0.2)
    values = ranked.relevance[best].tolist()
    assert values == sorted(values, reverse=True)
    assert all(value >= 0.2 for value in values)
    assert len(best) == min(k, int((ranked.relevance >= 0.2).sum()))


@given(st.floats(-1, 3))
def test_the_score_and_its_inverse(relevance: float) -> None:
    shown = float(ranking.score(np.array([relevance]))[0])
    assert 0 < shown < 1
    assert ranking.relevance_of(shown) == pytest.approx(relevance, abs=1e-6)


def test_centred_cosines() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((20, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[3] = 0
    query, centre = vectors[0], vectors.mean(axis=0)
    found = ranking.centred_cosines(vectors, query, centre)
    moved = vectors - centre
    expected = moved @ (query - centre) / (np.linalg.norm(moved, axis=1) * np.linalg.norm(query - centre))
    expected[3] = 0
    assert found == pytest.approx(expected, abs=1e-5)
