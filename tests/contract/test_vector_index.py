"""One suite for the port VectorIndex over its implementations: exact, Chroma embedded and Chroma on a server."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memory_engine.errors import IndexUnavailable
from memory_engine.models import ScopeKey
from memory_engine.ports import VectorIndex
from memory_engine.vectors.chroma import Chroma, ChromaIndex
from memory_engine.vectors.exact import ExactIndex
from tests.chroma_server import ChromaServer
from tests.fakes import FixedClock

HERE, THERE = ScopeKey(1, 1), ScopeKey(1, 2)


def chroma(tmp_path: Path, store_id: str = "store") -> ChromaIndex:
    return ChromaIndex(Chroma.embedded(tmp_path / "chroma"), store_id=store_id, space_id=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    with ChromaServer(tmp_path_factory.mktemp("server") / "rows") as running:
        yield running


@pytest.fixture
def door(server: ChromaServer) -> Iterator[Chroma]:
    with closing(Chroma.server(server.url, FixedClock())) as opened:
        yield opened


@pytest.fixture(params=[lambda _path: ExactIndex(8), chroma, None], ids=["exact", "chroma", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> VectorIndex:
    make: Callable[[Path], VectorIndex] | None = request.param
    if make is not None:
        return make(tmp_path)
    return ChromaIndex(request.getfixturevalue("door"), store_id=secrets.token_hex(4), space_id=1)


def unit(*numbers: float) -> np.ndarray:
    vector = np.zeros(8, np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


def test_an_empty_scope_knows_nothing(index: VectorIndex) -> None:
    assert index.watermark(HERE) == 0
    assert index.nearest(HERE, unit(1), 5) == []
    index.drop(HERE)


def test_the_nearest_come_first_and_each_message_once(index: VectorIndex) -> None:
    rows = np.stack([unit(0, 1), unit(1, 0.5), unit(1, 0.1), unit(0, 0, 1)])
    index.add(HERE, [3, 5, 5, 9], rows, watermark=9)
    assert index.nearest(HERE, unit(1), 3)[0] == 5
    assert sorted(index.nearest(HERE, unit(1), 10)) == [3, 5, 9]
    assert index.watermark(HERE) == 9


def test_what_is_removed_is_not_found(index: VectorIndex) -> None:
    index.remove(HERE, [1])
    rows = np.stack([unit(1), *(unit(1, 0.01 * n) for n in range(70)), unit(0, 1)])
    index.add(HERE, [1, *[2] * 70, 3], rows, watermark=3)
    index.remove(HERE, [2, 9])
    assert index.nearest(HERE, unit(1), 80) == [1, 3]
    assert index.watermark(HERE) == 3
    index.add(HERE, [2], np.stack([unit(1)]), watermark=3)
    assert sorted(index.nearest(HERE, unit(1), 80)) == [1, 2, 3]


def test_adding_again_does_no_harm(index: VectorIndex) -> None:
    rows = np.stack([unit(1), unit(0, 1)])
    for _ in range(2):
        index.add(HERE, [1, 2], rows, watermark=2)
    index.add(HERE, [3], unit(0, 0, 1)[np.newaxis], watermark=3)
    assert index.nearest(HERE, unit(0, 1), 10)[0] == 2
    assert sorted(index.nearest(HERE, unit(0, 1), 10)) == [1, 2, 3]
    index.add(HERE, [1], unit(1)[np.newaxis], watermark=1)
    assert index.watermark(HERE) == 3, "a watermark never goes back"


def test_scopes_are_apart_and_can_be_dropped(index: VectorIndex) -> None:
    index.add(HERE, [1], unit(1)[np.newaxis], watermark=1)
    index.add(THERE, [2], unit(1)[np.newaxis], watermark=2)
    assert index.nearest(HERE, unit(1), 5) == [1]
    index.drop(HERE)
    assert index.watermark(HERE) == 0
    assert index.nearest(HERE, unit(1), 5) == []
    assert index.nearest(THERE, unit(1), 5) == [2]


def test_chroma_keeps_its_rows_and_knows_its_store(tmp_path: Path) -> None:
    chroma(tmp_path).add(HERE, [1], unit(1)[np.newaxis], watermark=7)
    again = chroma(tmp_path)
    assert again.watermark(HERE) == 7
    assert again.nearest(HERE, unit(1), 5) == [1]
    assert chroma(tmp_path, "another").watermark(HERE) == 0


def test_only_a_trusted_collection_of_a_server_is_searchable(door: Chroma) -> None:
    index = ChromaIndex(door, store_id="trust", space_id=1)
    index.add(HERE, [1, 2], np.stack([unit(1), unit(0, 1)]), watermark=2)
    assert index.searchable(HERE) == 0
    index.trust(HERE)
    assert index.searchable(HERE) == 2
    index.add(HERE, [3], unit(0, 0, 1)[np.newaxis], watermark=3)
    index.remove(HERE, [1])
    assert (index.searchable(HERE), index.lost_rows(HERE)) == (3, 0)
    index._known[HERE].collection.delete(ids=["2.0"])
    assert index.lost_rows(HERE) == 1
    with pytest.raises(IndexUnavailable, match="lost 1 vectors"):
        index.nearest(HERE, unit(1), 5)
    assert index.searchable(HERE) == 0


def test_nothing_is_added_after_a_watermark_that_is_gone(tmp_path: Path) -> None:
    index = chroma(tmp_path)
    index.add(HERE, [1], unit(1)[np.newaxis], watermark=1)
    index.drop(HERE)
    index.add(HERE, [2], unit(1)[np.newaxis], watermark=2, after=1)
    assert (index.watermark(HERE), index.count(HERE)) == (0, 0)


def test_drop_for_good_takes_the_collections_of_other_spaces(door: Chroma) -> None:
    now, before = (ChromaIndex(door, store_id="spaces", space_id=space) for space in (1, 2))
    for index in (now, before):
        index.add(HERE, [1], unit(1)[np.newaxis], watermark=1)
        index.add(THERE, [1], unit(1)[np.newaxis], watermark=1)
    now.drop_for_good([HERE])
    left = [name for name in door.names() if name.startswith("memory-spaces-")]
    assert sorted(left) == ["memory-spaces-1-1-2", "memory-spaces-2-1-2"]
