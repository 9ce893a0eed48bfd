"""The assistant's routes: streaming, agents, the tool log, cost; the scripted model behind them."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api
from tests.running_service import RunningService


@pytest.fixture(scope="module")
def with_model(scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("assistant") / "data"
    settings = {"OPENAI_BASE_URL": scripted.url, "OPENAI_API_KEY": "x", "MEMORY_ENGINE_CAP_TURN": "0.5"}
    with RunningService(folder, **settings, MEMORY_ENGINE_ASSISTANT_IDS='{"asst_old": "pm"}') as running:
        yield running


@pytest.fixture
def api(with_model: RunningService, scripted: ScriptedModel) -> Api:
    scripted.script.clear()
    scripted.requests.clear()
    return Api(with_model)


def stream(api: Api, message: str, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    body = {"message": message, "stream": True, **fields}
    path = "/v1/assistant/conversations/talk/messages"
    with api.service.http.stream("POST", path, json=body, headers=api.headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    frames = [frame.split("\n", 1) for frame in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


def test_a_turn_as_events(api: Api, scripted: ScriptedModel) -> None:
    api.remember("before", {"role": "user", "content": "The ferry leaves at nine."})
    search = [("search_memory", {"query": "When does the ferry leave?"})]
    scripted.script = [Scripted(text="Looking.", calls=search), Scripted(text="At nine o'clock.")]
    started = time.monotonic()
    events = stream(api, "When does the ferry leave?")
    took_ms = (time.monotonic() - started) * 1000
    assert [name for name, _ in events] == ["delta", "tool_call", "delta", "delta", "delta", "done"]
    assert "".join(data["text"] for name, data in events if name == "delta") == "Looking.At nine o'clock."
    called, done = events[1][1], events[-1][1]
    assert called["name"] == "search_memory"
    assert "The ferry leaves at nine." in called["output"]
    assert (done["text"], done["conversation_id"], done["agent"]) == ("At nine o'clock.", "talk", "greeter")
    assert set(done) == {
        "conversation_id", "message_id", "text", "agent", "model", "tool_calls", "usage", "manifest_id", "notice"
    }  # fmt: skip
    kept = api.get(f"/v1/memory/contexts/{done['manifest_id']}").json()
    assert kept["messages"] == scripted.requests[-1]["messages"]
    log = api.get("/v1/assistant/tool-calls?tool=search_memory").json()
    (row,) = log["data"]
    assert (row["status"], row["error"], row["attempt"], row["conversation_id"]) == ("ok", None, 1, "talk")
    assert 0 < row["duration_ms"] < took_ms
    assert (log["first_id"], log["has_more"]) == (row["id"], False)
    assert api.get("/v1/assistant/tool-calls?status=failed").json()["data"] == []
    assert api.get("/v1/assistant/tool-calls?user=somebody").json()["data"] == []


def test_an_error_is_an_event_and_the_message_is_kept(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [Scripted(status=401)]
    ((name, data),) = stream(api, "Hello?")
    assert (name, data["error"]["code"]) == ("error", "model_key_refused")
    rows = api.get("/v1/memory/conversations/talk/messages").json()["data"]
    assert [row["content"] for row in rows] == ["Hello?"]


def test_a_listener_that_leaves_does_not_stop_the_turn(api: Api, scripted: ScriptedModel) -> None:
    scripted.script = [Scripted(text="A long reply that nobody hears.")]
    body = {"message": "Hello?", "stream": True}
    path = "/v1/assistant/conversations/talk/messages"
    with api.service.http.stream("POST", path, json=body, headers=api.headers):
        pass
    contents: list[str] = []
    for _ in range(500):
        rows = api.get("/v1/memory/conversations/talk/messages").json().get("data", [])
        contents = [row["content"] for row in rows]
        if len(contents) == 2:
            break
    assert contents == ["A long reply that nobody hears.", "Hello?"]


def test_an_old_assistants_id_names_its_agent(api: Api) -> None:
    answer = api.post("/v1/assistant/conversations/talk/messages", {"message": "Hi", "agent": "asst_old"})
    assert answer.json()["agent"] == "pm"
    answer = api.post("/v1/assistant/conversations/talk/messages", {"message": "Hi", "agent": "asst_unknown"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "agent_not_found")


def test_a_conversation_of_an_agent_that_is_none_here_goes_on_with_the_greeter(api: Api) -> None:
    api.remember("talk", {"role": "user", "content": "Hello from elsewhere."}, agent="sales")
    prompt = api.post("/v1/memory/context", {"conversation_id": "talk", "message": "Hi"}).json()
    assert prompt["manifest"]["agent"] == "greeter"
    assert api.post("/v1/assistant/conversations/talk/messages", {"message": "Hi"}).json()["agent"] == "greeter"


#: Of about 400 tokens: with the tools it does not fit a prompt of 1,000, and without them it would.
FERRY = "The ferry leaves at nine. " + "It leaves from the old pier, where the ticket office opens an hour early. " * 24
#: What is said, in a conversation whose last agent was so and so, as which agent, and who answers.
CHOSEN: list[tuple[str, str | None, dict[str, str], str]] = [
    ("When does the ferry leave?", None, {}, "greeter"),
    ("@spec When does the ferry leave?", None, {}, "spec"),
    ("Let me talk to the pm: when does the ferry leave?", None, {}, "pm"),
    ("When does the ferry leave?", "pm", {}, "pm"),
    ("When does the ferry leave?", "sales", {}, "greeter"),
    ("@spec When does the ferry leave?", "pm", {}, "spec"),
    ("@spec When does the ferry leave?", None, {"agent": "pm"}, "pm"),
    ("@spec When does the ferry leave?", None, {"agent": "asst_old"}, "pm"),
]


@pytest.mark.parametrize(("said", "last", "named", "agent"), CHOSEN)
@pytest.mark.parametrize("budget", [{}, {"token_budget": 1000}])
def test_context_is_the_prompt_that_a_turn_sends(
    api: Api, scripted: ScriptedModel, said: str, last: str | None, named: dict[str, str], agent: str, budget: Any
) -> None:
    api.remember("before", {"role": "user", "content": FERRY})
    if last is not None:
        api.remember("talk", {"role": "user", "content": "Hello."}, agent=last)
    asked = {"conversation_id": "talk", "message": said, **named, **budget}
    prompt = api.post("/v1/memory/context", asked).json()
    path = "/v1/assistant/conversations/talk/messages"
    reply = api.post(path, {"message": said, **named, **budget}).json()
    sent = scripted.requests[-1]
    assert (prompt["manifest"]["agent"], reply["agent"]) == (agent, agent)
    assert prompt["messages"] == sent["messages"]
    assert prompt["manifest"]["tools"] == [tool["function"]["name"] for tool in sent["tools"]]
    kept = api.get(f"/v1/memory/contexts/{reply['manifest_id']}").json()
    shared = ("tokens", "token_budget", "tools", "counter", "agent", "model", "block")
    assert {name: prompt["manifest"][name] for name in shared} == {name: kept["manifest"][name] for name in shared}
    assert prompt["tokens"] == kept["tokens"] <= prompt["manifest"]["token_budget"]
    assert (FERRY in str(sent["messages"])) != bool(budget)


def test_context_without_an_agent_is_memory_and_message_alone(api: Api, scripted: ScriptedModel) -> None:
    api.remember("before", {"role": "user", "content": "The ferry leaves at nine."})
    asked = {"conversation_id": "talk", "message": "@spec When does the ferry leave?", "agent": None}
    prompt = api.post("/v1/memory/context", asked).json()
    assert (prompt["manifest"]["agent"], prompt["manifest"]["tools"]) == (None, [])
    assert "system" not in {message["role"] for message in prompt["messages"]}
    assert "The ferry leaves at nine." in str(prompt["messages"])
    refused = api.post("/v1/memory/context", {**asked, "agent": "sales"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "agent_not_found")
    assert scripted.requests == []


def test_agents_with_the_versions_that_were_used(api: Api) -> None:
    api.post("/v1/assistant/conversations/talk/messages", {"message": "Hi", "agent": "spec"})
    found = api.get("/v1/assistant/agents").json()
    agents = {row["name"]: row for row in found["data"]}
    assert set(agents) == {"greeter", "pm", "spec"}
    assert agents["spec"]["versions"][0]["version"] == agents["spec"]["version"]
    assert agents["spec"]["versions"][0]["prompt"].startswith("You are the spec agent")
    assert "search_memory" in agents["greeter"]["tools"]


def test_cost_against_the_whole_history(api: Api, scripted: ScriptedModel) -> None:
    for _ in range(3):
        api.post("/v1/assistant/conversations/talk/messages", {"message": "Say it again, please."})
    (row,) = api.get("/v1/assistant/cost?by=conversation").json()["data"]
    assert (row["conversation"], row["calls"], row["prompt_tokens"]) == ("talk", 3, 21)
    assert row["cost"] == pytest.approx(3 * 22e-6)
    assert row["whole_history_tokens"] > 20
    (day,) = api.get("/v1/assistant/cost").json()["data"]
    assert len(day["day"]) == 10
    assert api.get("/v1/assistant/cost?from=2100-01-01").json()["data"] == []
    assert api.get("/v1/assistant/cost?by=mood").json()["error"]["param"] == "by"
    assert api.get("/v1/assistant/cost?from=nonsense").status_code == 400
