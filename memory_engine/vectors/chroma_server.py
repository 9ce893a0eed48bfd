"""The client of a Chroma server. It makes no call before it is asked to, and no call without a time limit.

chromadb's own client sets no limit, and asks the server as soon as it is made: then a service could not start while
Chroma is away.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
from chromadb.api.fastapi import FastAPI
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings, System

from memory_engine.vectors.time_limit import seconds_left

#: Seconds to connect, and those of a call around which no limit is set.
_CONNECT, _CALL = 1.0, 10.0
#: Collections that are listed at once.
_PAGE = 500


class ServerClient:
    """A Chroma server, with the methods of chromadb's client that the index uses."""

    def __init__(self, url: str) -> None:
        """Take the server's URL; no call is made."""
        parts = urlsplit(url)
        settings = Settings(
            anonymized_telemetry=False,
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=parts.hostname or "127.0.0.1",
            chroma_server_http_port=parts.port or (443 if parts.scheme == "https" else 8000),
            chroma_server_ssl_enabled=parts.scheme == "https",
        )
        self._system = System(settings)
        self._server = self._system.instance(FastAPI)
        self._session: httpx.Client = self._server._session  # chromadb has no setting for its limits
        self._session.event_hooks = {"request": [_limit_request], "response": [_limit_response]}
        self._system.start()

    def heartbeat(self) -> int:
        """Ask whether the server is there."""
        return int(self._server.heartbeat())

    def get_collection(self, name: str, embedding_function: None = None) -> Collection:
        """Return a collection; `NotFoundError` where there is none of that name."""
        model = self._server.get_collection(name=name)
        return Collection(client=self._server, model=model, embedding_function=embedding_function)

    def create_collection(
        self, name: str, *, configuration: Any, metadata: dict[str, Any], embedding_function: None = None
    ) -> Collection:
        """Make a collection."""
        model = self._server.create_collection(name=name, configuration=configuration, metadata=metadata)
        return Collection(client=self._server, model=model, embedding_function=embedding_function)

    def delete_collection(self, name: str) -> None:
        """Delete a collection; `NotFoundError` where there is none of that name."""
        self._server.delete_collection(name=name)

    def names(self) -> list[str]:
        """Return the names of all collections."""
        found: list[str] = []
        while page := self._server.list_collections(limit=_PAGE, offset=len(found)):
            found += [collection.name for collection in page]
        return found

    def close(self) -> None:
        """Close the connections."""
        self._system.stop()
        self._session.close()


def is_outage(exc: Exception) -> bool:
    """Return whether the server gave no answer: it refused the connection, broke it off or was too slow."""
    return isinstance(exc, httpx.TransportError)


class _TimelyStream(httpx.SyncByteStream):
    """The body of an answer. httpx limits the wait for each piece, so a slow server could send pieces for ever."""

    def __init__(self, stream: httpx.SyncByteStream, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            if not seconds_left(_CALL):
                raise httpx.ReadTimeout("timed out", request=self._request)
            yield piece

    def close(self) -> None:
        self._stream.close()


def _limit_request(request: httpx.Request) -> None:
    left = seconds_left(_CALL)
    if not left:
        raise httpx.ConnectTimeout("timed out", request=request)
    request.extensions["timeout"] = {"connect": min(left, _CONNECT), "read": left, "write": left, "pool": left}


def _limit_response(response: httpx.Response) -> None:
    assert isinstance(response.stream, httpx.SyncByteStream)
    response.stream = _TimelyStream(response.stream, response.request)
