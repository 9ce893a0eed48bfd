"""Requests made to stop the service: each is answered at once, and `/health` all the while."""

import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.http.conftest import Api, user
from tests.running_service import RunningService

MESSAGES = "/v1/memory/messages"
RECALL = "/v1/memory/recall"
CHAT = "/v1/chat/completions"
#: Seconds. The service answers within a quarter of it; before, each of these took 3 to 34.
SOON = 1.5


class Health:
    """Asks `/health` again and again, and keeps the longest wait."""

    def __init__(self, address: str) -> None:
        self._http = httpx2.Client(base_url=address, timeout=60, trust_env=False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.worst = 0.0

    def _watch(self) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            assert self._http.get("/health").status_code == 200
            self.worst = max(self.worst, time.monotonic() - started)
            time.sleep(0.02)

    def __enter__(self) -> "Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        self._http.close()


@pytest.fixture(scope="module")
def own_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("hostile") / "data") as running:
        yield running


def answered(api: Api, path: str, raw: bytes) -> tuple[httpx2.Response, float, float]:
    """The answer, the seconds that it took, and the longest wait for `/health` meanwhile."""
    with Health(api.service.address) as health:
        started = time.monotonic()
        answer = api.post_raw(path, raw)
        took = time.monotonic() - started
    return answer, took, health.worst


def error(answer: httpx2.Response) -> tuple[int, str | None, str | None]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["param"]


@pytest.mark.parametrize("text", ["." * 25_000 + "x", "…" * 25_000 + "x", "\u0301\u0316" * 100_000, "ge" * 100_000])
def test_one_message_does_not_stop_the_service(own_service: RunningService, text: str) -> None:
    """Finding 1; twenty short messages make it due at once."""
    api = Api(own_service)
    with Health(own_service.address) as health:
        api.remember("c", *[user(f"short message {number}") for number in range(20)], user(text))
        end = time.monotonic() + 20
        while not api.get("/v1/memory/conversations/c/summaries").json()["data"]:
            assert time.monotonic() < end, "the conversation was not summed up"
            time.sleep(0.2)
    assert health.worst < SOON


def test_a_conversation_of_fifty_thousand_sentences_does_not_stop_the_service(own_service: RunningService) -> None:
    api = Api(own_service)
    text = "".join(f"The harbour has {number} boats. " for number in range(2_000))
    with Health(own_service.address) as health:
        api.remember("c", *[user(f"{number}. {text}") for number in range(25)])
        end = time.monotonic() + 60
        while not api.get("/v1/memory/conversations/c/summaries").json()["data"]:
            assert time.monotonic() < end, "the conversation was not summed up"
            time.sleep(0.2)
    assert health.worst < SOON


def test_one_turn_does_not_stop_the_service(api: Api) -> None:
    """Finding 2."""
    raw = json.dumps({"message": "позови" + " " * 8_000 + "x"}).encode()
    answer, took, worst = answered(api, "/v1/assistant/conversations/c/messages", raw)
    assert answer.status_code == 200
    assert took < 2 * SOON
    assert worst < SOON


#: 200,000 elements of the wrong type, and 100,000 fields that no schema has.
WRONG = b"[" + b"0," * 200_000 + b"0]"
UNKNOWN = b", ".join(b'"a%d": 1' % number for number in range(100_000))


def listed(field: bytes, rest: bytes = b"") -> bytes:
    return b"{" + rest + b'"' + field + b'": ' + WRONG + b"}"


def message(rest: bytes) -> bytes:
    return b'{"conversation_id": "c", "messages": [{' + rest + b"}]}"


@pytest.mark.parametrize(
    ("path", "raw", "param"),
    [
        (MESSAGES, listed(b"messages", b'"conversation_id": "c", '), "messages"),
        (RECALL, listed(b"exclude_conversation_ids", b'"query": "x", '), "exclude_conversation_ids.0"),
        (RECALL, listed(b"roles", b'"query": "x", '), "roles.0"),
        (MESSAGES, message(b'"role": "user", "content": ' + WRONG), None),
        (MESSAGES, message(b'"role": "assistant", "tool_calls": ' + WRONG), None),
        ("/v1/memory/erase", listed(b"message_ids"), "message_ids"),
        ("/v1/memory/restore", listed(b"message_ids"), "message_ids.0"),
        ("/v1/keys", listed(b"scopes"), "scopes.0"),
        (RECALL, b'{"query": "x", ' + UNKNOWN + b"}", None),
        (MESSAGES, message(UNKNOWN), "messages[0]"),
        (RECALL, b'{"query": "x", "metadata": {' + UNKNOWN + b"}}", "metadata"),
        (RECALL, b'{"query": "x", "' + b"a" * 1_000_000 + b'": 1}', "a" * 256),
    ],
)  # fmt: skip
def test_a_long_list_of_wrong_elements_is_one_error(api: Api, path: str, raw: bytes, param: str | None) -> None:
    """Finding 3."""
    answer, took, worst = answered(api, path, raw)
    assert answer.status_code == 400, answer.text[:500]
    assert param in (None, answer.json()["error"]["param"])
    assert len(answer.content) < 2_000
    assert (took < SOON, worst < SOON) == (True, True)


@pytest.mark.parametrize("path", [MESSAGES, RECALL, CHAT, "/v1/memory/erase", "/v1/memory/retention"])
def test_a_body_of_very_many_values_is_refused_before_it_is_parsed(api: Api, path: str) -> None:
    method = "PUT" if path.endswith("retention") else "POST"
    raw = b"[" + b"0," * 3_000_000 + b"0]"
    headers = {**api.headers, "content-type": "application/json"}
    with Health(api.service.address) as health:
        answer = api.service.http.request(method, path, content=raw, headers=headers)
    assert error(answer)[:2] == (413, "body_too_large")
    assert health.worst < SOON


@pytest.mark.parametrize("path", [MESSAGES, RECALL, CHAT, "/v1/memory/erase", "/v1/memory/prune"])
@pytest.mark.parametrize("raw", [b"[" * 500 + b"]" * 500, b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 100_000])
def test_a_deep_body_is_refused_without_a_traceback(api: Api, path: str, raw: bytes) -> None:
    """Finding 16."""
    deep = b'{"messages": [{"role": "user", "content": ' + raw + b"}]}"
    assert error(api.post_raw(path, deep)) == (400, "invalid_json", None)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/memory/notes/x?version=123456789012345678901234567890",
        "/v1/memory/notes/x?version=9223372036854775808",
        "/v1/memory/notes/x?version=-1",
        "/v1/memory/notes/x?version=" + "9" * 5_000,
        "/v1/memory/graph?conversation_id=c&depth=123456789012345678901234567890",
        "/v1/memory/conversations?limit=123456789012345678901234567890",
        "/v1/assistant/cost?from=123456789012345678901234567890",
    ],
)
def test_a_huge_number_in_a_query_is_a_wrong_value(api: Api, path: str) -> None:
    api.remember("c", user("hello"))
    assert error(api.get(path))[0] == 400


@pytest.mark.parametrize("number", [10**30, -(10**30), 2**63])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RECALL, {"query": "x", "k": "N"}),
        (RECALL, {"query": "x", "token_budget": "N"}),
        (RECALL, {"query": "x", "after": "N"}),
        (RECALL, {"query": "x", "min_score": "N"}),
        (MESSAGES, {"conversation_id": "c", "messages": [{"role": "user", "content": "x", "created_at": "N"}]}),
        (MESSAGES, {"conversation_id": "c", "messages": [{"role": "user", "content": "x", "metadata": {"a": "N"}}]}),
        ("/v1/memory/links", {"source": "a", "target": "b", "weight": "N"}),
        ("/v1/memory/context", {"conversation_id": "c", "message": "x", "token_budget": "N"}),
        ("/v1/keys", {"requests_per_minute": "N"}),
        ("/v1/keys", {"expires_at": "N"}),
        ("/v1/memory/prune", {"policy": {"rules": [{"stratum": "messages", "older_than_days": "N"}]}}),
        ("/v1/memory/prune", {"policy": {"rules": [{"stratum": "messages", "keep_newest": "N"}]}}),
        ("/v1/memory/restore", {"since": "N"}),
    ],
)
def test_a_huge_number_in_a_body_is_a_wrong_value(api: Api, path: str, body: dict[str, Any], number: int) -> None:
    api.remember("a", user("hello"))
    api.remember("b", user("hello"))
    raw = json.dumps(body).replace('"N"', str(number)).encode()
    assert error(api.post_raw(path, raw))[0] == 400
    digits = json.dumps(body).replace('"N"', "1" * 6_000).encode()
    assert error(api.post_raw(path, digits))[0] == 400


@pytest.mark.parametrize("path", ["/v1/memory/recall/", "/health/", "/v1/keys/", "//evil.com/v1/keys/"])
def test_no_path_is_redirected(api: Api, path: str) -> None:
    """Finding 19: a redirect repeated the caller's Host."""
    answer = api.request("POST", path)
    assert answer.status_code in (404, 405)
    assert "location" not in answer.headers


def test_a_request_that_never_ends_is_closed_and_others_are_served(api: Api) -> None:
    """Finding 11."""
    host, port = api.service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client, pytest.raises(OSError):  # noqa: PT012
        client.sendall(b"GET /health HTTP/1.1\r\nx: " + b"a" * 60_000_000)
        assert client.recv(100).startswith(b"HTTP/1.1 431")
        raise ConnectionResetError
    held = [socket.create_connection((host, int(port)), timeout=30) for _ in range(100)]
    try:
        for client in held:
            client.sendall(b"GET /health HTTP/1.1\r\nx: ")
        assert api.get("/health").status_code == 200
        assert all(client.recv(100).startswith(b"HTTP/1.1 408") for client in held)
    finally:
        for client in held:
            client.close()


def test_a_chat_of_very_many_messages_is_answered(api: Api) -> None:
    """Finding 10: N stored and 3 N sent messages, all equal, took a time that grew with the square of N."""
    name = f"c-{secrets.token_hex(4)}"
    api.remember(name, *[user("a") for _ in range(999)], user("z"))
    api.headers["x-conversation-id"] = name
    raw = json.dumps({"model": "m", "messages": [user("a") for _ in range(18_000)]}).encode()
    answer, took, worst = answered(api, CHAT, raw)
    assert answer.status_code == 200, answer.text
    assert "too_many_messages" in answer.headers["x-memory-notice"]
    assert (took < 4 * SOON, worst < SOON) == (True, True)
