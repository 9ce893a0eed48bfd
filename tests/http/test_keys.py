"""API keys over HTTP and from the command line: whom they let in, to what, and how much of it."""

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers
from typer.testing import CliRunner, Result

from api.access import MACHINE, NEEDS, OPEN, is_open, needed
from api.app import create_app
from api.bootstrap import open_services
from api.cli import app as cli
from api.client import ServiceError
from api.errors import RequestRefused
from api.gate import check_browser
from api.keys import MAX_GENERATIONS, ApiKeys, NewKey
from api.server import run_server
from assistant import Settings
from memory_engine import MemoryEngine
from tests.fakes import FixedClock, Scripted, ScriptedModel
from tests.http.conftest import user
from tests.running_service import RunningService, clean_environment, command

MESSAGES = "/v1/memory/messages"
RECALL = "/v1/memory/recall"
STATS = "/v1/memory/stats"


class Locked:
    """A service that requires keys, its model, and how to make them."""

    def __init__(self, service: RunningService, model: ScriptedModel) -> None:
        self.service, self.model = service, model
        self.run_token: str = json.loads((service.data_dir / "service.json").read_text())["token"]

    def make(self, **fields: Any) -> dict[str, Any]:
        made = self.ask("POST", "/v1/keys", self.run_token, fields)
        assert made.status_code == 201, made.text
        key: dict[str, Any] = made.json()
        return key

    def key(self, **fields: Any) -> str:
        return str(self.make(**fields)["key"])

    def ask(self, method: str, path: str, key: str | None, body: Any = None, **headers: str) -> httpx2.Response:
        sent = {**headers, **({} if key is None else {"authorization": f"Bearer {key}"})}
        return self.service.http.request(method, path, json=body, headers=sent)


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), answer.text
    assert error["message"].endswith(".")
    return error


@pytest.fixture(scope="module")
def locked(scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    settings = {
        "MEMORY_ENGINE_API_KEYS_REQUIRED": "true",
        "MEMORY_ENGINE_LIMIT_BODY": "20000",
        "MEMORY_ENGINE_LIMIT_MESSAGES": "3",
        "MEMORY_ENGINE_LIMIT_K": "5",
        "MEMORY_ENGINE_LIMIT_TOKEN_BUDGET": "5000",
        "MEMORY_ENGINE_LIMIT_STREAMS": "1",
        "OPENAI_BASE_URL": scripted.url,
    }
    folder = tmp_path_factory.mktemp("locked") / "data"
    with RunningService(folder, "--host", "0.0.0.0", **settings) as running:
        yield Locked(running, scripted)


def test_every_route_states_what_it_asks_and_nothing_else_is_stated(tmp_path: Path) -> None:
    services = open_services(Settings(data_dir=tmp_path / "data"))
    try:
        contexts = list(iter_route_contexts(create_app(services).routes))
    finally:
        services.close()
    mounts = {context.path for context in contexts if context.methods is None}
    assert mounts == {"/web"}, "whoever mounts an application says who may ask it"
    routes = {f"{method} {context.path}" for context in contexts for method in context.methods or ()}
    assert routes == set(NEEDS)
    assert {route for route, need in NEEDS.items() if need == OPEN} == {
        "GET /", "GET /docs", "GET /health", "GET /openapi.json",
    }  # fmt: skip


def test_a_route_that_states_nothing_is_for_the_machine_alone() -> None:
    assert needed("GET", "/v1/memory/new") == MACHINE


def test_without_a_key_only_health_and_the_pages_answer(locked: Locked) -> None:
    for route in NEEDS:
        method, path = route.split(" ")
        answer = locked.ask(method, path, None)
        if is_open(path):
            assert answer.status_code == 200
        else:
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(answer, 401, "invalid_api_key")
    assert locked.ask("GET", "/web/console.js", None).status_code == 200
    refused(locked.ask("GET", "/nothing", None), 401, "invalid_api_key")
    refused(locked.service.http.post(MESSAGES, content=b"no json"), 401, "invalid_api_key")


@pytest.mark.parametrize("token", ["mek_", "mek_" + "A" * 43, "run_x", "sk-proj-x", "mek_\u00e9", "' OR 1=1 --"])
def test_a_wrong_key_is_401(locked: Locked, token: str) -> None:
    headers = {"authorization": f"Bearer {token}".encode()}
    told = refused(locked.service.http.get(STATS, headers=headers), 401, "invalid_api_key")["message"]
    assert "is needed" not in told, "one was given"


def test_a_key_opens_its_own_namespace_and_no_other(locked: Locked) -> None:
    first, second = locked.key(namespace="first"), locked.key(namespace="second")
    kept = locked.ask("POST", MESSAGES, first, {"conversation_id": "c", "messages": [user("The word is swordfish.")]})
    assert kept.status_code == 201
    assert locked.ask("POST", RECALL, first, {"query": "swordfish"}).json()["hits"]
    assert locked.ask("POST", RECALL, second, {"query": "swordfish"}).json()["hits"] == []
    assert locked.ask("GET", STATS, first, **{"x-namespace": "first"}).json()["messages"] == 1
    elsewhere = locked.ask("GET", STATS, second, **{"x-namespace": "first"})
    refused(elsewhere, 403, "namespace_not_allowed")
    by_run = locked.ask("GET", STATS, locked.run_token, **{"x-namespace": "first"})
    assert by_run.json()["messages"] == 1


def test_each_route_lets_in_who_has_its_scopes(locked: Locked) -> None:
    keys = {right: locked.key(namespace="scopes", scopes=[right]) for right in ("read", "write", "admin")}
    for route, need in NEEDS.items():
        method, path = route.split(" ")
        for right, key in keys.items():
            held = {"read", "write", "admin"} if right == "admin" else {right}
            answer = locked.ask(method, path, key, None if method == "GET" else {})
            assert (answer.status_code == 403) == (not need <= held), (route, right, answer.text)
            if answer.status_code == 403:
                refused(answer, 403, "scope_missing")
            assert answer.status_code != 500
    assert NEEDS["POST /v1/memory/doctor"] >= MACHINE


def test_a_key_is_shown_once_and_only_its_hash_is_kept(locked: Locked) -> None:
    made = locked.make(namespace="shown", name="laptop", scopes=["read"])
    assert made["key"].startswith("mek_")
    assert made["key"].startswith(made["prefix"])
    listed = locked.ask("GET", "/v1/keys?namespace=shown", locked.run_token)
    assert made["key"] not in listed.text
    assert [row["prefix"] for row in listed.json()["data"]] == [made["prefix"]]
    files = [path.read_bytes() for path in locked.service.data_dir.rglob("*") if path.is_file()]
    assert not any(made["key"].encode() in content for content in files)


def test_a_revoked_key_opens_nothing_from_then_on(locked: Locked) -> None:
    made = locked.make(namespace="revoked")
    assert locked.ask("GET", STATS, made["key"]).status_code == 200
    revoked = locked.ask("DELETE", f"/v1/keys/{made['id']}", locked.run_token).json()
    assert revoked["revoked_at"]
    refused(locked.ask("GET", STATS, made["key"]), 401, "invalid_api_key")
    again = locked.ask("DELETE", f"/v1/keys/{made['id']}", locked.run_token).json()
    assert again == revoked


def test_a_key_that_expired_opens_nothing(engine: MemoryEngine, clock: FixedClock) -> None:
    keys = ApiKeys(engine.database, clock)
    ends = clock.now() + timedelta(days=1)
    made, secret = keys.create(NewKey(namespace="n", name="k", rights=("read",), expires_at=ends))
    assert keys.find(secret) == made
    clock.advance(days=1)
    assert keys.find(secret) is None


def test_an_admin_key_makes_sees_and_revokes_keys_of_its_own_namespace_alone(locked: Locked) -> None:
    admin, other = locked.key(namespace="ours", scopes=["admin"]), locked.make(namespace="theirs")
    made = locked.ask("POST", "/v1/keys", admin, {"name": "mine"}).json()
    assert made["namespace"] == "ours"
    refused(locked.ask("POST", "/v1/keys", admin, {"namespace": "theirs"}), 403, "namespace_not_allowed")
    refused(locked.ask("GET", "/v1/keys?namespace=theirs", admin), 403, "namespace_not_allowed")
    refused(locked.ask("POST", "/v1/keys", admin, {"requests_per_minute": 10_000}), 403, "limit_exceeded")
    assert {row["namespace"] for row in locked.ask("GET", "/v1/keys", admin).json()["data"]} == {"ours"}
    theirs = locked.ask("DELETE", f"/v1/keys/{other['id']}", admin)
    none = locked.ask("DELETE", "/v1/keys/key_none", admin)
    assert theirs.status_code == none.status_code == 404
    assert theirs.text.replace(other["id"], "key_none") == none.text
    assert locked.ask("GET", STATS, other["key"]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["owner"]},
        {"name": ""},
        {"namespace": "n" * 257},
        {"namespace": "nul \x00"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"requests_per_minute": 0},
        {"surprise": 1},
    ],
)
def test_a_key_that_cannot_be_made_is_400_and_is_not(locked: Locked, body: dict[str, Any]) -> None:
    before = locked.ask("GET", "/v1/keys", locked.run_token).json()
    answer = locked.ask("POST", "/v1/keys", locked.run_token, body)
    assert answer.status_code == 400, answer.text
    assert locked.ask("GET", "/v1/keys", locked.run_token).json() == before


def test_ready_tells_a_key_no_details_of_the_store(locked: Locked) -> None:
    key = locked.key(namespace="ready")
    parts = locked.ask("GET", "/ready", key).json()["parts"]
    assert {part["detail"] for part in parts.values()} == {""}
    assert locked.ask("GET", "/ready", locked.run_token).json()["parts"]["outbox"]["detail"]


def test_recall_over_the_namespace_is_for_admins_and_says_whose_each_hit_is(locked: Locked) -> None:
    admin, plain = locked.key(namespace="all", scopes=["admin"]), locked.key(namespace="all")
    for who in ("ana", "ben", None):
        said = [user(f"The lighthouse of {who} is white.")]
        body = {"conversation_id": f"c-{who}", "messages": said, **({"user": who} if who else {})}
        assert locked.ask("POST", MESSAGES, plain, body).status_code == 201
    asked = {"query": "lighthouse", "scope": "namespace", "k": 5, "explain": True}
    refused(locked.ask("POST", RECALL, plain, asked), 403, "scope_missing")
    found = locked.ask("POST", RECALL, admin, asked).json()
    assert {hit["user"] for hit in found["hits"]} == {"ana", "ben", None}
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert found["funnel"]["returned"] == len(found["hits"])
    assert len(locked.ask("POST", RECALL, admin, {**asked, "k": 2}).json()["hits"]) == 2
    one = locked.ask("POST", RECALL, admin, {**asked, "conversation_id": "c-ana"}).json()
    assert [hit["user"] for hit in one["hits"]] == ["ana"]
    rest = locked.ask("POST", RECALL, admin, {**asked, "exclude_conversation_ids": ["c-ana"]}).json()
    assert {hit["user"] for hit in rest["hits"]} == {"ben", None}
    refused(locked.ask("POST", RECALL, admin, {**asked, "conversation_id": "c-x"}), 404, "conversation_not_found")
    refused(locked.ask("POST", RECALL, admin, {**asked, "user": "ana"}), 400, "invalid_value")
    own = locked.ask("POST", RECALL, plain, {"query": "lighthouse", "user": "ana"}).json()
    assert [hit["user"] for hit in own["hits"]] == ["ana"]


def test_a_key_has_its_own_rate(locked: Locked) -> None:
    key = locked.key(namespace="rate", requests_per_minute=3)
    answers = [locked.ask("GET", STATS, key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert locked.ask("GET", STATS, locked.key(namespace="rate")).status_code == 200


def test_a_key_made_by_a_key_inherits_rate_expiry_and_maker(locked: Locked) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    maker = locked.make(namespace="family", scopes=["admin"], requests_per_minute=20, expires_at=ends)
    ends = maker["expires_at"]
    child = locked.ask("POST", "/v1/keys", maker["key"], {"scopes": ["admin"]}).json()
    assert (child["requests_per_minute"], child["expires_at"], child["made_by"]) == (20, ends, maker["id"])
    assert maker["made_by"] is None
    grandchild = locked.ask("POST", "/v1/keys", child["key"], {"requests_per_minute": 7}).json()
    assert (grandchild["requests_per_minute"], grandchild["expires_at"]) == (7, ends)
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    for more, param in (({"requests_per_minute": 21}, "requests_per_minute"), ({"expires_at": later}, "expires_at")):
        told = refused(locked.ask("POST", "/v1/keys", maker["key"], more), 403, "limit_exceeded")
        assert told["param"] == param


def test_keys_made_by_a_key_share_its_rate(locked: Locked) -> None:
    maker = locked.make(namespace="shared-rate", scopes=["admin"], requests_per_minute=6)
    children = [locked.ask("POST", "/v1/keys", maker["key"], {}).json()["key"] for _ in range(3)]
    answers = [locked.ask("GET", STATS, child) for child in children for _ in range(4)]
    assert [answer.status_code for answer in answers].count(200) == 3
    assert "together with other keys" in refused(answers[-1], 429, "rate_limited")["message"]


def test_revoking_a_key_revokes_the_keys_that_it_made(locked: Locked) -> None:
    maker = locked.make(namespace="revoked-family", scopes=["admin"])
    child = locked.ask("POST", "/v1/keys", maker["key"], {"scopes": ["admin"]}).json()
    grandchild = locked.ask("POST", "/v1/keys", child["key"], {}).json()
    other = locked.make(namespace="revoked-family")
    locked.ask("DELETE", f"/v1/keys/{maker['id']}", locked.run_token)
    for key in (maker, child, grandchild):
        refused(locked.ask("GET", STATS, key["key"]), 401, "invalid_api_key")
    assert locked.ask("GET", STATS, other["key"]).status_code == 200
    listed = locked.ask("GET", "/v1/keys?namespace=revoked-family", locked.run_token).json()["data"]
    assert [bool(row["revoked_at"]) for row in listed] == [True, True, True, False]


def test_a_key_is_valid_only_while_its_maker_is(engine: MemoryEngine, clock: FixedClock) -> None:
    keys = ApiKeys(engine.database, clock)
    ends = clock.now() + timedelta(days=1)
    maker, _ = keys.create(NewKey(namespace="n", name="k", rights=("admin",), expires_at=ends))
    _, secret = keys.create(NewKey(namespace="n", name="k", rights=("read",), made_by=maker.key_id))
    _, orphan = keys.create(NewKey(namespace="n", name="k", rights=("read",), made_by="key_gone"))
    found = keys.find(secret)
    assert found is not None
    assert found.makers == (maker,)
    assert keys.find(orphan) is None
    clock.advance(days=1)
    assert keys.find(secret) is None


def test_a_line_of_keys_that_make_each_other_ends(locked: Locked) -> None:
    key = locked.key(namespace="line", scopes=["admin"])
    for _ in range(MAX_GENERATIONS - 1):
        made = locked.ask("POST", "/v1/keys", key, {"scopes": ["admin"]})
        assert made.status_code == 201
        key = made.json()["key"]
    assert locked.ask("GET", STATS, key).status_code == 200
    refused(locked.ask("POST", "/v1/keys", key, {}), 403, "limit_exceeded")


def test_keys_of_one_namespace_share_its_rate(tmp_path: Path) -> None:
    settings = {"MEMORY_ENGINE_API_KEYS_REQUIRED": "true", "MEMORY_ENGINE_LIMIT_NAMESPACE_REQUESTS": "10"}
    with RunningService(tmp_path / "data", **settings) as service:
        token = json.loads((service.data_dir / "service.json").read_text())["token"]

        def ask(method: str, path: str, key: str, body: Any = None) -> httpx2.Response:
            return service.http.request(method, path, json=body, headers={"authorization": f"Bearer {key}"})

        made = [ask("POST", "/v1/keys", token, {"namespace": "many"}).json()["key"] for _ in range(20)]
        assert [ask("GET", STATS, key).status_code for key in made].count(200) == 10
        other = ask("POST", "/v1/keys", token, {"namespace": "other"}).json()["key"]
        assert ask("GET", STATS, other).status_code == 200
        refused(ask("POST", "/v1/keys", token, {"requests_per_minute": 11}), 403, "limit_exceeded")


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        (RECALL, {"query": "x", "k": 6}, "limit_exceeded", "k"),
        (RECALL, {"query": "x", "k": 1, "token_budget": 5001}, "limit_exceeded", "token_budget"),
        ("/v1/memory/context", {"conversation_id": "c", "token_budget": 5001}, "limit_exceeded", "token_budget"),
        (MESSAGES, {"conversation_id": "c", "messages": [user("x")] * 4}, "limit_exceeded", "messages"),
        (MESSAGES, {"conversation_id": "c", "messages": [user("x" * 20_000)]}, "body_too_large", None),
        ("/v1/chat/completions", {"model": "m", "messages": [user("x" * 20_000)]}, "body_too_large", None),
        (
            "/v1/assistant/conversations/c/messages",
            {"message": "x", "token_budget": 5001},
            "limit_exceeded",
            "token_budget",
        ),
    ],
)
def test_over_a_limit_of_one_call_is_413(locked: Locked, path: str, body: Any, code: str, param: str | None) -> None:
    key = locked.key(namespace="limits")
    assert refused(locked.ask("POST", path, key, body), 413, code)["param"] == param
    assert locked.ask("GET", STATS, key).json()["messages"] == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/assistant/conversations/c/messages"])
def test_streams_at_once_are_counted_until_they_end(locked: Locked, path: str) -> None:
    key = locked.key(namespace=f"streams{len(path)}")
    chat = {"model": "m", "messages": [user("hi")], "stream": True}
    body = chat if "chat" in path else {"message": "hi", "stream": True}
    asked, release = threading.Event(), threading.Event()

    def waits(_asked: dict[str, Any]) -> Scripted:
        asked.set()
        release.wait(30)
        return Scripted(text="there")

    locked.model.script = [Scripted(by=waits)]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(locked.ask, "POST", path, key, body)
        assert asked.wait(30)
        refused(locked.ask("POST", path, key, body), 429, "too_many_streams")
        release.set()
        assert "there" in first.result().text
    assert locked.ask("POST", path, key, body).status_code == 200


def test_the_openai_sdk_takes_a_key(locked: Locked) -> None:
    base = f"{locked.service.http.base_url}/v1"
    with openai.OpenAI(base_url=base, api_key=locked.key(namespace="sdk"), max_retries=0) as sdk:
        reply = sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}], metadata={"conversation_id": "sdk"}
        )
    assert reply.choices[0].message.content
    with (
        openai.OpenAI(base_url=base, api_key="mek_none", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_commands_make_list_and_revoke_through_the_running_service(locked: Locked) -> None:
    def run(*args: str) -> Result:
        return CliRunner().invoke(cli, ["keys", *args, "--data-dir", str(locked.service.data_dir)])

    made = run("create", "--namespace", "cli", "--name", "laptop", "--scope", "read", "--json")
    key = json.loads(made.stdout)
    assert (key["namespace"], key["scopes"], key["name"]) == ("cli", ["read"], "laptop")
    assert locked.ask("GET", STATS, key["key"]).status_code == 200
    assert key["prefix"] in run("list", "--namespace", "cli").stdout
    assert "revoked" in run("revoke", key["id"]).stdout
    refused(locked.ask("GET", STATS, key["key"]), 401, "invalid_api_key")
    assert str(run("revoke", "key_none").exception) == "There is no key 'key_none'."


def test_commands_make_a_key_where_no_service_runs(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path / "data")]
    environment = clean_environment(MEMORY_ENGINE_API_KEYS_REQUIRED="true")
    made = subprocess.run(command("keys", "create", *where), capture_output=True, text=True, env=environment)
    assert (made.returncode, made.stdout[:4], made.stdout.count("\n")) == (0, "mek_", 1), made.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_elsewhere_than_loopback_it_does_not_start_without_keys(tmp_path: Path, host: str) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with pytest.raises(ServiceError, match="MEMORY_ENGINE_API_KEYS_REQUIRED=true"):
        run_server(settings, host=host, port=0, demo=False, workers=1)
    assert not (tmp_path / "data").exists()


def test_a_service_without_any_key_says_how_to_make_one(locked: Locked) -> None:
    assert "memory-engine keys create" in locked.service.line()


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "localhost:8000"}, True),
        ({"host": "127.0.0.1"}, True),
        ({"host": "127.9.9.9:1"}, True),
        ({"host": "[::1]:8000"}, True),
        ({"host": "LOCALHOST"}, True),
        ({"host": "evil.example:8000"}, False),
        ({"host": "localhost.evil.example"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "192.168.0.7:8000"}, False),
        ({"host": "0.0.0.0:8000"}, False),
        ({"host": "[::1"}, False),
        ({"host": ""}, False),
        ({}, False),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, True),
        ({"host": "localhost:8000", "origin": "http://localhost:3000"}, False),
        ({"host": "localhost:8000", "origin": "http://127.0.0.1:8000"}, False),
        ({"host": "localhost:8000", "origin": "https://evil.example"}, False),
        ({"host": "localhost:8000", "origin": "null"}, False),
        ({"host": "localhost:8000", "origin": ""}, False),
        ({"host": "localhost:8000", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
        ({"host": "localhost:8000", "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, True),
        ({"host": "localhost:8000", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),
        ({"host": "localhost:8000", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        *(
            (
                {"host": "localhost", "sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": dest},
                allowed,
            )
            for site in ("cross-site", "same-site")
            for dest, allowed in (
                ("document", True),
                ("iframe", False),
                ("frame", False),
                ("object", False),
                ("embed", False),
                ("fencedframe", False),
            )
        ),
        ({"host": "localhost:8000", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
    ],
)
def test_on_loopback_no_page_of_another_site_is_behind_a_request(headers: dict[str, str], allowed: bool) -> None:
    if allowed:
        check_browser("GET", Headers(headers))
        return
    with pytest.raises(RequestRefused) as told:
        check_browser("GET", Headers(headers))
    assert told.value.status == 403


def test_a_form_of_another_site_is_refused_though_it_navigates() -> None:
    sent = {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    with pytest.raises(RequestRefused):
        check_browser("POST", Headers(sent))


def test_a_service_without_keys_refuses_other_names_and_other_sites(shared_service: RunningService) -> None:
    http = shared_service.http
    body = {"conversation_id": "c", "messages": [user("planted")]}
    refused(http.get(STATS, headers={"host": "evil.example"}), 403, "host_not_allowed")
    refused(http.get("/", headers={"host": "evil.example"}), 403, "host_not_allowed")
    planted = http.post(MESSAGES, json=body, headers={"origin": "https://evil.example", "x-namespace": "csrf"})
    refused(planted, 403, "origin_not_allowed")
    assert http.get(STATS, headers={"x-namespace": "csrf"}).json()["messages"] == 0
    own = {"origin": shared_service.address, "x-namespace": "csrf"}
    assert http.post(MESSAGES, json=body, headers=own).status_code == 201


def test_a_key_binds_its_holder_also_where_none_is_required(shared_service: RunningService) -> None:
    http = shared_service.http
    ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = http.post("/v1/keys", json={"namespace": "bound", "scopes": ["read"], "expires_at": ends}).json()
    headers = {"authorization": f"Bearer {made['key']}"}
    assert http.get(STATS, headers=headers).status_code == 200
    body = {"conversation_id": "c", "messages": [user("x")]}
    refused(http.post(MESSAGES, json=body, headers=headers), 403, "scope_missing")
    refused(http.get(STATS, headers={"authorization": "Bearer mek_x"}), 401, "invalid_api_key")
    refused(http.get(STATS, headers={"authorization": "Bearer run_of_before"}), 401, "invalid_api_key")
    assert http.get(STATS, headers={"authorization": "Bearer sk-anything"}).status_code == 200


@pytest.mark.parametrize("body", [b"not json", b"[" * 10_000, b'{"surprise": 1}', b"[0]"])
def test_a_body_is_not_parsed_before_the_rights_are_checked(locked: Locked, body: bytes) -> None:
    headers = {"authorization": f"Bearer {locked.key(scopes=['read'])}", "content-type": "application/json"}
    for path in (MESSAGES, "/v1/memory/erase", "/v1/keys", "/v1/chat/completions"):
        answer = locked.service.http.post(path, content=body, headers=headers)
        refused(answer, 403, "scope_missing")
