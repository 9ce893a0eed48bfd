"""What was erased is told so by every route that names it, to its own scope alone."""

from typing import Any

import httpx2
import pytest

from tests.http.conftest import Api, user

#: Every route that takes the id of a message or a conversation: method, path, body.
ASKED: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PATCH", "messages/{message}", {"content": "No, the otter."}),
    ("POST", "messages/{message}/pin", {}),
    ("DELETE", "messages/{message}/pin", None),
    ("POST", "messages/{message}/quarantine", {}),
    ("DELETE", "messages/{message}/quarantine", None),
    ("POST", "recall/why-not", {"query": "otter", "message_id": "{message}"}),
    ("POST", "erase", {"message_ids": ["{message}"]}),
    ("POST", "restore", {"message_ids": ["{message}"]}),
    ("GET", "conversations/gone", None),
    ("GET", "conversations/gone/messages", None),
    ("GET", "conversations/gone/summaries", None),
    ("GET", "conversations/gone/links", None),
    ("POST", "conversations/gone/hold", {}),
    ("DELETE", "conversations/gone/hold", None),
    ("POST", "conversations/gone/quarantine", {}),
    ("DELETE", "conversations/gone/quarantine", None),
    ("GET", "path?source=gone&target=kept", None),
    ("GET", "path?source=kept&target=gone", None),
    ("GET", "graph?conversation_id=gone", None),
    ("POST", "links", {"source": "kept", "target": "gone"}),
    ("POST", "erase", {"conversation_id": "gone"}),
    ("POST", "restore", {"conversation_id": "gone"}),
]


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
def test_every_route_says_that_it_was_erased_to_its_own_scope_alone(
    api: Api, method: str, path: str, body: dict[str, Any] | None
) -> None:
    (message,) = api.remember("gone", user("The otter sleeps."))
    api.remember("kept", user("The heron does not."))
    receipt = api.post("/v1/memory/erase", {"conversation_id": "gone"}).json()["receipt_id"]

    def asked(stranger: dict[str, str]) -> httpx2.Response:
        sent = None if body is None else {**_named(body, message), **stranger}
        query = stranger if body is None else {}
        url = httpx2.URL(f"/v1/memory/{path.format(message=message)}").copy_merge_params(query)
        return api.service.http.request(method, url, json=sent, headers=api.headers)

    own, other = asked({}), asked({"user": "ana"})
    error = own.json()["error"]
    assert (own.status_code, error["code"], receipt in error["message"]) == (410, "erased", True)
    assert (other.status_code, "erased" in other.text) == (404, False)


def test_of_several_the_one_that_was_erased_is_named(api: Api) -> None:
    first, second = api.remember("c", user("The otter sleeps."), user("The heron does not."))
    api.post("/v1/memory/erase", {"message_ids": [first, second]})
    api.remember("c", user("The otter sleeps again.", id=first))
    error = api.post("/v1/memory/erase", {"message_ids": [first, second]}).json()["error"]
    assert (error["code"], error["param"], second in error["message"]) == ("erased", "message_ids", True)
    never = api.post("/v1/memory/erase", {"message_ids": [first, "msg_never"]})
    assert (never.status_code, never.json()["error"]["code"]) == (404, "message_not_found")


def _named(body: dict[str, Any], message: str) -> dict[str, Any]:
    by_name = {"message_id": message, "message_ids": [message]}
    return {name: by_name[name] if "{message}" in str(value) else value for name, value in body.items()}
