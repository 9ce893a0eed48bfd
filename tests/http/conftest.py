"""One running service for all HTTP tests; each test has a namespace of its own."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.fakes import ScriptedModel
from tests.running_service import RunningService


class Api:
    """The service as one application sees it."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.headers = {"x-namespace": f"ns-{secrets.token_hex(6)}"}

    def post(self, path: str, body: Any) -> httpx2.Response:
        return self.service.http.post(path, json=body, headers=self.headers)

    def post_raw(self, path: str, body: bytes) -> httpx2.Response:
        headers = {**self.headers, "content-type": "application/json"}
        return self.service.http.post(path, content=body, headers=headers)

    def get(self, path: str) -> httpx2.Response:
        return self.service.http.get(path, headers=self.headers)

    def request(self, method: str, path: str) -> httpx2.Response:
        return self.service.http.request(method, path, headers=self.headers)

    def remember(self, conversation_id: str, *messages: dict[str, Any], **fields: Any) -> list[str]:
        body = {"conversation_id": conversation_id, "messages": list(messages), **fields}
        answer = self.post("/v1/memory/messages", body)
        assert answer.status_code == 201, answer.text
        ids: list[str] = answer.json()["message_ids"]
        return ids

    def recall(self, query: str, **fields: Any) -> list[dict[str, Any]]:
        answer = self.post("/v1/memory/recall", {"query": query, **fields})
        assert answer.status_code == 200, answer.text
        hits: list[dict[str, Any]] = answer.json()["hits"]
        return hits


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("http") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedModel]:
    """A scripted model for a module's own service."""
    server = ScriptedModel()
    yield server
    server.close()


@pytest.fixture(scope="module")
def with_model(scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A module's own service, in front of its scripted model."""
    with RunningService(
        tmp_path_factory.mktemp("with-model") / "data", OPENAI_BASE_URL=scripted.url, OPENAI_API_KEY="x"
    ) as running:
        yield running


@pytest.fixture
def api(shared_service: RunningService) -> Api:
    return Api(shared_service)


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}
