"""Edits and erasures over HTTP."""

from typing import Any

import pytest

from tests.http.conftest import Api, user


def patch(api: Api, name: str, body: Any) -> Any:
    return api.service.http.patch(f"/v1/memory/messages/{name}", json=body, headers=api.headers)


def test_a_message_is_edited(api: Api) -> None:
    (name,) = api.remember("c", user("The zeppelin lands on Tuesday."))
    answer = patch(api, name, {"content": "The zeppelin lands on Friday."})
    assert answer.status_code == 200
    assert (answer.json()["text"], answer.json()["version"]) == ("The zeppelin lands on Friday.", 2)
    assert [hit["text"] for hit in api.recall("zeppelin")] == ["The zeppelin lands on Friday."]


@pytest.mark.parametrize(
    ("body", "status"), [({}, 400), ({"content": ""}, 400), ({"text": "x"}, 400), ({"content": "x" * 1_100_000}, 413)]
)
def test_a_wrong_edit_is_refused(api: Api, body: dict[str, Any], status: int) -> None:
    (name,) = api.remember("c", user("Here."))
    assert patch(api, name, body).status_code == status
    assert patch(api, "msg_none", {"content": "x"}).status_code == 404
    assert [hit["text"] for hit in api.recall("here")] == ["Here."]


def test_what_is_erased_is_in_no_answer(api: Api) -> None:
    gone, stays = api.remember("c", user("The zeppelin lands."), user("The submarine surfaces."))
    asked = {"conversation_id": "other", "message": "When does the zeppelin land?", "token_budget": 900}
    prompt = api.post("/v1/memory/context", asked).json()
    assert gone in str(prompt["manifest"])
    erased = api.post("/v1/memory/erase", {"message_ids": [gone]})
    counts = erased.json()["counts"]
    assert (counts["messages"], counts["contexts"]) == (1, 1)
    kept = api.get(f"/v1/memory/contexts/{prompt['manifest_id']}")
    assert (kept.status_code, kept.json()["error"]["code"]) == (410, "context_erased")
    assert "zeppelin lands" not in api.get("/v1/memory/conversations/c/messages").text
    assert api.recall("zeppelin") == []
    assert [hit["message_id"] for hit in api.recall("submarine")] == [stays]
    assert api.post("/v1/memory/erase", {"conversation_id": "c"}).json()["counts"]["conversations"] == 1
    assert api.get("/v1/memory/conversations/c").status_code == 410
    assert api.recall("submarine") == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "empty_target"),
        ({"message_ids": ["msg_none"]}, 404, "message_not_found"),
        ({"conversation_id": "none"}, 404, "conversation_not_found"),
        ({"namespace": "another", "all": True}, 404, "not_found"),
        ({"user": "ana", "all": True}, 404, "not_found"),
        ({"message_ids": ["msg_none"], "conversation_id": "c"}, 400, "invalid_request"),
    ],
)
def test_a_wrong_erasure_is_refused(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    api.remember("c", user("Here."))
    answer = api.post("/v1/memory/erase", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(api.recall("here")) == 1


def test_an_erasure_is_proved_and_can_be_proved_again(api: Api) -> None:
    api.remember("c", user("The zeppelin of the silver kestrel lands at dusk."))
    receipt = api.post("/v1/memory/erase", {"conversation_id": "c"}).json()
    path = f"/v1/memory/receipts/{receipt['receipt_id']}"
    proved = api.post(f"{path}/verify", {}).json()
    assert (proved["state"], proved["scan"]["found"], proved["counts"]["messages"]) == ("done", 0, 1)
    assert api.get(path).json() == proved
    assert "c" not in (proved["kind"], proved["requested_by"])
    assert api.get("/v1/memory/receipts/rcpt_none").status_code == 404
