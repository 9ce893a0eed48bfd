"""How commands reach the service: over HTTP where one runs on the directory, else in this process. One way to call."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2

from api.bootstrap import open_services, read_service_file
from api.services import Services
from assistant import AssistantError, load_settings
from memory_engine import MemoryEngineError, Scope
from memory_engine.errors import StoreInUse
from memory_engine.ports import Progress
from memory_engine.retention import parse_policy

#: Seconds for the longest command, a repair.
_TIMEOUT = 3600.0


class ServiceError(Exception):
    """The service refused, or could not be reached."""


def is_told(exc: Exception) -> bool:
    """Whether the error is one that its message explains, rather than a mistake of the program."""
    return isinstance(exc, ServiceError | MemoryEngineError | AssistantError)


class Client(Protocol):
    """Calls a route."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON.

        Raises:
            ServiceError: the service refused.
        """
        ...

    def stream(self, path: str, body: Any) -> Iterator[tuple[str, Any]]:
        """Post the body, and the events of the answer as they come, each by name and data.

        Raises:
            ServiceError: the service refused, at once or by an event.
        """
        ...

    def examine(self, *, repair: bool, progress: Progress) -> list[dict[str, Any]]:
        """The doctor's findings; progress is told where the work is done in this process."""
        ...

    def backup(self, progress: Progress) -> Iterator[bytes]:
        """The bytes of a backup, piece by piece.

        Raises:
            ServiceError: the service refused, or broke off.
        """
        ...

    def pruned(self) -> Iterator[bytes]:
        """What was pruned and waits for its removal, as lines of JSON, piece by piece.

        Raises:
            ServiceError: the service refused, or broke off.
        """
        ...


class RemoteClient:
    """Calls the running service."""

    def __init__(self, address: str, token: str, namespace: str | None) -> None:
        headers = _headers(token, namespace)
        self._http = httpx2.Client(base_url=address, headers=headers, timeout=_TIMEOUT, trust_env=False)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON."""
        try:
            return _answer(self._http.request(method, path, **_encoded(body)))
        except httpx2.HTTPError as exc:
            raise ServiceError(f"The running service does not answer: {exc}") from exc

    def stream(self, path: str, body: Any) -> Iterator[tuple[str, Any]]:
        """Post the body, and the events of the answer as they come."""
        try:
            with self._http.stream("POST", path, **_encoded(body)) as response:
                if response.is_error:
                    response.read()
                    _answer(response)
                yield from _events(response.iter_lines())
        except httpx2.HTTPError as exc:
            raise ServiceError(f"The running service does not answer: {exc}") from exc

    def examine(self, *, repair: bool, progress: Progress) -> list[dict[str, Any]]:
        """The doctor's findings, from the service, which works in its own process."""
        progress("the running service examines", 0)
        findings: list[dict[str, Any]] = self.call("POST", f"/v1/memory/doctor?repair={str(repair).lower()}")[
            "findings"
        ]
        return findings

    def backup(self, progress: Progress) -> Iterator[bytes]:
        """The bytes of a backup, from the service."""
        for piece in self._received("POST", "/v1/memory/backup"):
            progress("receiving the backup", len(piece))
            yield piece

    def pruned(self) -> Iterator[bytes]:
        """What waits for its removal, from the service."""
        return self._received("GET", "/v1/memory/pruned")

    def _received(self, method: str, path: str) -> Iterator[bytes]:
        try:
            with self._http.stream(method, path) as response:
                if response.is_error:
                    response.read()
                    _answer(response)
                yield from response.iter_bytes()
        except httpx2.HTTPError as exc:
            raise ServiceError(f"The running service broke off: {exc}") from exc

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class LocalClient:
    """Calls the application in this process, which owns the directory meanwhile."""

    def __init__(self, services: Services, namespace: str | None) -> None:
        from api.app import create_app

        self._services = services
        self._namespace = namespace
        self._app = create_app(services)

    def examine(self, *, repair: bool, progress: Progress) -> list[dict[str, Any]]:
        """The doctor's findings."""
        return self._services.examined(repair=repair, progress=progress)

    def backup(self, progress: Progress) -> Iterator[bytes]:
        """The bytes of a backup."""
        return self._services.engine.backup(progress)

    def pruned(self) -> Iterator[bytes]:
        """What waits for its removal."""
        scope = Scope() if self._namespace is None else Scope(namespace=self._namespace)
        return self._services.engine.pruner.waiting(scope.namespace)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON."""
        return _answer(asyncio.run(self._request(method, path, body)))

    def stream(self, path: str, body: Any) -> Iterator[tuple[str, Any]]:
        """Post the body, and the events of the answer, which come together in the end."""
        response = asyncio.run(self._request("POST", path, body))
        if response.is_error:
            _answer(response)
        yield from _events(iter(response.text.splitlines()))

    async def _request(self, method: str, path: str, body: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self._app)
        headers = _headers(self._services.run_token, self._namespace)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers, timeout=_TIMEOUT
        ) as http:
            return await http.request(method, path, **_encoded(body))


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Server-Sent Events, line by line; an event `error` is raised."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
            if name == "error":
                raise ServiceError(data["error"]["message"])
            yield name, data


def _headers(token: str, namespace: str | None) -> dict[str, str]:
    named = {} if namespace is None else {"x-namespace": namespace}
    return {"authorization": f"Bearer {token}", **named}


def _encoded(body: Any) -> dict[str, Any]:
    """The body as JSON in ASCII: text that is no Unicode reaches the service so, which refuses it in its own words."""
    if body is None:
        return {}
    return {"content": json.dumps(body), "headers": {"content-type": "application/json"}}


def _answer(response: httpx2.Response) -> Any:
    body = response.json()
    if response.is_error:
        raise ServiceError(body["error"]["message"])
    return body


def read_policy_file(path: Path) -> dict[str, Any]:
    """Read the policy in a file, TOML or JSON by its ending, as a request takes it.

    A policy without `restorable_days` stays without: then the window in force holds.

    Raises:
        ServiceError: the file cannot be read.
        InvalidInput: it holds no policy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ServiceError(f"The policy {path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise ServiceError(f"The policy {path} is no text in UTF-8.") from exc
    return parse_policy(text, is_toml=path.suffix == ".toml")


@contextmanager
def open_client(data_dir: Path | None, *, any_embedder: bool = False, namespace: str | None = None) -> Iterator[Client]:
    """A client of the service on this directory.

    Args:
        data_dir: the directory; that of the settings unless given.
        any_embedder: open the store with whichever embedder it has.
        namespace: whose memory is asked; `default` unless given.

    Raises:
        StoreInUse: another process owns the directory and serves nothing.
        ServiceError: the running service does not answer.
    """
    settings = load_settings(data_dir=data_dir)
    try:
        services = open_services(settings, any_embedder=any_embedder)
    except StoreInUse:
        running = read_service_file(settings.data_dir)
        if running is None:
            raise
        remote = RemoteClient(running["address"], running["token"], namespace)
        try:
            yield remote
        finally:
            remote.close()
        return
    try:
        yield LocalClient(services, namespace)
    finally:
        services.close()
