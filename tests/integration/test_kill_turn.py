"""The service is killed while a tool is called: the call is reported as failed, and is not made again."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.running_service import RunningService


class Slow:
    """A server that never answers, and counts who asks."""

    def __init__(self) -> None:
        self.asked, self.may_end, self.count = threading.Event(), threading.Event(), 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.count += 1
                owner.asked.set()
                owner.may_end.wait(30)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        self.host = f"127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.may_end.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def slow() -> Iterator[Slow]:
    server = Slow()
    yield server
    server.close()


def test_a_call_in_the_middle_of_a_kill_is_failed_and_not_repeated(
    model: ScriptedModel, slow: Slow, tmp_path: Path
) -> None:
    settings = {
        "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "x", "MEMORY_ENGINE_HTTP_PRIVATE": "true",
        "MEMORY_ENGINE_HTTP_HOSTS": f'["{slow.host}"]',
    }  # fmt: skip
    say = "/v1/assistant/conversations/talk/messages"
    model.script = [Scripted(calls=[("http_request", {"url": f"http://{slow.host}/pay"})]), Scripted(text="Not known.")]
    service = RunningService(tmp_path / "data", **settings)

    def asks() -> None:
        with pytest.raises(Exception):  # noqa: B017  (whatever a killed service looks like from outside)
            service.post(say, {"message": "Fetch it.", "agent": "spec"})

    asking = threading.Thread(target=asks)
    asking.start()
    assert slow.asked.wait(30)
    service.kill()
    asking.join()
    with RunningService(tmp_path / "data", **settings) as again:
        (row,) = again.http.get("/v1/assistant/tool-calls").json()["data"]
        assert (row["status"], row["output"], row["duration_ms"]) == ("started", None, None)
        reply = again.post(say, {"message": "What came of it?"}).json()
        assert reply["text"] == "Not known."
        rows = again.http.get("/v1/memory/conversations/talk/messages?order=asc").json()["data"]
    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "user", "assistant"]
    (answer,) = [m for m in model.requests[-1]["messages"] if m["role"] == "tool"]
    assert "its outcome is not known; it is not made again" in answer["content"]
    assert slow.count == 1
