"""Each route runs in its lane, and nothing short waits behind what computes or takes long."""

import asyncio
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.bootstrap import open_services
from api.lanes import COMPUTE, LANES, LONG, LOOP, READ, WRITE, LaneRoute
from api.services import Services
from assistant import PromptRequest, Settings, Turn
from assistant.agents import DEFAULT_AGENT
from assistant.lanes import Lane
from memory_engine import DEFAULT_SCOPE, RecallQuery
from tests.fakes import Scripted, ScriptedModel

PATIENCE = 20
FERRY = RecallQuery(text="When does the ferry leave?")
OLD = [{"role": "user", "content": "The ferry leaves at nine.", "id": "msg_1"}]
NEW = {"conversation_id": "other", "messages": [{"role": "user", "content": "The kettle is broken."}]}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = open_services(Settings(data_dir=tmp_path / "data"))
    opened.engine.remember("trip", OLD)
    yield opened
    opened.close()


class Occupied:
    """A lane of which every slot is taken, until the block is left."""

    def __init__(self, lane: Lane, slots: int) -> None:
        self._lane, self._slots = lane, slots
        self._begun, self._may_end = threading.Barrier(slots + 1), threading.Event()

    def __enter__(self) -> None:
        self._works = [self._lane.submit(self._work) for _ in range(self._slots)]
        self._begun.wait(PATIENCE)

    def _work(self) -> bool:
        self._begun.wait(PATIENCE)
        return self._may_end.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._may_end.set()
        assert all(work.result(PATIENCE) for work in self._works)


def over_http(app: FastAPI, act: Callable[[httpx2.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=PATIENCE) as http:
            await act(http)

    asyncio.run(run())


def test_every_route_has_a_lane_and_every_lane_a_route(services: Services) -> None:
    contexts = [context for context in iter_route_contexts(create_app(services).routes) if context.methods]
    assert {f"{method} {context.path}" for context in contexts for method in context.methods or ()} == set(LANES)
    assert set(LANES.values()) == {COMPUTE, WRITE, READ, LONG, LOOP}


def test_no_endpoint_runs_on_threads_outside_of_the_lanes(services: Services) -> None:
    contexts = [context for context in iter_route_contexts(create_app(services).routes) if context.methods]
    outside = {context.path for context in contexts if not inspect.iscoroutinefunction(context.endpoint)}
    assert outside <= {"/v1/models/{model:path}"}


def test_route_without_a_lane_cannot_be_made() -> None:
    with pytest.raises(LookupError, match="Missing lane of the route GET /v1/memory/new"):
        LaneRoute("/v1/memory/new", lambda: None, methods=["GET"])


def test_function_that_blocks_is_refused_on_the_event_loop() -> None:
    with pytest.raises(TypeError, match="/health"):
        LaneRoute("/health", lambda: None, methods=["GET"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/memory/recall", {"query": FERRY.text}),
        ("/v1/memory/recall/why-not", {"query": FERRY.text, "message_id": "msg_1"}),
        ("/v1/memory/context", {"conversation_id": "asks", "message": FERRY.text, "token_budget": 500}),
    ],
)
def test_writes_and_reads_are_answered_while_what_computes_is_queued(
    services: Services, path: str, body: dict[str, Any]
) -> None:
    async def act(http: httpx2.AsyncClient) -> None:
        with Occupied(services.lanes.compute, 1):
            queued = [asyncio.ensure_future(http.post(path, json=body)) for _ in range(20)]
            answers = [
                await http.post("/v1/memory/messages", json=NEW),
                await http.get("/v1/memory/conversations/trip/messages"),
                await http.get("/health"),
            ]
            assert [answer.status_code for answer in answers] == [201, 200, 200]
            assert not any(each.done() for each in queued)
        assert {answer.status_code for answer in await asyncio.gather(*queued)} == {200}

    over_http(create_app(services), act)


def test_long_operations_take_neither_the_recall_lane_nor_the_write_lane(services: Services) -> None:
    async def act(http: httpx2.AsyncClient) -> None:
        with Occupied(services.lanes.long, services.lanes.long.threads):
            queued = asyncio.ensure_future(http.post("/v1/memory/erase", json={"message_ids": ["msg_1"]}))
            recalled = await http.post("/v1/memory/recall", json={"query": FERRY.text})
            written = await http.post("/v1/memory/messages", json=NEW)
            assert (recalled.status_code, written.status_code, queued.done()) == (200, 201, False)
        assert (await queued).status_code == 200

    over_http(create_app(services), act)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/v1/memory/recall", {"query": FERRY.text}, 499), ("/v1/memory/messages", NEW, 201)],
)
def test_queued_recall_of_a_client_that_left_is_not_run_and_a_write_is(
    services: Services, path: str, body: dict[str, Any], status: int
) -> None:
    app, sent, raw = create_app(services), list[dict[str, Any]](), json.dumps(body).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    lanes = services.lanes

    async def run() -> None:
        messages = iter([{"type": "http.request", "body": raw, "more_body": False}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        request = asyncio.ensure_future(app(scope, receive, send))
        with Occupied(lanes.compute, 1), Occupied(lanes.write, lanes.write.threads):
            while not request.done() and not lanes.write._queues:
                await asyncio.sleep(0)
        await asyncio.wait_for(request, PATIENCE)

    asyncio.run(run())
    assert sent[0]["status"] == status


@pytest.fixture
def modelled(tmp_path: Path, model: ScriptedModel) -> Iterator[Services]:
    settings = Settings(
        data_dir=tmp_path / "data", embedder="openai:tiny", openai_base_url=model.url, openai_api_key="x"
    )
    opened = open_services(settings)
    yield opened
    model.may_answer.set()
    opened.close()


def test_question_that_waits_for_a_remote_embedder_lets_other_work_compute(
    modelled: Services, model: ScriptedModel
) -> None:
    compute = modelled.lanes.compute
    modelled.engine.remember("trip", OLD)
    modelled.engine._parts.generation.indexer.work()
    modelled.engine._parts.stop_background()
    model.before_embedding = lambda: None  # and waits until it may answer
    asked = compute.submit(lambda: modelled.engine.search(FERRY))
    assert model.asked.wait(PATIENCE)
    assert compute.submit(lambda: "meanwhile").result(PATIENCE) == "meanwhile"
    assert not asked.done()
    model.may_answer.set()
    assert [hit.message_id for hit in asked.result(PATIENCE).hits] == ["msg_1"]


def test_turn_holds_no_slot_while_its_model_is_asked(modelled: Services, model: ScriptedModel) -> None:
    lanes, free = modelled.lanes, list[bool]()

    def look(_: Any) -> Scripted:
        free.extend(lane.submit(lambda: True).result(PATIENCE) for lane in lanes.all)
        free.extend(not lane.is_full for lane in lanes.all)
        return Scripted(text="At nine.")

    model.script = [Scripted(by=look)]
    reply = modelled.assistant.run(modelled.assistant.answer(Turn(conversation_id="c", message=FERRY.text)))
    assert reply.text == "At nine."
    assert len(free) == 8
    assert all(free[:4])


def test_message_of_a_turn_is_kept_while_recalls_are_queued(services: Services) -> None:
    assistant = services.assistant
    turn = threading.Thread(target=lambda: assistant.process_message("Is the ferry late?", "c"))
    with Occupied(services.lanes.compute, 1):
        turn.start()
        while not services.lanes.compute._queues:  # the turn has kept its message and waits to recall
            pass
        assert [row.text for row in services.engine.history.newest("c", 5)] == ["Is the ferry late?"]
    turn.join(PATIENCE)


def test_packing_that_waits_for_the_writers_lock_lets_recall_go_on(services: Services) -> None:
    compute, engine = services.lanes.compute, services.engine
    request = PromptRequest(conversation_id="c", message=FERRY.text, agent=DEFAULT_AGENT, token_budget=500)
    with engine.database.write():
        packed = compute.submit(lambda: services.assistant.context_manager.assemble(request, DEFAULT_SCOPE))
        assert len(compute.submit(lambda: engine.search(FERRY)).result(PATIENCE).hits) == 1
        assert not packed.done()
    assert packed.result(PATIENCE).recalled
