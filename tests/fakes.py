"""Fakes: a clock that stands, an embedder that needs no weights, a model server that says what it is told."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from memory_engine.models import Space


@dataclass
class FixedClock:
    """Stands until it is moved."""

    moment: datetime = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, **kwargs: float) -> None:
        self.moment += timedelta(**kwargs)


class HashEmbedder:
    """Vectors from hashes of words: texts that share words are near one another."""

    space = Space(model="hash", dimension=32)
    is_local = True

    def chunks(self, text: str) -> list[str]:
        return [text[start : start + 1000] for start in range(0, max(1, len(text)), 1000)]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), 32), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
                row += np.random.default_rng(seed).standard_normal(32).astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths == 0, 1, lengths)


_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass
class Scripted:
    """One answer of the scripted model: a text, or a status with an error, or silence."""

    text: str = "ok"
    status: int = 200
    code: str | None = None
    #: The parameter that an error names.
    param: str | None = None
    #: The tokens that an answer reports, in OpenAI's shape; 7 and 3 unless given.
    usage: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Waits until the server is closed instead of answering.
    hangs: bool = False
    #: Sent as it is, instead of a completion.
    raw: bytes | None = None
    #: Sent one by one as an event stream, as they are.
    chunks: list[bytes] | None = None
    #: Tools that it calls, each by name and arguments as JSON text or as a value.
    calls: list[tuple[str, Any]] = field(default_factory=list)
    #: Of a streamed answer, the pieces after which the connection is closed; None for all.
    breaks_after: int | None = None
    #: Computes the answer from what was asked, in place of all this.
    by: "Callable[[dict[str, Any]], Scripted] | None" = None


class ScriptedModel:
    """A Chat Completions server that answers by a script; without one it says "ok". Keeps what it was asked.

    It also embeds, with vectors of hashes, unless `embeds` is False.
    """

    def __init__(self) -> None:
        self.script: list[Scripted] = []
        self.requests: list[dict[str, Any]] = []
        self.embeds = True
        #: What `GET /models` lists, and how often it was asked; it is 404 while that is None.
        self.listed: list[dict[str, Any]] | None = None
        self.lists_asked = 0
        #: How many more embedding requests it answers; None for all.
        self.answers_left: int | None = None
        #: Called before an embedding request is answered, which then waits for `may_answer`.
        self.before_embedding: Callable[[], object] | None = None
        self.asked, self.may_answer = threading.Event(), threading.Event()
        #: Texts that it embedded.
        self.embedded: list[str] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def answer(self, asked: dict[str, Any]) -> Scripted:
        self.requests.append(asked)
        answer = self.script.pop(0) if self.script else Scripted()
        return answer if answer.by is None else answer.by(asked)

    def embedding(self, asked: dict[str, Any]) -> Scripted:
        if self.before_embedding is not None and asked["input"] != ["length"]:
            self.before_embedding()
            self.asked.set()
            self.may_answer.wait(30)
        out = self.answers_left == 0
        if self.answers_left:
            self.answers_left -= 1
        if out or not self.embeds:
            return Scripted(text="the embedding server is away", status=500)
        self.embedded += asked["input"]
        rows = [
            {"object": "embedding", "index": number, "embedding": vector.tolist()}
            for number, vector in enumerate(HashEmbedder().embed(asked["input"]))
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return Scripted(raw=json.dumps({"object": "list", "data": rows, "model": "m", "usage": usage}).encode())

    def body(self, answer: Scripted) -> bytes:
        if answer.status != 200:
            error = {"message": answer.text, "type": "error", "param": answer.param, "code": answer.code}
            return json.dumps({"error": error}).encode()
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.calls:
            message["tool_calls"] = self.tool_calls(answer)
        choice = {"index": 0, "finish_reason": "tool_calls" if answer.calls else "stop", "message": message}
        usage = answer.usage or _USAGE
        model = self.requests[-1]["model"]
        shape = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
        return json.dumps({**shape, "choices": [choice], "usage": usage}).encode()

    def tool_calls(self, answer: Scripted) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{len(self.requests)}_{number}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(answer.calls)
        ]

    def pieces(self, answer: Scripted) -> list[dict[str, Any]]:
        """A streamed answer: text word by word, calls in three pieces each, the end, and the usage."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in re.findall(r"\S+\s*", answer.text)]
        for number, call in enumerate(self.tool_calls(answer)):
            written = call["function"]["arguments"]
            begun = {**call, "index": number, "function": {"name": call["function"]["name"], "arguments": ""}}
            deltas.append({"tool_calls": [begun]})
            for part in (written[: len(written) // 2], written[len(written) // 2 :]):
                deltas.append({"tool_calls": [{"index": number, "function": {"arguments": part}}]})
        shape = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.requests[-1]["model"],
        }
        chunks = [{**shape, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        end = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if answer.calls else "stop"}
        usage = answer.usage or _USAGE
        return [*chunks, {**shape, "choices": [end]}, {**shape, "choices": [], "usage": usage}]

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers for the scripted model that it is made for."""

    owner: "ScriptedModel"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        answer = self.owner.embedding(asked) if self.path.endswith("/embeddings") else self.owner.answer(asked)
        if answer.hangs:
            self.owner._closing.wait(30)
        elif answer.chunks is not None:
            self.stream_as_it_is(answer.chunks)
        elif asked.get("stream") and answer.status == 200 and answer.raw is None:
            self.stream(answer)
        else:
            self.whole(answer)

    def do_GET(self) -> None:
        self.owner.lists_asked += self.path.endswith("/models")
        rows = {"object": "list", "data": self.owner.listed or []}
        self.whole(Scripted(raw=json.dumps(rows).encode(), status=404 if self.owner.listed is None else 200))

    def whole(self, answer: Scripted) -> None:
        body = answer.raw if answer.raw is not None else self.owner.body(answer)
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, answer: Scripted) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()  # without a length: it ends when the connection does
        pieces = self.owner.pieces(answer)
        for piece in pieces[: answer.breaks_after]:
            self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
            self.wfile.flush()
        if answer.breaks_after is None:
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def stream_as_it_is(self, chunks: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
