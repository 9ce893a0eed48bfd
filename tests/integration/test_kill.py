"""Acknowledged is durable: the service is killed at random moments under writing, and nothing acknowledged is lost."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.running_service import RunningService

_KILLS = 10
_WRITERS = 4
_BATCH = 3


@dataclass
class Writer:
    """Posts numbered batches to its own conversation until the service is gone."""

    name: str
    #: Batches answered with 201, and the one whose answer was lost, if any.
    acknowledged: list[int] = field(default_factory=list)
    unanswered: int | None = None

    def batch(self, number: int) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": f"{self.word(number)} part {part}", "id": f"{self.word(number)}-{part}"}
            for part in range(_BATCH)
        ]

    def word(self, number: int) -> str:
        return f"{self.name}word{number}"

    def run(self, address: str) -> None:
        number = len(self.acknowledged)
        with httpx2.Client(base_url=address, timeout=30, trust_env=False) as http:
            while True:
                try:
                    body = {"conversation_id": self.name, "messages": self.batch(number)}
                    answer = http.post("/v1/memory/messages", json=body)
                except httpx2.TransportError:
                    self.unanswered = number
                    return
                assert answer.status_code == 201, answer.text
                self.acknowledged.append(number)
                number += 1


def stored(service: RunningService, name: str) -> list[str]:
    """The texts of a conversation, in order."""
    texts: list[str] = []
    after = ""
    while True:
        answer = service.http.get(f"/v1/memory/conversations/{name}/messages?order=asc&limit=1000{after}")
        if answer.status_code == 404:
            return []
        page = answer.json()
        texts += [row["content"] for row in page["data"]]
        if not page["has_more"]:
            return texts
        after = f"&after={page['last_id']}"


def check(service: RunningService, writer: Writer, chance: random.Random) -> None:
    """Everything acknowledged is there in order; the last batch is there whole or not at all; words are found."""
    expected = [message["content"] for number in writer.acknowledged for message in writer.batch(number)]
    found = stored(service, writer.name)
    extra = found[len(expected) :]
    lost_answer = [] if writer.unanswered is None else writer.batch(writer.unanswered)
    assert found[: len(expected)] == expected
    assert extra in ([], [message["content"] for message in lost_answer])
    if writer.unanswered is not None:
        # The client does what it would: it posts again, and the batch stands once.
        service.post(
            "/v1/memory/messages", {"conversation_id": writer.name, "messages": lost_answer}
        ).raise_for_status()
        writer.acknowledged.append(writer.unanswered)
        writer.unanswered = None
        assert stored(service, writer.name) == expected + [message["content"] for message in lost_answer]
    # The newest is what a kill could have kept from being indexed; of the others, one at a time.
    for number in {writer.acknowledged[-1], chance.choice(writer.acknowledged)}:
        assert_recallable(service, writer, number)


def assert_recallable(service: RunningService, writer: Writer, number: int) -> None:
    """Every message of the batch is found by the word that is in no other batch, and no other is."""
    hits = service.post("/v1/memory/recall", {"query": writer.word(number)}).json()["hits"]
    found = sorted(hit["text"] for hit in hits if hit["why"]["words"])
    assert found == [message["content"] for message in writer.batch(number)]


def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(tmp_path: Path) -> None:
    chance = random.Random(20)
    writers = [Writer(name=f"w{number}") for number in range(_WRITERS)]
    for _ in range(_KILLS):
        service = RunningService(tmp_path / "data")
        for writer in writers:
            if writer.acknowledged or writer.unanswered is not None:
                check(service, writer, chance)
        threads = [threading.Thread(target=writer.run, args=(service.address,)) for writer in writers]
        for thread in threads:
            thread.start()
        threading.Event().wait(chance.uniform(0.02, 0.25))  # the random moment itself
        service.kill()
        for thread in threads:
            thread.join()
    with RunningService(tmp_path / "data") as service:
        for writer in writers:
            check(service, writer, chance)
            for number in writer.acknowledged:
                assert_recallable(service, writer, number)
        assert sum(len(writer.acknowledged) for writer in writers) > _KILLS
        findings = service.post("/v1/memory/doctor", None).json()["findings"]
    assert all(finding["healthy"] for finding in findings)
