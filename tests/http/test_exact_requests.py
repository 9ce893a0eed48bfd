"""Requests that prune, bring back, hide, revoke or remove act on what they name, and ignore nothing that they say."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.conftest import Api, user

OLD = (datetime.now(UTC) - timedelta(days=400)).isoformat()
YEAR = {"rules": [{"stratum": "messages", "older_than_days": 365}]}
PATHS = ("messages/{m}/quarantine", "conversations/c/quarantine", "conversations/c/hold", "messages/{m}/pin")


def ask(api: Api, method: str, path: str, body: Any = None) -> httpx2.Response:
    """Send a body, or raw text as it is."""
    raw = body if isinstance(body, str) else None if body is None else json.dumps(body)
    headers = {**api.headers, "content-type": "application/json"}
    return api.service.http.request(method, f"/v1/{path}", content=raw, headers=headers)


def listed(api: Api, whose: str | None = None) -> set[str]:
    """Return the ids of the messages that a user's conversations list."""
    asked = "" if whose is None else f"?user={whose}"
    names = [row["conversation_id"] for row in api.get(f"/v1/memory/conversations{asked}").json()["data"]]
    rows = [row for name in names for row in api.get(f"/v1/memory/conversations/{name}/messages{asked}").json()["data"]]
    return {row["message_id"] for row in rows}


def assert_refused(answer: httpx2.Response) -> None:
    error = answer.json()["error"]
    assert answer.status_code == 400, answer.text
    assert error["code"] in ("empty_target", "invalid_request", "invalid_value", "unknown_field")
    assert error["message"].endswith(".")
    assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("prune", {"policy": None}),
        ("prune", {"policy": None, "dry_run": False}),
        ("prune", {"dry_run": None}),
        ("prune", {"policy": YEAR, "dry_run": None}),
        ("prune", {"policy": {}}),
        ("prune", {"policy": []}),
        ("prune", {"policy": {"rules": None}}),
        ("prune", {"policy": {"rules": [{}]}}),
        ("prune", {"policy": {"rules": [None]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages"}]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages", "older_than_days": None}]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages", "older_than_days": ""}]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages", "older_than_days": -1}]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages", "keep_newest": 1, "older_than_days": None}]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages", "older_than_days": 365, "agent": None}]}}),
        ("prune", {"policy": {"rules": [{"stratum": "messages", "older_than_days": 365, "agent": ""}]}}),
        ("prune", {"policy": {**YEAR, "restorable_days": None}}),
        ("prune", {"policy": {**YEAR, "user": "ann"}}),
        ("prune", {"policy": YEAR, "user": "ann"}),
        ("prune", '{"policy": {"rules": [{"stratum": "messages", "older_than_days": NaN}]}}'),
        ("prune", '{"policy": {"rules": [{"stratum": "messages", "older_than_days": -Infinity}]}}'),
        ("prune", '{"policy": {"rules": [{"stratum": "messages", "older_than_days": 900, "older_than_days": 0}]}}'),
        ("prune", '{"policy": {"rules": []}, "policy": {"rules": [{"stratum": "messages", "keep_newest": 0}]}}'),
        ("prune", '{"dry_run": true, "dry_run": false}'),
        ("prune?dry_run=true", {"policy": YEAR}),
        ("prune?user=ann", {"policy": YEAR}),
        ("retention", {"rules": [{"stratum": "messages", "keep_newest": 1, "idle_days": None}]}),
    ],
)
def test_prune_with_an_unclear_policy_takes_nothing(api: Api, path: str, body: Any) -> None:
    old = api.remember("c", user("The zeppelin lands.", created_at=OLD), user("The zeppelin waits.", created_at=OLD))
    assert ask(api, "PUT", "memory/retention", YEAR).status_code == 200
    assert_refused(ask(api, "PUT" if path == "retention" else "POST", f"memory/{path}", body))
    assert listed(api) == set(old)
    assert api.get("/v1/memory/retention").json()["policy"]["rules"] == YEAR["rules"]


@pytest.mark.parametrize(("days", "removed"), [(0, 1), (90, 0)])
def test_prune_by_a_policy_without_a_window_keeps_the_one_in_force(api: Api, days: int, removed: int) -> None:
    (old,) = api.remember("c", user("The zeppelin lands.", created_at=OLD))
    assert ask(api, "POST", "memory/prune", {"policy": {**YEAR, "restorable_days": 90}}).status_code == 200
    assert ask(api, "PUT", "memory/retention", {"rules": [], "restorable_days": days}).status_code == 200
    told = ask(api, "POST", "memory/prune", {"policy": {"rules": []}, "dry_run": True}).json()["data"]
    assert sum(row["rows"] for row in told) == removed
    assert ask(api, "POST", "memory/restore", {"message_ids": [old]}).json()["restored"] == 1


ODD: tuple[Any, ...] = (None, "", " ", [], {}, [""], [None], 0, 7, True, False)


def test_restore_any_body_brings_back_what_it_names_or_nothing(api: Api) -> None:
    kept: dict[tuple[str | None, str], list[str]] = {}
    for whose, name in ((None, "c"), (None, "d"), ("ann", "e"), ("ann", "f")):
        of = {} if whose is None else {"user": whose}
        said = [user(f"The {word} is blue.", created_at=OLD) for word in ("door", "boat")]
        kept[whose, name] = api.remember(name, *said, **of)
    every = {each for ids in kept.values() for each in ids}
    assert ask(api, "POST", "memory/prune", {"policy": YEAR}).status_code == 200
    odd, names = st.sampled_from(ODD), st.sampled_from(["ann", "nobody"])
    conversations = st.sampled_from([name for _, name in kept] + ["none"])
    fields: dict[str, st.SearchStrategy[Any]] = {
        "message_ids": st.lists(st.sampled_from(sorted(every)), min_size=1, max_size=2) | odd,
        "conversation_id": conversations | odd,
        "since": st.sampled_from([0, OLD, "2999-01-01T00:00:00Z", float("nan"), float("-inf")]) | odd,
        "user": names | odd,
        "scope": st.just("namespace") | odd,
    }
    one = st.sampled_from(["message_ids", "conversation_id", "since"]).flatmap(
        lambda name: fields[name].map(lambda value: {name: value})
    )
    scoped = st.tuples(one, names).map(lambda pair: {**pair[0], "user": pair[1]})
    statuses: list[int] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=one | scoped | st.fixed_dictionaries({}, optional=fields) | odd)
    def tried(body: Any) -> None:
        answer = ask(api, "POST", "memory/restore", json.dumps(body))
        back = listed(api) | listed(api, "ann")
        statuses.append(answer.status_code)
        assert back <= (_named(body, kept) if answer.status_code == 200 else set()), (body, answer.text)
        if answer.status_code == 200:
            assert len(back) == answer.json()["restored"]
        if back:
            assert ask(api, "POST", "memory/prune", {"policy": YEAR}).status_code == 200

    tried()
    assert {200, 400, 404} <= set(statuses)


def _named(body: dict[str, Any], kept: dict[tuple[str | None, str], list[str]]) -> set[str]:
    """Say which messages a body may bring back: those of one target, of one user."""
    targets = [name for name in ("message_ids", "conversation_id", "since") if name in body]
    if len(targets) != 1 or None in body.values():
        return set()
    own = {name: ids for (whose, name), ids in kept.items() if whose == body.get("user")}
    everyone = body.get("scope") == "namespace" and targets == ["since"] and "user" not in body
    if everyone:
        return {each for ids in kept.values() for each in ids}
    of_scope = {each for ids in own.values() for each in ids}
    if targets == ["message_ids"]:
        return of_scope & set(body["message_ids"])
    return set(own.get(body["conversation_id"], ())) if targets == ["conversation_id"] else of_scope


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body", [{"user": None}, {"user": ""}, {"user": " "}, {"user": 7}, {"users": "ann"}, '{"user": "ann", "user": ""}']
)
def test_hide_and_keep_with_an_unclear_user_change_nothing(api: Api, path: str, body: Any) -> None:
    (name,) = api.remember("c", user("The zeppelin lands."))
    before = api.get("/v1/memory/conversations/c/messages").json(), api.get("/v1/memory/conversations/c").json()
    assert_refused(ask(api, "POST", f"memory/{path.format(m=name)}", body))
    assert_refused(ask(api, "POST", f"memory/{path.format(m=name)}?user=ann", {}))
    after = api.get("/v1/memory/conversations/c/messages").json(), api.get("/v1/memory/conversations/c").json()
    assert after == before


@pytest.mark.parametrize("query", ["?user=", "?user=%20", "?usr=ann", "?user=ann&user=", "?namespace=x", "?agent=pm"])
@pytest.mark.parametrize("path", ["notes/style", *PATHS])
def test_removal_with_an_unclear_query_changes_nothing(api: Api, path: str, query: str) -> None:
    (name,) = api.remember("c", user("The zeppelin lands."))
    assert ask(api, "PUT", "memory/notes/style", {"text": "Be brief."}).status_code == 200
    for held in PATHS:
        assert ask(api, "POST", f"memory/{held.format(m=name)}", {}).status_code == 200
    before = _state(api)
    assert_refused(ask(api, "DELETE", f"memory/{path.format(m=name)}{query}"))
    assert_refused(ask(api, "DELETE", f"memory/{path.format(m=name)}", {"user": "ann"}))
    assert _state(api) == before


def _state(api: Api) -> list[Any]:
    paths = ("notes", "conversations/c", "conversations/c/messages")
    return [api.get(f"/v1/memory/{path}").json() for path in paths]


@pytest.mark.parametrize("key_id", ["", "%20", ".", "..", "%2E", "*", "%25", "null", "key_", "key_none"])
def test_revoke_of_no_key_revokes_none(api: Api, key_id: str) -> None:
    for name in ("laptop", "server"):
        body = {"name": name, "namespace": api.headers["x-namespace"]}
        assert ask(api, "POST", "keys", body).status_code == 201
    answer = ask(api, "DELETE", f"keys/{key_id}")
    assert answer.status_code in (307, 400, 404, 405), answer.text
    assert {row["revoked_at"] for row in _keys(api)} == {None}


def test_revoke_with_another_namespace_or_a_query_revokes_none(api: Api) -> None:
    (made,) = [ask(api, "POST", "keys", {"namespace": api.headers["x-namespace"]}).json()]
    path = f"/v1/keys/{made['id']}"
    elsewhere = api.service.http.delete(path, headers={"x-namespace": "elsewhere"})
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (404, "key_not_found")
    assert_refused(ask(api, "DELETE", f"keys/{made['id']}?namespace=elsewhere"))
    assert_refused(ask(api, "DELETE", f"keys/{made['id']}", {"namespace": "elsewhere"}))
    assert [row["revoked_at"] for row in _keys(api)] == [None]
    assert api.request("DELETE", path).json()["revoked_at"]


def _keys(api: Api) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.get(f"/v1/keys?namespace={api.headers['x-namespace']}").json()["data"]
    return rows
