"""BM25 over one scope, against a plain reading of the formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.lexical.index import K1, LONGEST_RATIO, PRIOR_MESSAGES, RARITY, B, LexicalIndex, SoughtTerm

documents = st.lists(st.lists(st.integers(0, 12), max_size=15), min_size=1, max_size=25)
queries = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=2, unique=True), min_size=1, max_size=4)


def ids(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.uint32)


def sought(stems: list[int], similar: dict[int, float] | None = None) -> SoughtTerm:
    similar = similar or {}
    return SoughtTerm(stems=ids(stems), similar=ids(list(similar)), worth=np.array(list(similar.values())))


def plain_share(docs: list[list[int]], query: list[list[int]]) -> list[float]:
    """BM25 as a share of its bound, written as the formula reads."""
    average = max(1.0, sum(map(len, docs)) / len(docs))
    best, scores = 0.0, [0.0] * len(docs)
    for stems in query:
        counts = [sum(doc.count(stem) for stem in stems) for doc in docs]
        having = sum(count > 0 for count in counts)
        idf = math.log(1 + (len(docs) + PRIOR_MESSAGES - having + 0.5) / (having + 0.5)) ** RARITY
        best += idf
        for at, (doc, count) in enumerate(zip(docs, counts, strict=True)):
            norm = K1 * (1 - B + B * min(len(doc) / average, LONGEST_RATIO))
            scores[at] += idf * count / (count + norm) if count else 0.0
    return [score / best for score in scores]


@given(documents, queries)
def test_it_is_bm25_however_it_was_built(docs: list[list[int]], query: list[list[int]]) -> None:
    asked = [sought(stems) for stems in query]
    whole = LexicalIndex.empty().appended([ids(doc) for doc in docs])
    grown = LexicalIndex.empty()
    for doc in docs:
        grown = grown.appended([ids(doc)])
    expected = pytest.approx(plain_share(docs, query))
    assert whole.scores(asked).share.tolist() == expected
    assert grown.scores(asked).share.tolist() == expected
    assert all(0 <= share <= 1 for share in whole.scores(asked).share)


def test_appending_leaves_the_earlier_index_as_it_was() -> None:
    before = LexicalIndex.empty().appended([ids([1, 2])])
    after = before.appended([ids([1])])
    assert len(before.scores([sought([1])]).share) == 1
    assert len(after.scores([sought([1])]).share) == 2


def test_segments_stay_few() -> None:
    index = LexicalIndex.empty()
    for _ in range(500):
        index = index.appended([ids([1, 2, 3])])
    assert len(index.segments) <= 12


def test_a_similar_word_adds_what_the_word_itself_does_not_say() -> None:
    index = LexicalIndex.empty().appended([ids([1, 5]), ids([2, 5]), ids([1, 2]), ids([5, 5])])
    found = index.scores([sought([1], {2: 0.5, 9: 0.9})])
    assert found.share.tolist() == index.scores([sought([1])]).share.tolist()
    assert found.similar[1] == pytest.approx(0.5 * found.share[0])  # as rare, as long, half the worth
    assert found.similar[0] == found.similar[3] == 0
    assert found.similar[2] == 0  # it has the word itself, which says more
    assert [documents.tolist() for documents in found.matches] == [[0, 2]]


@given(documents, queries, st.data())
def test_a_part_is_scored_as_in_the_whole(docs: list[list[int]], query: list[list[int]], data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, len(docs) - 1), min_size=1)))
    asked = [sought(stems, {12 - stems[0]: 0.5}) for stems in query]
    index = LexicalIndex.empty().appended([ids(doc) for doc in docs])
    whole, part = index.scores(asked), index.part(np.array(chosen)).scores(asked)
    assert part.share.tolist() == whole.share[chosen].tolist()
    assert part.similar.tolist() == whole.similar[chosen].tolist()
    for there, here in zip(whole.matches, part.matches, strict=True):
        assert [chosen[at] for at in here] == [at for at in there if at in chosen]


def test_the_rarest_words_name_the_candidates() -> None:
    index = LexicalIndex.empty().appended([ids([1]), ids([1, 2]), ids([1]), ids([3]), ids([1, 3])])
    everywhere = np.ones(5, bool)
    asked = [sought([1]), sought([2]), sought([3])]
    assert index.rarest(asked, everywhere, 3).tolist() == [1, 3, 4]
    assert index.rarest(asked, everywhere, 4).tolist() == [1, 3, 4]  # the newest of the rest has word 1 too
    assert index.rarest(asked, np.array([True, False, True, True, True]), 2).tolist() == [3, 4]
