"""Whitening, against a plain reading of what it says."""

import numpy as np
import pytest

from memory_engine.recall.whitening import Whitening, sample_size


def directions(rows: int, dimension: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(1).standard_normal((rows, dimension)).astype(np.float32) + 0.5
    vectors[:, 0] *= 4
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_without_strength_it_is_the_centred_cosine() -> None:
    vectors = directions(40)
    vectors[3] = 0
    whitening = Whitening.fit(vectors, 0.0)
    found = whitening.cosines(vectors, whitening.lengths(vectors), vectors[0])
    moved = vectors - whitening.centre
    expected = moved @ moved[0] / (np.linalg.norm(moved, axis=1) * np.linalg.norm(moved[0]))
    expected[3] = 0
    assert found == pytest.approx(expected, abs=1e-4)


def test_strength_evens_the_variances_and_a_text_is_like_itself() -> None:
    vectors = directions(3000)

    def ratio(strength: float) -> float:
        whitening = Whitening.fit(vectors, strength)
        variances = ((vectors - whitening.centre) @ whitening.matrix).var(axis=0)
        return float(variances.max() / variances.min())

    assert ratio(0.5) < 1.5 < ratio(0.25) < ratio(0.0)
    whitening = Whitening.fit(vectors, 0.25)
    found = whitening.cosines(vectors, whitening.lengths(vectors), vectors[7])
    assert found[7] == pytest.approx(1.0, abs=1e-4)
    assert found.argmax() == 7


def test_a_few_messages_change_little() -> None:
    vectors = directions(3, dimension=256)
    plain, whitened = Whitening.fit(vectors, 0.0), Whitening.fit(vectors, 0.25)
    query = directions(1, dimension=256)[0]
    before = plain.cosines(vectors, plain.lengths(vectors), query)
    after = whitened.cosines(vectors, whitened.lengths(vectors), query)
    assert after == pytest.approx(before, abs=0.1)


def test_the_sample_grows_in_few_steps() -> None:
    sizes = [sample_size(rows) for rows in range(5_000)]
    assert sizes[:33] == list(range(33))
    assert all(size <= rows for rows, size in enumerate(sizes))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 60
