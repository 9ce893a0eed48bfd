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
import typer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.core import TyperGroup
from typer.testing import CliRunner

from api.access import MACHINE, NEEDS, OPEN
from api.cli import app as cli
from api.routes.planned import METHODS, PLANNED
from assistant import Settings
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
#: Of each kind, owners of whom nothing may change.
STILL = 2
#: Requests that are made up for a route in one example until its owner is answered one.
TRIES = 20
#: Commands, of what kind the id is that each is given, and with what else. They ask in the namespace `default`.
COMMANDS: dict[str, tuple[str, ...]] = {
    "recall": ("", "the password of the safe", "--explain"),
    "why-not": ("message", "{}", "the password of the safe"),
    "context": ("conversation", "{}", "the password of the safe"),
    "chat": ("conversation", "--conversation", "{}"),
    "links show": ("conversation", "{}"),
    "patterns": ("", "--all"),
    "prune": ("", "--dry-run"),
    "erase": ("message", "message", "{}", "--yes"),
    "doctor": ("",),
    "db current": ("",),
}
#: What is for whoever has the machine, and so the whole store.
OF_THE_WHOLE_STORE = {
    "serve", "backup", "restore", "reindex", "keys create", "keys list", "keys revoke", "db upgrade", "db history",
}  # fmt: skip
#: Where an id of each kind is asked for, of what kind it is, and whether it is the namespace's rather than a user's.
NATURAL = {
    "GET /v1/memory/conversations/{}": ("conversation", False),
    "DELETE /v1/memory/messages/{}/pin": ("message", False),
    "GET /v1/memory/links/{}": ("link", False),
    "POST /v1/memory/patterns/{}/confirm": ("pattern", False),
    "GET /v1/memory/notes/{}": ("note", False),
    "GET /v1/memory/contexts/{}": ("context", False),
    "GET /v1/memory/receipts/{}": ("receipt", True),
    "DELETE /v1/keys/{}": ("key", True),
}
#: Stands for whoever asks, in a request that two ask.
ME = "<me>"
#: Without shrinking: what differs is told as it was found.
EVERY = settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def _described(route: str) -> str:
    """The route as the application's description writes it."""
    return route.replace(":path}", "}")


#: What no key opens.
OF_THE_MACHINE = {_described(route) for route, need in NEEDS.items() if need == MACHINE}
#: Status, headers and body of an answer.
Answer = tuple[int, str, str]
#: The length is that of the body, which is compared.
_BY_CHANCE = ("date", "content-length")


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

    def ask(self, request: Request) -> Answer:
        """What is answered, without what was named and what differs by chance."""
        path, body = request.path, json.dumps(request.body)
        if self.user is not None:
            path, body = path.replace(quote(ME), self.user), body.replace(ME, self.user)
        headers = {**request.headers, "authorization": f"Bearer {self.key}", "content-type": "application/json"}
        answer = self.http.request(request.method, path, content=body, headers=headers)
        self.named |= request.named
        told = {name: value for name, value in answer.headers.items() if name not in _BY_CHANCE}
        return answer.status_code, self._without_names(json.dumps(told)), self._without_names(answer.text)

    def _without_names(self, text: str) -> str:
        for name in sorted((*self.named, *self.own), key=len, reverse=True):
            text = text.replace(name, "<named>")
        return masked(text)


@dataclass(frozen=True, kw_only=True)
class World:
    """The store under test."""

    service: RunningService
    asker: Asker
    applications: list[Owner]
    people: list[Owner]
    run_token: str

    @property
    def still(self) -> list[Owner]:
        """Owners who ask nothing, so that nothing of theirs may change."""
        return [*self.applications[-STILL:], *self.people[-STILL:]]

    def key(self, namespace: str, *scopes: str) -> str:
        headers = {"authorization": f"Bearer {self.run_token}"}
        made = self.service.http.post("/v1/keys", json={"namespace": namespace, "scopes": scopes}, headers=headers)
        return str(made.json()["key"])

    def answers(self, owner: Owner, request: Request) -> bool:
        """Whether the owner is answered what others ask in vain."""
        user = owner.scope.user or ""
        headers = {
            **request.headers, "authorization": f"Bearer {self.key(owner.scope.namespace, 'admin')}",
            "content-type": "application/json",
        }  # fmt: skip
        body = json.dumps(request.body).replace(ME, user)
        path = request.path.replace(quote(ME), user)
        return self.service.http.request(request.method, path, content=body, headers=headers).is_success

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
    plant(Settings(data_dir=data_dir), [*applications, *people])
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
    before = [world.seen(owner) for owner in world.still]
    assert all(MARK in json.dumps(rows) for seen in before for rows in seen), "the canaries are not in their places"
    yield
    assert [world.seen(owner) for owner in world.still] == before


def assert_same(route: str, request: Request, one: Stranger, other: Stranger) -> None:
    theirs, nobodys = one.ask(request), other.ask(request.of_nobody())
    assert MARK not in str(theirs).lower(), f"{route} with {request} tells {theirs}"
    assert theirs == nobodys, f"{route} with {request}"
    assert theirs[0] != 500


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Requests that strangers make in vain, and their owners not."""

    world: World
    owners: list[Owner]
    #: Routes of which an owner was answered a request that strangers had made before.
    answered: set[str] = field(default_factory=set)

    def of(self, route: str, draw: st.DrawFn, user: str | None, pair: list[Stranger]) -> None:
        """Make up a request, and others until its owner is answered one."""
        before = None
        for _ in range(TRIES):
            victim = draw(st.sampled_from(self.owners))
            request = self.world.asker.request(draw, route, victim, user)
            if request == before:  # in hypothesis' simplest example every draw is the same
                return
            before = request
            assert_same(route, request, *pair)
            if route not in self.answered and victim not in self.world.still and self.world.answers(victim, request):
                self.answered.add(route)
            if route in self.answered or route in OF_THE_MACHINE:
                return


def test_every_route_is_tried(world: World) -> None:
    pages = {route for route, need in NEEDS.items() if need == OPEN} - {"GET /health"}
    planned = {f"{method} {path}" for path in PLANNED for method in METHODS}
    assert {_described(route) for route in set(NEEDS) - pages - planned} == set(world.asker.operations)


@pytest.mark.usefixtures("untouched")
def test_no_route_takes_anothers_namespace_from_the_header(world: World) -> None:
    stranger = Stranger(http=world.service.http, key=world.key("lone", "admin"), namespace="lone")
    for place, route in enumerate(world.asker.operations):
        other = world.applications[place % len(world.applications)].scope.namespace
        method, path = route.split(" ")
        told = [
            stranger.ask(
                Request(method=method, path=path, headers={"x-namespace": name}, body={}, named=frozenset([name]))
            )
            for name in (other, absent(other))
        ]
        assert told[0] == told[1], route
        assert MARK not in str(told).lower()


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("kind", ["applications", "people"])
def test_every_id_of_every_other_is_as_one_that_nobody_has(world: World, kind: str) -> None:
    among_users = kind == "people"
    namespace, user = ("shared", "somebody") if among_users else ("lone", None)
    stranger = Stranger(http=world.service.http, key=world.key(namespace, "admin"), namespace=namespace, user=user)
    for route, (of, belongs_to_namespace) in NATURAL.items():
        method, path = route.split(" ")
        if among_users and belongs_to_namespace:
            continue
        told = {}
        for owner in getattr(world, kind):
            for name in (absent(owner.ids[of][0]), *owner.ids[of]):
                asked = path.replace("{}", quote(name, safe="")) + (f"?user={quote(ME)}" if among_users else "")
                request = Request(method=method, path=asked, headers={}, body=None, named=frozenset([name]))
                stranger.named.clear()
                told[name] = stranger.ask(request)
        assert len(set(told.values())) == 1, (route, set(told.values()))
        assert MARK not in str(set(told.values())).lower()


@pytest.mark.usefixtures("untouched")
def test_no_route_tells_one_namespace_of_another(world: World) -> None:
    trial = Trial(world=world, owners=world.applications)

    @EVERY
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        names = [secrets.token_hex(4) for _ in range(2)]
        pair = [Stranger(http=world.service.http, key=world.key(name, "admin"), namespace=name) for name in names]
        for route in world.asker.operations:
            trial.of(route, data.draw, None, pair)

    tried()
    assert set(world.asker.operations) - trial.answered == OF_THE_MACHINE, "what its owner is refused too hides nothing"


@pytest.mark.usefixtures("untouched")
def test_no_route_tells_one_user_of_another(world: World) -> None:
    trial, key = Trial(world=world, owners=world.people), world.key("shared", "admin")
    routes = [route for route in world.asker.operations if world.asker.takes_user(route) and route not in OPENING]

    @EVERY
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        names = [f"user-{secrets.token_hex(4)}" for _ in range(2)]
        pair = [Stranger(http=world.service.http, key=key, namespace="shared", user=name) for name in names]
        for route in routes:
            trial.of(route, data.draw, ME, pair)

    tried()
    assert trial.answered == set(routes), "what its owner is refused too hides nothing"


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

    def told(command: str, name: str) -> str:
        args = [*command.split(), *(part.format(name) for part in COMMANDS[command][1:])]
        said = "/recall the password of the safe\n/why\n/quit\n" if command == "chat" else None
        result = CliRunner().invoke(cli, [*args, "--data-dir", str(world.service.data_dir)], input=said)
        return masked(result.output + str(result.exception or "")).replace(name, "<named>")

    for command, (of, *_) in COMMANDS.items():
        names = victim.ids[of][:2] if of else ["none"]
        for name in names:
            text = told(command, name)
            assert MARK not in text.lower(), (command, name)
            assert text == told(command, absent(name)), (command, name)


def test_every_command_is_tried() -> None:
    group = typer.main.get_command(cli)
    assert isinstance(group, TyperGroup)
    found = {
        f"{name} {inner}".strip()
        for name, command in group.commands.items()
        for inner in (command.commands if isinstance(command, TyperGroup) else [""])
    }
    assert found - set(COMMANDS) == OF_THE_WHOLE_STORE
