"""Patterns and notes over HTTP."""

import time
from typing import Any

import pytest

from tests.http.conftest import Api, user


def put(api: Api, name: str, body: Any) -> Any:
    return api.service.http.put(f"/v1/memory/notes/{name}", json=body, headers=api.headers)


def test_a_note_is_written_read_and_removed(api: Api) -> None:
    assert put(api, "style", {"text": "Be brief."}).json()["version"] == 1
    assert put(api, "style", {"text": "Be brief, and kind.", "agent": "pm"}).json()["version"] == 2
    assert api.get("/v1/memory/notes/style").json()["text"] == "Be brief, and kind."
    assert api.get("/v1/memory/notes/style?version=1").json()["text"] == "Be brief."
    assert [note["name"] for note in api.get("/v1/memory/notes").json()["data"]] == ["style"]
    assert api.get("/v1/memory/notes?agent=spec").json()["data"] == []
    assert api.request("DELETE", "/v1/memory/notes/style").status_code == 204
    assert api.get("/v1/memory/notes/style").status_code == 404


def test_a_pattern_is_learned_corrected_and_dismissed(api: Api) -> None:
    said = [user("I live in Lyon."), *(user(f"The weather report number {n} is short.") for n in range(20))]
    api.remember("c", *said)  # so many that the background does not wait for silence
    end, found = time.monotonic() + 30, []
    while not found and time.monotonic() < end:
        found = api.get("/v1/memory/patterns?kind=statement").json()["data"]
    (pattern,) = found
    assert (pattern["text"], pattern["support"], pattern["state"]) == ("I live in Lyon.", 1, "learned")
    assert pattern["evidence"][0]["conversation_id"] == "c"
    path = f"/v1/memory/patterns/{pattern['id']}"
    assert api.post(f"{path}/confirm", {}).json()["state"] == "confirmed"
    assert api.post(f"{path}/correct", {"text": "Ana lives near Lyon."}).json()["text"] == "Ana lives near Lyon."
    assert api.post(f"{path}/dismiss", {}).json()["state"] == "dismissed"
    assert api.get("/v1/memory/patterns?kind=statement").json()["data"] == []
    assert len(api.get("/v1/memory/patterns?kind=statement&everything=true").json()["data"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/memory/patterns?kind=guess", None, 400),
        ("GET", "/v1/memory/patterns?everything=perhaps", None, 400),
        ("POST", "/v1/memory/patterns/pat_none/confirm", {}, 404),
        ("POST", "/v1/memory/patterns/pat_none/dismiss", {}, 404),
        ("POST", "/v1/memory/patterns/pat_none/correct", {"text": "x"}, 404),
        ("POST", "/v1/memory/patterns/pat_none/correct", {"text": ""}, 400),
        ("POST", "/v1/memory/patterns/pat_none/correct", {}, 400),
        ("PUT", "/v1/memory/notes/n", {"text": ""}, 400),
        ("PUT", "/v1/memory/notes/n", {"text": 7}, 400),
        ("PUT", "/v1/memory/notes/n", {"txt": "x"}, 400),
        ("GET", "/v1/memory/notes/none", None, 404),
        ("DELETE", "/v1/memory/notes/none", None, 404),
    ],
)
def test_what_is_not_there_or_wrong_is_told(api: Api, method: str, path: str, body: Any, status: int) -> None:
    answer = api.service.http.request(method, path, json=body, headers=api.headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
