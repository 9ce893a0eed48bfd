"""Nothing crosses: canaries of 50 namespaces, and of 50 users within one, against every route and command.

Two strangers ask the same in step. One names what is somebody else's, the other what nobody has: whatever they are
answered is the same but for the ids that they named, and holds no canary.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from api.cli import app as cli
from memory_engine import Scope
from tests.asking import Asker, Request
from tests.canaries import MARK, Owner, absent, canary, masked, plant
from tests.running_service import RunningService

#: Routes that open a conversation of the name that is given, and so differ where another user has that name already.
OPENING = (
    "POST /v1/memory/messages",
    "POST /v1/memory/context",
    "POST /v1/assistant/conversations/{conversation_id}/messages",
    "POST /v1/chat/completions",
)
#: Owners who have something of every kind.
DEEP = 10
#: Stands for whoever asks, in a request that two ask.
ME = "<me>"
#: Without shrinking: what differs is told as it was found.
EVERY = settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@dataclass
class Stranger:
    """Somebody who has a few words of their own, and asks."""

    http: httpx2.Client
    key: str
    namespace: str
    user: str | None = None
    #: What they named of others by now; some of it is theirs since, such as a note of that name.
    named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        said = [{"role": "user", "content": "My own words."}, {"role": "user", "content": "I live in Turin."}]
        body = {"conversation_id": f"own-{secrets.token_hex(4)}", "messages": said, "user": self.user}
        kept = self.http.post("/v1/memory/messages", json=body, headers={"authorization": f"Bearer {self.key}"})
        self.own = [body["conversation_id"], self.namespace, *([self.user] if self.user else [])]
        assert kept.status_code == 201

    def ask(self, request: Request) -> tuple[int, str, str]:
        """The status, the kind of answer, and its text without what was named and what differs by chance."""
        path, body = request.path, json.dumps(request.body)
        if self.user is not None:
            path, body = path.replace(quote(ME), self.user), body.replace(ME, self.user)
        headers = {**request.headers, "authorization": f"Bearer {self.key}", "content-type": "application/json"}
        answer = self.http.request(request.method, path, content=body, headers=headers)
        text = answer.text
        self.named |= request.named
        for name in sorted((*self.named, *self.own), key=len, reverse=True):
            text = text.replace(name, "<named>")
        return answer.status_code, answer.headers.get("content-type", ""), masked(text)


@dataclass(frozen=True, kw_only=True)
class World:
    """The store under test."""

    service: RunningService
    asker: Asker
    applications: list[Owner]
    people: list[Owner]
    run_token: str

    def key(self, namespace: str, *scopes: str) -> str:
        headers = {"authorization": f"Bearer {self.run_token}"}
        made = self.service.http.post("/v1/keys", json={"namespace": namespace, "scopes": scopes}, headers=headers)
        return str(made.json()["key"])

    def seen(self, owner: Owner) -> list[Any]:
        """What an owner reads of their own."""
        headers = {"authorization": f"Bearer {self.run_token}", "x-namespace": owner.scope.namespace}
        asked = {} if owner.scope.user is None else {"user": owner.scope.user}
        base, rows = "/v1/memory", []
        first = owner.ids["conversation"][0]
        for path in (f"/conversations/{first}/messages", "/notes", "/patterns", f"/conversations/{first}/links"):
            rows.append(self.service.http.get(base + path, params=asked, headers=headers).json()["data"])
        return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data_dir = tmp_path_factory.mktemp("isolation") / "data"
    applications = [Owner(Scope(namespace=f"ns-{canary()}")) for _ in range(50)]
    people = [Owner(Scope(namespace="shared", user=f"person-{canary()}")) for _ in range(50)]
    half = DEEP // 2
    plant(data_dir, [*applications[:half], *people[:half], *applications[half:], *people[half:]], deep=DEEP)
    with RunningService(data_dir, MEMORY_ENGINE_API_KEYS_REQUIRED="true") as service:
        yield World(
            service=service,
            asker=Asker(service.http.get("/openapi.json").json()),
            applications=applications,
            people=people,
            run_token=json.loads((data_dir / "service.json").read_text())["token"],
        )


@pytest.fixture(scope="module")
def untouched(world: World) -> Iterator[None]:
    """What owners see before and after everything was tried is the same."""
    owners = [*world.applications[:2], *world.people[:2]]
    before = [world.seen(owner) for owner in owners]
    assert all(MARK in json.dumps(rows) for seen in before for rows in seen), "the canaries are not in their places"
    yield
    assert [world.seen(owner) for owner in owners] == before


def assert_same(route: str, request: Request, one: Stranger, other: Stranger) -> None:
    theirs, nobodys = one.ask(request), other.ask(request.of_nobody())
    assert MARK not in theirs[2], f"{route} with {request} tells {theirs[2]}"
    assert theirs == nobodys, f"{route} with {request}"
    assert theirs[0] != 500


def victims(owners: list[Owner]) -> st.SearchStrategy[Owner]:
    """One of them; as often one that has something of every kind."""
    return st.sampled_from(owners[: DEEP // 2]) | st.sampled_from(owners)


@pytest.mark.usefixtures("untouched")
def test_no_route_tells_one_namespace_of_another(world: World) -> None:
    @EVERY
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        names = [secrets.token_hex(4) for _ in range(2)]
        pair = [Stranger(http=world.service.http, key=world.key(name, "admin"), namespace=name) for name in names]
        for route in world.asker.operations:
            request = world.asker.request(data.draw, route, data.draw(victims(world.applications)), None)
            assert_same(route, request, *pair)

    tried()


@pytest.mark.usefixtures("untouched")
def test_no_route_tells_one_user_of_another(world: World) -> None:
    key = world.key("shared", "read", "write")
    routes = [route for route in world.asker.operations if world.asker.takes_user(route) and route not in OPENING]

    @EVERY
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        names = [f"user-{secrets.token_hex(4)}" for _ in range(2)]
        pair = [Stranger(http=world.service.http, key=key, namespace="shared", user=name) for name in names]
        for route in routes:
            request = world.asker.request(data.draw, route, data.draw(victims(world.people)), ME)
            assert_same(route, request, *pair)

    tried()


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("route", OPENING)
def test_what_opens_a_conversation_says_of_another_users_only_that_it_is_none_of_theirs(
    world: World, route: str
) -> None:
    key = world.key("shared", "read", "write")
    for victim in world.people[:4]:
        taken = victim.ids["conversation"][0]
        path = route.removeprefix("POST ").replace("{conversation_id}", taken)
        said = [{"role": "user", "content": "the password of the safe"}]
        body: dict[str, Any] = {"user": "user-x", "conversation_id": taken, "messages": said}
        if "context" in route or "assistant" in route:
            body = {"user": "user-x", "message": "the password of the safe", "conversation_id": taken}
        if "assistant" in route:
            del body["conversation_id"]
        if "chat" in route:
            body = {"user": "user-x", "messages": said, "model": "m", "metadata": {"conversation_id": taken}}
        told = world.service.post(path, body, headers={"authorization": f"Bearer {key}"})
        read = world.service.http.get(
            "/v1/memory/conversations/none", params={"user": "user-x"}, headers={"authorization": f"Bearer {key}"}
        )
        assert told.status_code == read.status_code == 404
        assert told.text.replace(taken, "none") == read.text


@pytest.mark.parametrize("kind", ["applications", "people"])
def test_no_command_tells_of_another(world: World, kind: str) -> None:
    victim = getattr(world, kind)[0]
    conversation, message = victim.ids["conversation"][0], victim.ids["message"][0]
    asked = [
        ["recall", "the password of the safe", "--explain"],
        ["recall", "the password of the safe", "--json"],
        ["why-not", message, "the password of the safe"],
        ["context", conversation, "the password of the safe"],
        ["links", "show", conversation],
        ["links", "show", conversation, "--to", victim.ids["conversation"][1]],
        ["patterns", "--all"],
        ["doctor"],
        ["db", "current"],
    ]

    def told(args: list[str]) -> str:
        result = CliRunner().invoke(cli, [*args, "--data-dir", str(world.service.data_dir)])
        text = masked(result.output + str(result.exception or ""))
        for name in victim.ids["conversation"] + victim.ids["message"]:
            text = text.replace(name, "<named>").replace(absent(name), "<named>")
        return text

    ours = {name for names in victim.ids.values() for name in names}
    for args in asked:
        text = told(args)
        assert MARK not in text, args
        assert text == told([absent(arg) if arg in ours else arg for arg in args]), args
