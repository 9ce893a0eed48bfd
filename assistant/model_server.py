"""The Chat Completions server behind the proxy: requests go to it as bytes, and its answers come back as bytes."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import httpx2

from assistant.errors import ModelUnreachable
from assistant.server_models import DEFAULT_URL
from assistant.settings import Settings

#: Headers of the server that the client is shown.
_SHOWN = (
    "content-type", "content-encoding", "retry-after", "x-request-id", "openai-processing-ms", "openai-version",
)  # fmt: skip
_OK, _NOT_FOUND = 200, 404
#: Statuses after which the fallback model is asked, as long as nothing of an answer has come.
_FALLS_BACK = (_NOT_FOUND, 500, 502, 503, 504)
#: Statuses by which a server refuses a request: it may take it without what was added to it.
_REFUSED = (400, 413, 422)
#: Seconds that an unused connection is kept; less than servers keep theirs, so that none is closed as it is taken up.
_KEPT_OPEN = 4.0


class Passed:
    """The answer of the model's server, to be read once."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = {name: value for name, value in response.headers.items() if name in _SHOWN}

    @property
    def is_stream(self) -> bool:
        """Whether it comes as Server-Sent Events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def read(self) -> AsyncIterator[bytes]:
        """Its bytes as they come.

        Raises:
            ModelUnreachable: the connection broke.
        """
        try:
            async for piece in self._response.aiter_raw():
                yield piece
        except httpx2.HTTPError as exc:
            raise ModelUnreachable("The connection to the model server broke.") from exc
        finally:
            await self.close()

    async def close(self) -> None:
        """Release the connection."""
        await self._response.aclose()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """An answer, and what was asked for it."""

    passed: Passed
    #: Whether the request held what was added to it.
    as_changed: bool
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """The models that one request may be answered by."""

    model: str
    #: Asked where the server has no such model; None if nothing replaces it, or a cap does not let it be asked.
    replacement: str | None
    #: Asked where the server has no such model or fails; None if it is the same, or a cap does not let it be asked.
    fallback: str | None

    def after(self, status: int) -> list[str]:
        """Return the models to ask after an answer of that status, in order."""
        others = (self.replacement if status == _NOT_FOUND else None, self.fallback)
        return list(dict.fromkeys(filter(None, others))) if status in _FALLS_BACK else []


class ModelServer:
    """Asks one server, over connections that all requests share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = (settings.openai_base_url or DEFAULT_URL).rstrip("/")
        # A client belongs to the loop that its connections were made in.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()

    async def ask(self, changed: bytes, plain: bytes | None, candidates: Candidates) -> Answered:
        """Ask for a completion, and other models where the one that was asked is gone or fails.

        Args:
            changed: the request.
            plain: the request without what was added to it, for a server that refuses that; None if nothing was.
            candidates: the model that both name, and those that may be asked after it.

        Raises:
            ModelUnreachable: the server does not answer.
        """
        model = candidates.model
        answered = Answered(passed=await self._post(changed), as_changed=plain is not None, model=model)
        if plain is not None and answered.passed.status in _REFUSED:
            await answered.passed.close()
            answered = Answered(passed=await self._post(plain), as_changed=False, model=model)
        others = candidates.after(answered.passed.status)
        body = json.loads(changed if answered.as_changed or plain is None else plain) if others else {}
        for other in others:
            passed = await self._post(as_bytes({**body, "model": other}))
            if passed.status == _OK:
                await answered.passed.close()
                return Answered(passed=passed, as_changed=answered.as_changed, model=other)
            await passed.close()
        return answered

    async def models(self) -> Passed:
        """The models of the server.

        Raises:
            ModelUnreachable: it does not answer.
        """
        return await self._sent("GET", "/models", None)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _post(self, raw: bytes) -> Passed:
        return await self._sent("POST", "/chat/completions", raw)

    async def _sent(self, method: str, path: str, raw: bytes | None) -> Passed:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self._settings.openai_api_key:
            headers["authorization"] = f"Bearer {self._settings.openai_api_key}"
        client = self._client()
        try:
            asked = client.build_request(method, self._url + path, content=raw, headers=headers)
            return Passed(await client.send(asked, stream=True))
        except httpx2.HTTPError as exc:
            raise ModelUnreachable("No connection to the model server.") from exc

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=_KEPT_OPEN)
            self._clients[loop] = httpx2.AsyncClient(
                timeout=self._settings.model_timeout, trust_env=False, limits=limits
            )
        return self._clients[loop]


def as_bytes(body: Mapping[str, Any]) -> bytes:
    """A request as it is sent: UTF-8, and escapes where a text holds what UTF-8 cannot."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(body).encode()
