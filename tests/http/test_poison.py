"""Through the running service: a damaged row is named by `/ready` and `doctor`, and others go on."""

import asyncio
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.bootstrap import open_services
from assistant import Settings
from tests.running_service import RunningService, clean_environment, command

#: What an item takes at most until it is set aside, or done.
_SECONDS = 60


def said(name: str, count: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Point {n}: {name} has settled the price."} for n in range(count)]
    return {"conversation_id": name, "messages": messages}


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + _SECONDS
    while not (value := found()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


def sql(service: RunningService, statement: str) -> None:
    with closing(sqlite3.connect(service.data_dir / "memory.sqlite3", timeout=30)) as db, db:
        assert db.execute(statement).rowcount


def doctor(service: RunningService, *args: str) -> subprocess.CompletedProcess[str]:
    asked = command("doctor", "--data-dir", str(service.data_dir), *args)
    return subprocess.run(asked, capture_output=True, text=True, env=clean_environment(COLUMNS="1000"), timeout=120)


def test_a_damaged_message_is_named_and_others_are_summed_up(service: RunningService) -> None:
    def background() -> dict[str, Any]:
        answer = service.http.get("/ready")
        assert answer.status_code == 200
        part: dict[str, Any] = answer.json()["parts"].get("background", {})
        assert answer.json()["status"] == ("degraded" if part else "ok")
        return part

    def summaries(name: str) -> list[Any]:
        return service.http.get(f"/v1/memory/conversations/{name}/summaries").json()["data"]

    thread_id = service.post("/v1/memory/messages", said("ill", 3)).json()["thread_id"]
    sql(service, "UPDATE chat_messages SET tool_calls = '{\"not json' WHERE seq = 3")
    service.post("/v1/memory/messages", said("ill", 25))
    service.post("/v1/memory/messages", said("well", 25))
    assert until(lambda: summaries("well"))
    (item,) = until(background)["items"]
    assert (item["stage"], item["thread_id"], item["attempts"]) == ("summaries", thread_id, 3)
    assert "JSONDecodeError" in item["error"]
    assert "settled" not in str(item), "no text of a message is told"
    assert [row["conversation_id"] for row in service.http.get("/v1/memory/conversations").json()["data"]] == [
        "well", "ill",
    ]  # fmt: skip
    examined = doctor(service)
    assert examined.returncode == 1
    assert "conversation 'ill'" in examined.stdout
    assert thread_id in examined.stdout
    sql(service, "UPDATE chat_messages SET tool_calls = NULL WHERE seq = 3")
    repaired = doctor(service, "--repair")
    assert (repaired.returncode, "repaired" in repaired.stdout) == (0, True), repaired.stdout
    assert until(lambda: summaries("ill"))
    assert background() == {}
    assert doctor(service).returncode == 0


def test_a_thread_that_cannot_be_started_again_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = open_services(Settings(data_dir=tmp_path / "data"))
    app = create_app(services)

    async def ready() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as http:
            return await http.get("/ready")

    def end() -> None:
        raise SystemExit

    worker = services.engine._parts.consolidating
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "background":
            raise RuntimeError("can't start new thread")
        start(thread)

    try:
        assert asyncio.run(ready()).status_code == 200
        thread, work = worker._thread, worker._work
        assert thread is not None
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr("memory_engine.indexing._CALM_SECONDS", 0.01)
        worker._work = end
        worker.notify()
        thread.join(_SECONDS)
        answer = asyncio.run(ready())
        assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
        assert "consolidation: The thread ended: SystemExit" in answer.json()["parts"]["background"]["detail"]
        worker._work = work
        monkeypatch.undo()
        assert asyncio.run(ready()).status_code == 200
        assert worker._thread is not thread
    finally:
        services.close()
