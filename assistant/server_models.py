"""The models that the model server lists, asked once in a while in a thread of its own."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import date
from typing import Any

import httpx2
import structlog

from assistant.settings import Settings

DEFAULT_URL = "https://api.openai.com/v1"
#: A server's list: each model, and its switch-off date if the list has one.
Listing = Mapping[str, date | None]

#: Seconds that a list counts, and that a server which gave none is not asked again.
_FRESH, _FAILED = 900.0, 60.0
#: Seconds that the server has for its list.
_PATIENCE = 3.0
#: Bytes of a list that are read.
_MOST = 8 * 1024 * 1024
_log = structlog.get_logger("memory_engine.models")


class ServerModels:
    """Asks one server for its models. A server that does not answer is no error: then there is no list."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._asked: Future[None] | None = None
        #: When to ask again (`time.monotonic`).
        self._again = 0.0
        self._known: Listing | None = None

    async def current(self) -> Listing | None:
        """Return the server's list, the last one if it gives none in time, or None if it never gave one."""
        if self._settings.has_model:
            await asyncio.wait({asyncio.wrap_future(self._begin())}, timeout=_PATIENCE)
        return self._known

    def known(self) -> Listing | None:
        """Return the last list without waiting, and begin to ask for a newer one where it is old."""
        if self._settings.has_model:
            self._begin()
        return self._known

    def _begin(self) -> Future[None]:
        with self._lock:
            is_running = self._asked is not None and not self._asked.done()
            if self._asked is None or not (is_running or time.monotonic() < self._again):
                self._asked = Future()
                self._asked.set_running_or_notify_cancel()  # a turn that is cancelled leaves it to the others
                threading.Thread(target=self._ask, args=(self._asked,), name="models", daemon=True).start()
            return self._asked

    def _ask(self, asked: Future[None]) -> None:
        listing = None
        try:
            listing = _listing(json.loads(self._body()))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as exc:
            _log.debug("no list of models", error=type(exc).__name__)
        finally:
            if listing is not None:
                self._known = listing
            self._again = time.monotonic() + (_FAILED if listing is None else _FRESH)
            asked.set_result(None)

    def _body(self) -> bytes:
        url = (self._settings.openai_base_url or DEFAULT_URL).rstrip("/") + "/models"
        key = self._settings.openai_api_key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        end, read = time.monotonic() + _PATIENCE, bytearray()
        with httpx2.stream("GET", url, headers=headers, timeout=_PATIENCE, trust_env=False) as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                read += piece
                if len(read) > _MOST or time.monotonic() > end:
                    raise ValueError("the list is too long or too slow")
        return bytes(read)


def _listing(body: Any) -> Listing | None:
    """Return the models of an answer in OpenAI's shape, or None if it is of another or empty."""
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return None
    named = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    return {row["id"]: _day(row.get("shutdown_date")) for row in named} or None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
