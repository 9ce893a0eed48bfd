"""A client that does everything at random, and knows what was acknowledged: for killing the service under it."""

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.running_service import RunningService

#: Method, path and body.
Request = tuple[str, str, dict[str, Any] | None]
_WEIGHTS = {
    "remember": 10, "edit": 3, "erase": 2, "recall": 3, "context": 2, "turn": 2, "link": 1, "note": 1, "doctor": 1,
    "reindex": 1, "backup": 1, "quarantine": 1, "pin": 1, "hold": 1, "prune": 1,
}  # fmt: skip
#: What names a message, and so asks for one that is there.
_OF_A_MESSAGE = ("edit", "erase", "quarantine", "pin")
#: All but a few of the messages are marked, and then brought back.
_PRUNE = {"policy": {"rules": [{"stratum": "messages", "keep_newest": 3}]}}
_RESTORE = {"since": 0, "scope": "namespace"}


@dataclass
class Client:
    """One conversation's client, alone in its namespace."""

    name: str
    chance: random.Random
    #: What was acknowledged last of each message, None once it is erased; and what may be either way.
    known: dict[str, str | None] = field(default_factory=dict)
    unanswered: dict[str, str | None] = field(default_factory=dict)
    count: int = 0
    done: int = 0

    def run(self, service: RunningService, answered: Callable[[], None]) -> None:
        """Go on until the service is gone, telling of each acknowledgment."""
        token = json.loads((service.data_dir / "service.json").read_text())["token"]
        headers = {"authorization": f"Bearer {token}", **self._mine}
        with httpx2.Client(base_url=service.address, timeout=60, trust_env=False, headers=headers) as http:
            try:
                while True:
                    self.step(http)
                    answered()
            except httpx2.TransportError:
                return

    def step(self, http: httpx2.Client) -> None:
        (kind,) = self.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        alive = [name for name, said in self.known.items() if said is not None]
        if kind in _OF_A_MESSAGE and not alive:
            kind = "remember"
        asked: dict[str, str | None] = {}
        if kind == "remember":
            self.count += 1
            asked = {f"{self.name}-{self.count}-{part}": f"{self.name} says {self.count} {part}" for part in range(3)}
            rows = [{"role": "user", "content": said, "id": name} for name, said in asked.items()]
            request: Request = ("POST", "/v1/memory/messages", {"conversation_id": self.name, "messages": rows})
        elif kind == "edit":
            name = self.chance.choice(alive)
            asked = {name: f"{self.name} corrects {self.chance.random()}"}
            request = ("PATCH", f"/v1/memory/messages/{name}", {"content": asked[name]})
        elif kind == "erase":
            name = self.chance.choice(alive)
            asked = {name: None}
            request = ("POST", "/v1/memory/erase", {"message_ids": [name]})
        else:
            request = self._other(kind, self.chance.choice(alive or [""]))
        self.unanswered = asked
        self._answered(http, *request)
        if kind == "prune":
            self._answered(http, "POST", "/v1/memory/restore", _RESTORE)
        self.known.update(asked)
        self.unanswered = {}
        self.done += 1

    @property
    def _mine(self) -> dict[str, str]:
        return {"x-namespace": self.name}

    def _other(self, kind: str, message_id: str) -> Request:
        turned = self.chance.choice(("POST", "DELETE"))
        others: dict[str, Request] = {
            "recall": ("POST", "/v1/memory/recall", {"query": f"what does {self.name} say"}),
            "context": ("POST", "/v1/memory/context", {"conversation_id": self.name, "message": "What was said?"}),
            "note": ("PUT", f"/v1/memory/notes/{self.name}", {"text": f"note {self.done}"}),
            "turn": ("POST", f"/v1/assistant/conversations/{self.name}-talk/messages", {"message": "What was said?"}),
            "quarantine": (turned, f"/v1/memory/messages/{message_id}/quarantine", None),
            "pin": (turned, f"/v1/memory/messages/{message_id}/pin", None),
            "hold": (turned, f"/v1/memory/conversations/{self.name}/hold", None),
            "prune": ("POST", "/v1/memory/prune", _PRUNE),
            "doctor": ("POST", "/v1/memory/doctor?repair=true", None),
            "reindex": ("POST", "/v1/memory/reindex", {}),
            "backup": ("POST", "/v1/memory/backup", None),
            "link": ("GET", f"/v1/memory/conversations/{self.name}/links", None),
        }
        return others[kind]

    def _answered(self, http: httpx2.Client, method: str, path: str, body: dict[str, Any] | None) -> None:
        answer = http.request(method, path, json=body)
        assert answer.status_code in (200, 201, 404, 409), (path, answer.text)

    def check(self, service: RunningService) -> None:
        """What was acknowledged stands as it was said; what was not answered stands whole or not at all."""
        service.http.post("/v1/memory/restore", json=_RESTORE, headers=self._mine).raise_for_status()
        found = self._stored(service)
        for name, said in self.known.items():
            allowed = {said, self.unanswered.get(name, said)}
            assert found.get(name) in allowed, (name, said, found.get(name))
        fresh = {name for name in self.unanswered if name not in self.known}
        there = fresh & set(found)
        assert there in (set(), fresh), f"half of a batch is there: {there}"
        assert set(found) <= set(self.known) | fresh
        self.known |= {name: found.get(name) for name in (self.unanswered.keys() - fresh) | there}
        self.unanswered = {}

    def _stored(self, service: RunningService) -> dict[str, str]:
        found: dict[str, str] = {}
        after: dict[str, str] = {}
        while True:
            path = f"/v1/memory/conversations/{self.name}/messages"
            answer = service.http.get(path, params={"order": "asc", "limit": "1000", **after}, headers=self._mine)
            if answer.status_code == 404:
                return {}
            page = answer.json()
            found |= {row["message_id"]: row["content"] for row in page["data"]}
            if not page["has_more"]:
                return found
            after = {"after": page["last_id"]}


def killed_after(service: RunningService, clients: list[Client], operations: int, delay: float) -> None:
    """Let the clients do what they like, and kill the service so many seconds after so many acknowledgments."""
    answers = threading.Semaphore(0)
    threads = [threading.Thread(target=client.run, args=(service, answers.release)) for client in clients]
    for thread in threads:
        thread.start()
    for _ in range(operations):
        assert answers.acquire(timeout=60), "the service answers nothing any more"
    threading.Event().wait(delay)
    service.kill()
    for thread in threads:
        thread.join()
