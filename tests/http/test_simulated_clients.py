"""Twelve kinds of clients over eight turns: what is sent on is what they sent, and each turn is stored once."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api
from tests.http.test_transparent_proxy import ask, without_block
from tests.running_service import RunningService

#: What is said in each turn, in no words of another.
QUESTIONS = (
    "Which ferry leaves for Split on Sundays?", "How do I bake sourdough bread?", "Who painted the blue horses?",
    "What does a pangolin eat?", "When was the lighthouse built?", "Where can I mend my bicycle?",
    "Why do leaves turn red?", "Can you name seven rivers of Peru?",
)  # fmt: skip
Message = dict[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


@dataclass
class Client:
    """A client that keeps its own history, and changes what a server sent as it likes."""

    api: Api
    scripted: ScriptedModel
    #: What it makes of a reply, and which of its history it sends.
    keeps: Callable[[str], str] = lambda text: text
    sends: Callable[[list[Message]], list[Message]] = lambda history: list(history)
    #: What the model's server answers, around the words of the answer.
    reply: str = "{}"
    history: list[Message] = field(default_factory=list)
    #: Every request, as it was sent on.
    sent_on: list[list[Message]] = field(default_factory=list)
    #: The words of every answer, in order.
    answers: list[str] = field(default_factory=list)
    count: Iterator[int] = field(default_factory=itertools.count)

    def say(self, text: str) -> None:
        """Say something, and keep the answer."""
        self.history.append(user(text))
        self.answer()

    def answer(self) -> None:
        """Have what was said last answered."""
        words = f"Answer {next(self.count)} of {id(self)}: {self.history[-1]['content'].strip()}"
        self.scripted.script, self.scripted.requests = [Scripted(text=self.reply.format(words))], []
        sent = self.sends(self.history)
        answered = ask(self.api, {"model": "m", "messages": sent})
        assert answered.status_code == 200, answered.text
        assert "x-memory-notice" not in answered.headers
        (request,) = self.scripted.requests
        self.sent_on.append(request["messages"])
        bare = without_block(request["messages"])
        assert bare[len(bare) - len(sent) :] == sent, "the client's messages, in its order"
        texts = [message["content"] for message in bare if message["content"]]
        assert len(set(texts)) == len(texts), "nothing is repeated"
        self.answers.append(words)
        self.history.append({"role": "assistant", "content": self.keeps(self.reply.format(words))})


def rows(api: Api, branches: str = "active") -> list[Message]:
    path = f"/v1/memory/conversations/talk/messages?order=asc&limit=200&branches={branches}"
    found: list[Message] = api.get(path).json()["data"]
    return found


def assert_stored_once(client: Client, asked: int) -> None:
    """Each of the client's turns is stored once, on whatever branch."""
    stored = rows(client.api, "all")
    counts = Counter(row["text"].strip() for row in stored)
    assert set(counts.values()) == {1}, counts.most_common(3)
    assert [row["role"] for row in stored].count("user") == asked
    assert [row["role"] for row in stored].count("assistant") == len(client.answers)


def recalled(api: Api, query: str, **fields: Any) -> set[str]:
    return {hit["text"] for hit in api.recall(query, k=50, **fields)}


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "trimming": {"reply": "{}\n\n", "keeps": str.strip},
    "reasoning removed": {"reply": "<think>\nlet me see\n</think>\n\n{}", "keeps": lambda text: text.split("\n\n")[-1]},
    "reasoning half open": {"reply": "let me see\n</think>\n\n{}", "keeps": lambda text: text.split("\n\n")[-1]},
    "CRLF": {"reply": "one\n{}\nthree", "keeps": lambda text: text.replace("\n", "\r\n")},
    "translating": {"keeps": lambda text: f"Réponse : {sum(map(ord, text))}"},
    "leaving replies out": {
        "sends": lambda history: [message for message in history if message["role"] == "user"],
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_send_their_whole_history(with_model: RunningService, scripted: ScriptedModel, kind: str) -> None:
    client = Client(Api(with_model), scripted, **KINDS[kind])
    for question in QUESTIONS:
        client.say(question)
    assert_stored_once(client, asked=8)
    for sent_on, sent in zip(client.sent_on, range(1, 9), strict=True):
        assert [m["role"] for m in without_block(sent_on)].count("user") == sent, "no stored turn is added"
    assert all(row["active"] and row["branch_id"] == "branch_0" for row in rows(client.api, "all"))
    parents = [row["parent_id"] for row in rows(client.api)]
    assert parents == [None, *(row["message_id"] for row in rows(client.api))][:-1]


def test_a_client_that_regenerates_twice(with_model: RunningService, scripted: ScriptedModel) -> None:
    client = Client(Api(with_model), scripted)
    for question in QUESTIONS[:3]:
        client.say(question)
    for _ in range(2):
        client.history.pop()
        client.answer()
    for question in QUESTIONS[3:]:
        client.say(question)
    assert_stored_once(client, asked=8)
    gone = set(client.answers[2:4])
    assert [row["text"] for row in rows(client.api)] == [message["content"] for message in client.history]
    assert {row["text"] for row in rows(client.api, "all") if not row["active"]} == gone
    assert not gone & recalled(client.api, "painted blue horses")
    assert gone <= recalled(client.api, "painted blue horses", branches="all")
    parents = {row["text"]: row["parent_id"] for row in rows(client.api, "all")}
    assert len({parents[answer] for answer in client.answers[2:5]}) == 1, "all three answer the same message"


def test_the_first_answer_can_be_regenerated(with_model: RunningService, scripted: ScriptedModel) -> None:
    client = Client(Api(with_model), scripted)
    client.say(QUESTIONS[0])
    client.history.pop()
    client.answer()
    client.say(QUESTIONS[1])
    assert_stored_once(client, asked=2)
    assert [row["text"] for row in rows(client.api)] == [message["content"] for message in client.history]


def test_a_client_that_edits_turn_three(with_model: RunningService, scripted: ScriptedModel) -> None:
    client = Client(Api(with_model), scripted)
    for question in QUESTIONS[:5]:
        client.say(question)
    gone = {message["content"] for message in client.history[4:]}
    del client.history[4:]
    client.say("Who painted the yellow horses?")
    for question in QUESTIONS[5:]:
        client.say(question)
    assert_stored_once(client, asked=9)
    assert [row["text"] for row in rows(client.api)] == [message["content"] for message in client.history]
    assert not gone & recalled(client.api, "painted blue horses pangolin lighthouse")
    assert QUESTIONS[3] in recalled(client.api, "what does a pangolin eat", branches="all")


def test_a_client_that_returns_to_an_abandoned_branch(with_model: RunningService, scripted: ScriptedModel) -> None:
    client = Client(Api(with_model), scripted)
    for question in QUESTIONS[:3]:
        client.say(question)
    first = list(client.history)
    del client.history[4:]
    client.say("Who painted the yellow horses?")
    second = {message["content"] for message in client.history[4:]}
    client.history = first
    for question in QUESTIONS[3:]:
        client.say(question)
    assert_stored_once(client, asked=9)
    assert [row["text"] for row in rows(client.api)] == [message["content"] for message in client.history]
    assert not second & recalled(client.api, "painted horses")
    assert QUESTIONS[2] in recalled(client.api, "painted horses")
    assert second <= recalled(client.api, "painted yellow horses", branches="all")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_window_of_the_last_messages(with_model: RunningService, scripted: ScriptedModel, size: int) -> None:
    client = Client(Api(with_model), scripted, sends=lambda history: history[-size:])
    for question in QUESTIONS:
        client.say(question)
    assert_stored_once(client, asked=8)
    for number, sent_on in enumerate(client.sent_on):
        whole = client.history[: 2 * number + 1]
        assert without_block(sent_on) == whole[-len(without_block(sent_on)) :], "stored turns, then the window"
        assert len(sent_on) == len(whole), "as far as there is room"


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_client_that_compacts_does_not_get_its_past_back(
    with_model: RunningService, scripted: ScriptedModel, role: str
) -> None:
    client = Client(Api(with_model), scripted)
    for question in QUESTIONS[:5]:
        client.say(question)
    client.history = [{"role": role, "content": "Summed up: ferries, bread, horses."}, *client.history[-2:]]
    for question in QUESTIONS[5:]:
        client.say(question)
    stored = [row["text"] for row in rows(client.api, "all")]
    assert [text for text in stored if text in QUESTIONS] == list(QUESTIONS)
    assert [text for text in stored if text in client.answers] == client.answers
    for sent_on in client.sent_on[5:]:
        assert without_block(sent_on)[0]["content"].startswith("Summed up")


def test_a_client_that_compacts_to_nothing_it_said(with_model: RunningService, scripted: ScriptedModel) -> None:
    client = Client(Api(with_model), scripted)
    for question in QUESTIONS[:4]:
        client.say(question)
    client.history = [user("Summed up: ferries, bread, horses."), {"role": "assistant", "content": "Go on."}]
    for question in QUESTIONS[4:]:
        client.say(question)
        assert without_block(client.sent_on[-1])[0]["content"].startswith("Summed up")
    stored = [row["text"] for row in rows(client.api, "all")]
    assert stored == [text for pair in zip(QUESTIONS, client.answers, strict=True) for text in pair]


def test_a_client_that_resends_everything_after_a_restart(
    scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, settings = (
        tmp_path_factory.mktemp("again") / "data",
        {"OPENAI_BASE_URL": scripted.url, "OPENAI_API_KEY": "x"},
    )
    with RunningService(folder, **settings) as running:
        client = Client(Api(running), scripted)
        for question in QUESTIONS[:4]:
            client.say(question)
        headers = client.api.headers
    with RunningService(folder, **settings) as running:
        client.api = Api(running)
        client.api.headers = headers
        for question in QUESTIONS[4:]:
            client.say(question)
        scripted.script = [Scripted(status=500), Scripted(status=500)]
        client.history.append(user("Once more?"))
        assert ask(client.api, {"model": "m", "messages": client.history}).status_code == 500
        client.answer()
        assert_stored_once(client, asked=9)
        assert len(rows(client.api)) == 18


def test_two_devices_are_two_live_branches(with_model: RunningService, scripted: ScriptedModel) -> None:
    api = Api(with_model)
    phone = Client(api, scripted)
    for question in QUESTIONS[:2]:
        phone.say(question)
    desk = Client(api, scripted, history=list(phone.history))
    for mine, others in itertools.pairwise(QUESTIONS[2:]):
        phone.say(f"From the phone: {mine}")
        desk.say(f"At my desk: {others}")
    assert all(row["active"] for row in rows(api, "all"))
    for one, other in ((phone, desk), (desk, phone)):
        own = {message["content"] for message in one.history[4:]}
        found = recalled(api, "pangolin eat horses painted lighthouse built")
        assert found & own, "both are in recall"
        for sent_on in other.sent_on:
            assert not [text for text in own if any(text in str(message["content"]) for message in sent_on)]
    counts = Counter(row["text"] for row in rows(api, "all"))
    assert set(counts.values()) == {1}


def test_the_client_says_whose_history_counts(with_model: RunningService, scripted: ScriptedModel) -> None:
    client = Client(Api(with_model), scripted)
    for question in QUESTIONS[:3]:
        client.say(question)
    for whose, added in (("client", 0), ("stored", 6), ("odd", 6)):
        scripted.requests = []
        body = {"model": "m", "messages": [user(f"And for {whose}?")]}
        answered = ask(client.api, body, **{"x-memory-history": whose})
        assert answered.status_code == 200
        (sent,) = scripted.requests
        assert len(without_block(sent["messages"])) - 1 >= added
        assert (len(sent["messages"]) == 1) == (whose == "client")
        assert answered.headers.get("x-memory-notice") == ("invalid_history_header" if whose == "odd" else None)


def test_tool_calls_keep_their_block_and_their_group(with_model: RunningService, scripted: ScriptedModel) -> None:
    api = Api(with_model)
    api.remember("before", user("The ferry to Split leaves at nine on Sundays."))
    scripted.requests = []
    messages: list[Message] = [user("Which ferry leaves for Split on Sundays?")]
    for number in range(3):
        scripted.script = [Scripted(text="", calls=[("clock", {"n": number}), ("tide", {"n": number})])]
        reply = ask(api, {"model": "m", "messages": messages}).json()["choices"][0]["message"]
        messages.append(reply)
        for call in reply["tool_calls"]:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"{number}: {call['id']}"})
        api.remember(f"meanwhile {number}", user(f"The ferry to Split on Sundays is late, {number}."))
    scripted.script = [Scripted(text="At nine.")]
    ask(api, {"model": "m", "messages": messages})
    assert len({str(sent["messages"][0]) for sent in scripted.requests}) == 1, "the block stays as it was"
    assert "leaves at nine" in scripted.requests[0]["messages"][0]["content"]
    for sent in scripted.requests:
        assert without_block(sent["messages"]) == messages[: len(sent["messages"])]
    assert [row["role"] for row in rows(api)] == ["user", *["assistant", "tool", "tool"] * 3, "assistant"]
    ask(api, {"model": "m", "messages": [user("And on Mondays?")]})
    roles = [message["role"] for message in scripted.requests[-1]["messages"]]
    assert roles == ["user", *["assistant", "tool", "tool"] * 3, "assistant", "user"], "groups are whole"
