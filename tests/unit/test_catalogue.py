"""A catalogue that was changed is the one that would have been filled so from the beginning."""

import gc
import random
from types import SimpleNamespace

import numpy as np
import pytest

from memory_engine.recall.catalogue import Catalogue
from tests.catalogues import shown

HOUR = 3600 * 1_000_000


#: Where branches fork: conversation and branch by the number of the message that they come from.
FORKS = {(f"t-{name}", branch): place for name in range(4) for branch, place in ((1, 22), (2, 40), (3, 0))}


def messages(seed: int, count: int) -> list[SimpleNamespace]:
    chance = random.Random(seed)
    return [
        SimpleNamespace(
            seq=3 * number + 1,
            version=chance.randint(1, 3),
            thread_id=f"t-{(talk := chance.randrange(4))}",
            conversation_id=f"c-{talk}",
            branch=chance.choice((0, 0, 1, 2, 3)) if number > 14 else 0,
            active=chance.random() < 0.7,
            role=chance.choice(("user", "assistant")),
            name=chance.choice((None, "Ann", "Bob")),
            agent=chance.choice((None, "greeter")),
            created_at=chance.randrange(chance.choice((4, 40))) * HOUR,
            words=chance.randrange(9),
            asks=chance.randrange(2),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_what_went_and_what_came_leave_no_trace(seed: int) -> None:
    chance, rows = random.Random(seed), messages(seed, 40)
    late = messages(seed + 100, 50)[40:]
    gone = sorted(chance.sample(range(30), 5))
    came = sorted(chance.sample(range(30), 4))
    before = Catalogue()
    before.append([row for number, row in enumerate(rows) if number not in came], FORKS)
    positions = np.flatnonzero(np.isin(before.view().seq, [rows[number].seq for number in gone]))
    after, filled = (
        before.changed(positions, [rows[number] for number in came if number not in gone], FORKS),
        Catalogue(),
    )
    filled.append([row for number, row in enumerate(rows) if number not in gone], FORKS)
    assert shown(after.view()) == shown(filled.view())
    for catalogue in (after, filled):
        catalogue.append(late, FORKS)
    assert shown(after.view()) == shown(filled.view())


def test_nothing_can_be_left() -> None:
    before = Catalogue()
    before.append(messages(7, 5))
    empty = before.changed(np.arange(5), [])
    assert shown(empty.view()) == shown(Catalogue().view())
    empty.append(messages(7, 5))
    assert shown(empty.view()) == shown(before.view())


def test_what_it_keeps_is_nothing_to_the_collector_of_garbage() -> None:
    rows = [SimpleNamespace(**{**vars(row), "conversation_id": str(row.seq)}) for row in messages(7, 1_000)]
    gc.collect()
    before = len(gc.get_objects())
    filled = Catalogue()
    filled.append(rows[:500])
    loaded = Catalogue().changed(np.zeros(0, np.int64), rows)
    gc.collect()
    assert len(filled.view().extents) + len(loaded.view().extents) == 1_500
    assert len(gc.get_objects()) - before < 100
