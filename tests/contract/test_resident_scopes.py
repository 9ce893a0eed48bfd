"""What is resident of a scope follows every change, and is then what a fresh load would be."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from memory_engine import MemoryEngine, NewMessage, Scope
from memory_engine.errors import MessageNotFound
from memory_engine.lexical.index import LexicalIndex, SoughtTerm
from memory_engine.models import ScopeKey
from memory_engine.recall.resident import ResidentScopes
from memory_engine.retention import Policy, Rule
from memory_engine.storage import scopes, terms
from tests.catalogues import shown
from tests.fakes import FixedClock

WORDS = ("harbour", "station", "orchard", "museum", "library", "bakery", "quarry", "theatre", "bridge", "garden")
MESSAGES = 120


class Talk:
    """People who write, edit, erase, hide and bring back at random."""

    def __init__(self, engine: MemoryEngine, clock: FixedClock, seed: int) -> None:
        self.chance, self._engine, self._clock = random.Random(seed), engine, clock
        self._said: list[str] = []
        self._hidden: list[str] = []
        self._chat: list[NewMessage] = []
        for _ in range(MESSAGES // 10):
            self.write(10)

    def write(self, count: int = 1) -> None:
        said = [self._message() for _ in range(count)]
        agent = self.chance.choice(("greeter", None))
        self._said += self._engine.remember(f"c-{self.chance.randrange(7)}", said, agent=agent).message_ids

    def _message(self) -> dict[str, Any]:
        self._clock.advance(hours=self.chance.choice((0, 1, 7)))
        named = {"name": self.chance.choice(("Ann", "Bob"))} if self.chance.random() < 0.3 else {}
        role = self.chance.choice(("user", "assistant"))
        return {"role": role, "content": self._text(), "created_at": self._clock.now(), **named}

    def chat(self) -> None:
        """Go on in a conversation of whole histories, or go back in it and say something else."""
        if len(self._chat) > 4 and self.chance.random() < 0.7:
            del self._chat[2 * self.chance.randrange(1, len(self._chat) // 2) :]
        self._clock.advance(hours=self.chance.choice((0, 1, 7)))
        self._chat.append(NewMessage(role="user", text=self._text()))
        followed = self._engine.following.follow("chat", self._chat)
        self._chat.append(NewMessage(role="assistant", text=self._text()))
        self._engine.following.answer("chat", self._chat[-1:], after=followed.last)

    def edit(self) -> None:
        self._engine.edit(self.chance.choice(self._said), {"content": self._text()})

    def erase(self) -> None:
        self._engine.erase(message_ids=[self._said.pop(self.chance.randrange(len(self._said)))])

    def hide(self) -> None:
        name = self._said.pop(self.chance.randrange(len(self._said)))
        self._engine.quarantine.hold_message(name, reason="odd")
        self._hidden.append(name)

    def show(self) -> None:
        if self._hidden:
            name = self._hidden.pop()
            self._engine.quarantine.release_message(name)
            self._said.append(name)

    def prune(self) -> None:
        self._engine.pruner.prune("default", Policy(rules=(Rule(stratum="messages", keep_newest=MESSAGES - 20),)))

    def restore(self) -> None:
        self._engine.pruner.restore_since("default", self._clock.now() - timedelta(days=1))

    def _text(self) -> str:
        return " ".join(self.chance.choices(WORDS, k=self.chance.randint(1, 6))) + self.chance.choice(".?")


@pytest.fixture
def key(engine_on_both: MemoryEngine) -> Callable[[], ScopeKey]:
    def found() -> ScopeKey:
        with engine_on_both.database.read() as db:
            return scopes.find_scope(db, Scope())

    return found


@pytest.mark.parametrize("seed", range(3))
def test_following_and_loading_come_to_the_same(
    engine_on_both: MemoryEngine, clock: FixedClock, key: Callable[[], ScopeKey], seed: int
) -> None:
    talk, residents = Talk(engine_on_both, clock, seed), engine_on_both._parts.serving().residents
    engine_on_both.recall("harbour")
    for _ in range(30):
        act = talk.chance.choice(
            (talk.write, talk.edit, talk.erase, talk.hide, talk.show, talk.prune, talk.restore, talk.chat)
        )
        with suppress(MessageNotFound):  # it was pruned
            act()
        if talk.chance.random() < 0.7:  # changes may come together
            same(engine_on_both, residents, key(), act.__name__)


def test_a_change_has_nothing_else_read_anew(
    engine_on_both: MemoryEngine, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk, read_after = Talk(engine_on_both, clock, 1), terms.read_after
    loads: list[int] = []
    monkeypatch.setattr(terms, "read_after", lambda db, of, seq: loads.append(seq) or read_after(db, of, seq))
    assert engine_on_both.recall("harbour")
    for act in (talk.edit, talk.erase, talk.hide, talk.show):
        act()
        assert engine_on_both.recall("harbour")
    assert loads == [0]


def test_the_sample_of_the_whitening_grows_with_what_comes_back(
    engine_on_both: MemoryEngine, key: Callable[[], ScopeKey]
) -> None:
    (*_, newest) = engine_on_both.remember("c", [said(number) for number in range(40)]).message_ids
    residents = engine_on_both._parts.serving().residents
    engine_on_both.recall("harbour")
    engine_on_both.quarantine.hold_message(newest)
    same(engine_on_both, residents, key(), "held")
    engine_on_both.quarantine.release_message(newest)
    same(engine_on_both, residents, key(), "released")


def test_vectors_that_were_read_ahead_go_with_their_message(
    engine_on_both: MemoryEngine, key: Callable[[], ScopeKey]
) -> None:
    engine_on_both.remember("c", [said(number) for number in range(20)])
    residents = engine_on_both._parts.serving().residents
    memory = residents.memory(key())
    ahead = engine_on_both.remember("c", [said(20)]).message_ids
    assert len(residents.vectors(key(), memory).seqs) == 21
    engine_on_both.erase(message_ids=list(ahead))
    same(engine_on_both, residents, key(), "erased")


def test_what_was_asked_least_recently_is_dropped_and_loaded_again(
    engine_on_both: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, keys = engine_on_both, []
    for user in ("ann", "bob"):
        engine.remember(f"c-{user}", [said(number) for number in range(5)], scope=Scope(user=user))
        with engine.database.read() as db:
            keys.append(scopes.find_scope(db, Scope(user=user)))
    ann, bob = keys
    serving, read_after = engine._parts.serving(), terms.read_after
    room = {"space_id": serving.space_id, "dimension": serving.space.dimension, "embeds_at_once": True}
    residents = ResidentScopes(engine.database, **room, limit=1)
    loads: list[ScopeKey] = []
    monkeypatch.setattr(terms, "read_after", lambda db, of, seq: loads.append(of) or read_after(db, of, seq))
    for key in (ann, ann, bob, bob, ann):
        assert len(residents.memory(key).catalogue) == 5
    assert loads == [ann, bob, ann]


def said(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"{WORDS[number % len(WORDS)]} {number}"}


def same(engine: MemoryEngine, followed: ResidentScopes, key: ScopeKey, act: str) -> None:
    serving = engine._parts.serving()
    fresh = ResidentScopes(
        engine.database, space_id=serving.space_id, dimension=serving.space.dimension, embeds_at_once=True
    )
    (one, other), tables = [each.memory(key) for each in (followed, fresh)], []
    for each, memory in ((followed, one), (fresh, other)):
        tables.append(each.vectors(key, memory))
    assert shown(one.catalogue) == shown(other.catalogue), act
    asked = [SoughtTerm(stems=terms_of) for terms_of in stems(other.lexical)]
    for score, of_fresh in zip(one.lexical.scores(asked).matches, other.lexical.scores(asked).matches, strict=True):
        assert score.tolist() == of_fresh.tolist(), act
    assert np.array_equal(one.lexical.scores(asked).share, other.lexical.scores(asked).share), act
    assert np.array_equal(tables[0].seqs, tables[1].seqs), act
    assert np.array_equal(tables[0].vectors, tables[1].vectors), act
    assert np.array_equal(tables[0].whitening.matrix, tables[1].whitening.matrix), act
    assert np.allclose(tables[0].lengths, tables[1].lengths, rtol=1e-5), act


def stems(lexical: LexicalIndex) -> list[np.ndarray]:
    found = np.unique(np.concatenate([segment.terms for segment in lexical.segments]))
    return [found[at : at + 2] for at in range(0, len(found), 2)]
