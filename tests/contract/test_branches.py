"""Branches of conversations, on both databases: what is left, what comes back, and what is derived from either."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from memory_engine import MemoryEngine, NewMessage, Page, Scope
from memory_engine.branching import alike
from memory_engine.errors import MessageNotFound
from memory_engine.following import Followed
from tests.fakes import FixedClock

PAGE = Page(limit=1000, ascending=True)


def user(content: str) -> NewMessage:
    return NewMessage(role="user", text=content)


def reply(content: str) -> NewMessage:
    return NewMessage(role="assistant", text=content)


class Chat:
    """A client that sends its whole history."""

    def __init__(self, engine: MemoryEngine, name: str = "c") -> None:
        self._engine, self._name = engine, name
        self.history: list[NewMessage] = []
        self.followed: Followed | None = None

    def say(self, *texts: str) -> None:
        for number, content in enumerate(texts):
            self.history.append((user, reply)[number % 2](content))
            if number % 2 == 0:
                self.followed = self._engine.following.follow(self._name, self.history)
            else:
                assert self.followed is not None
                self._engine.following.answer(self._name, self.history[-1:], after=self.followed.last)

    def regenerate(self, content: str) -> None:
        self.history.pop()
        self.followed = self._engine.following.follow(self._name, self.history)
        self.history.append(reply(content))
        self._engine.following.answer(self._name, self.history[-1:], after=self.followed.last)

    def rows(self, *, all_branches: bool = False) -> list[str]:
        found, _ = self._engine.history.messages(self._name, PAGE, all_branches=all_branches)
        return [row.text for row in found]

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.history]


TALK = (
    "The harbour library opens at nine on weekdays.", "Noted: the harbour library opens at nine on weekdays.",
    "My name is Ana and I live in Lyon near the old bakery.", "The quarry theatre plays on Mondays, says the bakery.",
)  # fmt: skip


def test_what_was_derived_from_an_abandoned_branch_goes_and_comes_back(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    chat = Chat(engine)
    chat.say(*TALK)
    other = Chat(engine, "other")
    other.say("Does the quarry theatre play on Mondays, as the bakery says?", "It does.")
    engine.consolidate()
    assert "quarry theatre" in engine.history.summaries("c")[0].text
    chat.regenerate("The museum bridge is closed for the winter.")
    assert chat.rows() == chat.texts
    assert all("quarry" not in summary.text for summary in engine.history.summaries("c"))
    engine.consolidate()
    shown = " ".join(summary.text for summary in engine.history.summaries("c"))
    assert "quarry" not in shown
    assert TALK[3] not in [hit.text for hit in engine.recall("quarry theatre on Mondays")]
    assert TALK[3] in [hit.text for hit in engine.recall("quarry theatre on Mondays", all_branches=True)]
    assert not any(finding.problems for finding in engine.examine())
    chat.history[-1] = reply(TALK[3])
    chat.say("And on Tuesdays?", "Closed.")
    assert chat.rows() == [*TALK, "And on Tuesdays?", "Closed."]
    assert TALK[3] in [hit.text for hit in engine.recall("quarry theatre on Mondays")]
    engine.consolidate()
    assert "museum" not in " ".join(summary.text for summary in engine.history.summaries("c"))
    assert not any(finding.problems for finding in engine.examine())


def test_statements_of_an_abandoned_branch_are_not_learned(engine_on_both: MemoryEngine) -> None:
    engine, chat = engine_on_both, Chat(engine_on_both)
    chat.say("Hello there.", "Hello.", "My name is Ana.", "Nice to meet you, Ana.")
    engine.consolidate()
    assert [pattern.text for pattern in engine.patterns.in_force(Scope(), 9)]
    del chat.history[2:]
    chat.say("My name is Anna.", "Nice to meet you, Anna.")
    assert not [pattern for pattern in engine.patterns.in_force(Scope(), 9) if "Ana." in pattern.text]
    engine.consolidate()
    assert [pattern.text for pattern in engine.patterns.in_force(Scope(), 9)] == ["My name is Anna."]


def test_an_erasure_takes_every_branch(engine_on_both: MemoryEngine) -> None:
    engine, chat = engine_on_both, Chat(engine_on_both)
    chat.say(*TALK)
    for number in range(3):
        chat.regenerate(f"Another answer, number {number}.")
    assert len(chat.rows(all_branches=True)) == 7
    engine.erase(conversation_id="c")
    with engine.database.read() as db:
        for table in ("thread_branches", "chat_messages", "assistant_threads"):
            assert db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table


def test_what_answers_an_erased_message_is_not_stored(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    followed = engine.following.follow("c", [user("My secret is 4711.")])
    assert followed.last is not None
    engine.erase(message_ids=[followed.last])
    with pytest.raises(MessageNotFound):
        engine.following.answer("c", [reply("4711 it is.")], after=followed.last)


def test_erased_messages_do_not_come_back_with_the_history(engine_on_both: MemoryEngine) -> None:
    engine, chat = engine_on_both, Chat(engine_on_both)
    chat.say(*TALK)
    rows, _ = engine.history.messages("c", PAGE)
    engine.erase(message_ids=[rows[0].message_id, rows[1].message_id])
    chat.say("And now?", "Now too.")
    assert chat.rows() == [*TALK[2:], "And now?", "Now too."]


def test_plain_messages_go_on_at_the_head(engine_on_both: MemoryEngine, clock: FixedClock) -> None:
    engine, chat = engine_on_both, Chat(engine_on_both)
    chat.say(*TALK)
    chat.regenerate("Another answer.")
    engine.remember("c", [{"role": "user", "content": "Posted by itself."}])
    assert chat.rows() == [*TALK[:3], "Another answer.", "Posted by itself."]
    assert [message.text for message in engine.history.newest("c", 10)] == chat.rows()
    rows, _ = engine.history.messages("c", PAGE, all_branches=True)
    parents = {row.text: row.parent_id for row in rows}
    ids = {row.text: row.message_id for row in rows}
    assert parents["Posted by itself."] == ids["Another answer."]
    assert parents["Another answer."] == parents[TALK[3]] == ids[TALK[2]]
    assert engine.history.conversation("c").messages == 5


def test_two_writers_that_follow_at_once_store_each_message_once(engine_on_both: MemoryEngine) -> None:
    engine = engine_on_both
    sent = [user("One."), reply("Two."), user("Three.")]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: engine.following.follow("c", sent), range(8)))
    assert len({each.last for each in found}) == 1
    assert [row.text for row in engine.history.messages("c", PAGE)[0]] == ["One.", "Two.", "Three."]


@pytest.mark.parametrize("seed", range(4))
def test_random_clients_are_followed(engine: MemoryEngine, seed: int) -> None:
    chance, chat = random.Random(seed), Chat(engine)
    versions: list[list[NewMessage]] = []
    for said in range(40):
        act = chance.choice(("say", "say", "regenerate", "edit", "return"))
        if act == "say" or len(chat.history) < 4:  # a single message is the next of the conversation
            chat.say(f"question {said}", f"answer {said}")
        elif act == "regenerate":
            chat.regenerate(f"answer {said}")
        elif act == "edit":
            del chat.history[2 * chance.randrange(1, len(chat.history) // 2) :]
            chat.say(f"question {said}", f"answer {said}")
        elif versions:
            chat.history = list(chance.choice(versions))
            chat.say(f"question {said}", f"answer {said}")
        versions.append(list(chat.history))
        assert chat.followed is not None
        path = [m.text for m in engine.history.newest("c", 1000)]
        assert path == chat.texts, act
    everything = chat.rows(all_branches=True)
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize(
    ("one", "other", "is_edit"),
    [
        ("What's the weather in Paris?", "What's the weather in Lyon?", True),
        ("How do I bake bread?", "How do I bake sourdough bread?", True),
        ("Qui a peint les chevaux bleus ?", "Qui a peint les chevaux jaunes ?", True),
        ("Кто написал эту картину?", "Кто написал эту книгу?", True),
        ("京都の天気はどうですか", "大阪の天気はどうですか", True),
        ("yes", "yes please", True),
        ("What is the capital of France?", "What is the price of bread?", False),
        ("Plan a trip to Rome", "How do I fix a leaking tap?", False),
        ("Какая завтра погода?", "Закажи столик на двоих", False),
        ("京都の天気はどうですか", "予約をお願いします", False),
    ],
)
def test_an_edit_is_told_from_another_message(one: str, other: str, is_edit: bool) -> None:
    assert alike(one, other) == alike(other, one) == is_edit
