"""Spend caps, the cost account, aliases, refused parameters and switch-off dates, with a scripted model server."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes import Scripted, ScriptedModel
from tests.http.conftest import Api
from tests.running_service import RunningService

HELLO = {"role": "user", "content": "When does the ferry leave?"}
SAY = "/v1/assistant/conversations/talk/messages"
COOK = '+++\nmodel = "warm"\ntemperature = 0.3\n+++\nCook.'
Serve = Callable[..., Api]


@pytest.fixture
def serve(model: ScriptedModel, tmp_path: Path) -> Iterator[Serve]:
    """Start the service in front of the scripted model, with these settings."""
    running: list[RunningService] = []

    def start(**settings: str) -> Api:
        given = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "x", **settings}
        running.append(RunningService(tmp_path / "data", **given))
        return Api(running[-1])

    yield start
    for each in running:
        each.stop()


def ask(api: Api, conversation: str | None = None, **fields: Any) -> httpx2.Response:
    headers = {**api.headers, **({} if conversation is None else {"x-conversation-id": conversation})}
    body = {"model": "gpt-6.1-terra", "messages": [HELLO], **fields}
    return api.service.http.post("/v1/chat/completions", json=body, headers=headers)


def say(api: Api, **fields: Any) -> httpx2.Response:
    return api.post(SAY, {"message": HELLO["content"], **fields})


def refused(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def account(api: Api, by: str) -> dict[str, tuple[int, float | None]]:
    rows = api.get(f"/v1/assistant/cost?by={by}").json()["data"]
    return {row[by]: (row["calls"], row["cost"]) for row in rows}


def models(model: ScriptedModel) -> list[str]:
    return [request["model"] for request in model.requests]


@pytest.mark.parametrize("cap", ["TURN", "DAY", "USER_DAY"])
def test_a_call_over_a_cap_is_refused_before_the_server_is_asked(serve: Serve, model: ScriptedModel, cap: str) -> None:
    api = serve(**{f"MEMORY_ENGINE_CAP_{cap}": "0.000001"})
    for conversation in (None, "talk"):
        for stream in (False, True):
            answer = ask(api, conversation, stream=stream)
            assert refused(answer) == (429, "spend_cap_reached")
            assert answer.headers["retry-after"]
    turn = say(api)
    assert refused(turn) == (429, "spend_cap_reached")
    assert "is kept as msg_" in turn.json()["error"]["message"]
    assert json.loads(say(api, stream=True).text.partition("data: ")[2])["error"]["code"] == "spend_cap_reached"
    assert model.requests == []
    assert account(api, "agent") == {}


def test_what_the_proxy_spent_counts_for_turns_and_for_the_proxy(serve: Serve, model: ScriptedModel) -> None:
    api = serve(MEMORY_ENGINE_CAP_DAY="0.01", MEMORY_ENGINE_CAP_USER_DAY="0.005")
    # 5,020 millionths of a dollar each.
    model.script = [Scripted(usage={"prompt_tokens": 20, "completion_tokens": 1000}) for _ in range(2)]
    assert ask(api, user="ann").status_code == 200
    assert refused(ask(api, user="ann")) == (429, "spend_cap_reached")
    assert ask(api, "shop", user="ben", stream=True).status_code == 200
    assert refused(ask(api, user="cy")) == (429, "spend_cap_reached")
    assert refused(say(api, user="cy")) == (429, "spend_cap_reached")
    assert len(model.requests) == 2


@pytest.mark.parametrize("cap", ["TURN", "DAY", "USER_DAY"])
def test_with_a_cap_a_model_without_a_price_is_refused(serve: Serve, model: ScriptedModel, cap: str) -> None:
    """Finding 5 of the security review: it was answered, and its cost was null and never counted."""
    api = serve(**{f"MEMORY_ENGINE_CAP_{cap}": "1"})
    for answer in (
        ask(api, model="gpt-5-pro"), ask(api, "talk", model="gpt-5-pro", stream=True), ask(api, model=None),
        say(api, model="gpt-5-pro"),
    ):  # fmt: skip
        assert refused(answer) == (400, "price_unknown")
        assert answer.json()["error"]["param"] == "model"
    assert model.requests == []
    assert ask(api).status_code == 200
    assert say(api).status_code == 200
    assert account(api, "agent") == {"proxy": (1, 22e-6), "greeter": (1, 22e-6)}


def test_with_a_cap_a_fallback_without_a_price_is_not_asked(serve: Serve, model: ScriptedModel) -> None:
    api = serve(MEMORY_ENGINE_CAP_DAY="1", FALLBACK_MODEL="dear")
    assert api.service.line() == "memory-engine: The model dear has no price and is refused.\n"
    model.script = [Scripted(status=503, text="away"), *[Scripted(status=404)]]
    answer = ask(api)
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "away")
    assert refused(say(api)) == (400, "price_unknown")
    assert "dear" not in models(model)


def test_without_a_cap_every_model_is_asked(serve: Serve, model: ScriptedModel) -> None:
    api = serve()
    assert (ask(api, model="dear").status_code, say(api, model="dear").status_code) == (200, 200)
    assert account(api, "model") == {"dear": (2, None)}


@pytest.mark.parametrize(("unpriced", "cost"), [("free", None), ("gpt-6.1-sol", 2 * (7 * 2 + 3 * 10) * 1e-6)])
def test_a_model_without_a_price_is_free_or_costs_what_another_does(
    serve: Serve, model: ScriptedModel, unpriced: str, cost: float | None
) -> None:
    api = serve(MEMORY_ENGINE_CAP_DAY="0.001", MEMORY_ENGINE_CAP_TURN="1", MEMORY_ENGINE_UNPRICED=unpriced)
    api.headers["x-namespace"] = "free"
    assert ask(api, model="dear").status_code == 200
    assert ask(api, model="dear").status_code == 200
    assert account(api, "model") == {"dear": (2, pytest.approx(cost) if cost else None)}
    model.script = [Scripted(usage={"prompt_tokens": 7, "completion_tokens": 1_000})]
    assert ask(api, model="gpt-6.1-terra").status_code == 200
    assert ask(api, model="dear").status_code == (200 if unpriced == "free" else 429)


def test_the_account_of_a_day_is_the_sum_by_hand(serve: Serve, model: ScriptedModel) -> None:
    api = serve(MEMORY_ENGINE_CAP_DAY="10")
    cached = {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 900}}
    terra, luna = (1.0, 0.05, 5.0), (0.10, 0.01, 0.50)

    def dollars(price: tuple[float, float, float], prompt: int, cached: int, completion: int) -> float:
        return round(price[0] * (prompt - cached) + price[1] * cached + price[2] * completion) / 1_000_000

    # The proxy: whole, streamed, cached, by the fallback.
    model.script = [
        Scripted(), Scripted(), Scripted(usage=cached), Scripted(usage=cached),
        Scripted(status=503), Scripted(usage=cached),
    ]  # fmt: skip
    proxied = [ask(api), ask(api, "p", stream=True), ask(api), ask(api, "p", stream=True), ask(api)]
    assert [answer.status_code for answer in proxied] == [200] * 5
    by_terra = 2 * dollars(terra, 7, 0, 3) + 2 * dollars(terra, 1000, 900, 50)
    by_luna = dollars(luna, 1000, 900, 50)
    assert account(api, "model") == {
        "gpt-6.1-terra": (4, pytest.approx(by_terra)), "gpt-6-luna": (1, pytest.approx(by_luna))
    }  # fmt: skip
    # Turns: with a cached prompt, a failed attempt before it, and one by the fallback.
    model.script = [
        Scripted(status=500), Scripted(usage=cached), Scripted(status=404), Scripted(usage=cached)
    ]  # fmt: skip
    assert [say(api).json()["model"], say(api).json()["model"]] == ["gpt-6.1-terra", "gpt-6-luna"]
    turns = dollars(terra, 1000, 900, 50) + dollars(luna, 1000, 900, 50)
    assert account(api, "agent") == {
        "proxy": (5, pytest.approx(by_terra + by_luna)), "greeter": (4, pytest.approx(turns))
    }  # fmt: skip
    (day,) = api.get("/v1/assistant/cost?by=day").json()["data"]
    assert (day["calls"], day["failed"], day["estimated"]) == (9, 2, 0)
    assert day["cost"] == pytest.approx(by_terra + by_luna + turns)


def test_what_a_server_does_not_report_is_estimated_and_counted(serve: Serve, model: ScriptedModel) -> None:
    api = serve(MEMORY_ENGINE_CAP_DAY="1")
    chunk = {"choices": [{"index": 0, "delta": {"content": "At nine o'clock."}, "finish_reason": "stop"}]}
    stream = [f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()]
    broken = {"choices": [{"index": 0, "delta": {"content": "At ni"}}]}
    whole = {"choices": [{"message": {"role": "assistant", "content": "At nine o'clock."}}]}
    negative = {**whole, "usage": {"prompt_tokens": -5, "completion_tokens": -5}}
    model.script = [
        Scripted(chunks=stream), Scripted(raw=json.dumps(negative).encode()), Scripted(raw=b"unreadable"),
        Scripted(chunks=stream), Scripted(chunks=[f"data: {json.dumps(broken)}\n\n".encode()]),
        Scripted(raw=json.dumps(whole).encode()),
    ]  # fmt: skip
    assert [ask(api, stream=True).status_code, ask(api).status_code, ask(api).status_code] == [200] * 3
    assert json.loads(say(api, stream=True).text.rpartition("data: ")[2])["usage"] is None
    assert "model_broke_off" in say(api, stream=True).text
    assert say(api).json()["usage"] is None, "only the server's own count is passed on"
    rows = {row["agent"]: row for row in api.get("/v1/assistant/cost?by=agent").json()["data"]}
    assert {name: (row["calls"], row["estimated"]) for name, row in rows.items()} == {
        "proxy": (3, 3), "greeter": (3, 3)
    }  # fmt: skip
    for row in rows.values():
        assert row["cost"] == pytest.approx(row["prompt_tokens"] * 1e-6 + row["completion_tokens"] * 5e-6)
        assert row["prompt_tokens"] > 30
        assert row["completion_tokens"] > 6


def test_media_in_a_request_are_not_counted_as_text(serve: Serve, model: ScriptedModel) -> None:
    api = serve(MEMORY_ENGINE_CAP_DAY="0.001")  # a thousand tokens
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 20_000}}
    audio = {"type": "input_audio", "input_audio": {"data": "QUJD" * 20_000, "format": "wav"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image, audio]}]
    assert ask(api, messages=asked).status_code == 200
    long = [{"role": "user", "content": "data:,What is this? " * 1000}]
    assert refused(ask(api, messages=long)) == (429, "spend_cap_reached")


def test_an_alias_is_used_only_for_a_name_that_the_server_does_not_list(serve: Serve, model: ScriptedModel) -> None:
    model.listed = [{"id": "mine"}, {"id": "gpt-4"}, {"id": "gpt-6.1-terra"}]
    api = serve(MODEL_ALIASES='{"mine": "other", "gone": "other"}')
    for name in ("mine", "gone", "gpt-4", "gpt-4-turbo", "unknown"):
        assert ask(api, model=name).status_code == 200
        assert say(api, model=name).status_code == 200
    called = ["mine", "other", "gpt-4", "gpt-5.6-sol", "unknown"]
    assert models(model) == [name for name in called for _ in range(2)]
    assert model.lists_asked == 1


def test_without_a_list_a_replacement_waits_until_the_name_is_refused(serve: Serve, model: ScriptedModel) -> None:
    api = serve(MODEL_ALIASES='{"mine": "other"}')
    assert ask(api, model="mine").status_code == 200
    assert ask(api, model="gpt-4").status_code == 200
    assert say(api, model="gpt-4").json()["model"] == "gpt-4"
    assert models(model) == ["other", "gpt-4", "gpt-4"]
    model.requests.clear()
    model.script = [Scripted(status=404), Scripted(), Scripted(status=404), Scripted()]
    assert ask(api, model="gpt-4").status_code == 200
    assert say(api, model="gpt-4").json()["model"] == "gpt-5.6-sol"
    assert models(model) == ["gpt-4", "gpt-5.6-sol"] * 2
    model.requests.clear()
    model.script = [Scripted(status=404)] * 3
    answer = ask(api, model="gpt-4")
    assert answer.status_code == 404
    assert models(model) == ["gpt-4", "gpt-5.6-sol", "gpt-6-luna"]


def test_which_parameters_a_model_refuses_is_learned_from_its_errors(
    serve: Serve, model: ScriptedModel, tmp_path: Path
) -> None:
    (tmp_path / "cook.md").write_text(COOK)
    api = serve(MEMORY_ENGINE_AGENTS_DIR=str(tmp_path))
    told = Scripted(status=400, code="unsupported_value", param="temperature", text="Only the default is supported.")
    model.script = [told]
    for _ in range(2):
        assert say(api, agent="cook").status_code == 200
    assert [request.get("temperature") for request in model.requests] == [0.3, None, None]
    assert say(api, agent="cook", model="gpt-5-other").status_code == 200
    assert model.requests[-1]["temperature"] == 0.3, "nothing is guessed from a name, nor of another model"
    model.requests.clear()
    model.script = [Scripted(status=400, code="unsupported_parameter", param="stream_options")]
    assert '"text":"ok"' in say(api, agent="cook", stream=True).text.replace(": ", ":")
    assert ["stream_options" in request for request in model.requests] == [True, False]
    # What cannot be left out, and what another code says, is an error.
    for param, code in (("messages", "unsupported_value"), ("temperature", "invalid_value")):
        model.script = [Scripted(status=400, code=code, param=param)]
        assert refused(say(api, agent="cook", model="fresh")) == (502, "model_rejected")


def test_the_proxy_leaves_the_parameters_of_a_client_alone(serve: Serve, model: ScriptedModel) -> None:
    api = serve()
    told = Scripted(status=400, code="unsupported_value", param="temperature", text="Only the default is supported.")
    model.script = [told, told]
    for _ in range(2):
        answer = ask(api, temperature=0.3)
        assert refused(answer) == (400, "unsupported_value")
    assert [request["temperature"] for request in model.requests] == [0.3, 0.3]


def of_days(**days: int) -> str:
    """A file of models, each switched off so many days from now."""
    today = datetime.now(UTC).date()
    entries = [
        f'[models.{name}]\nshutdown = {today + timedelta(days=count)}\nreplacement = "new"'
        for name, count in days.items()
    ]
    return "\n".join(entries)


@pytest.mark.parametrize(("days", "status", "reported"), [(-3, "degraded", True), (3, "ok", True), (60, "ok", False)])
def test_a_switch_off_date_is_reported_at_start_and_in_ready(
    serve: Serve, tmp_path: Path, days: int, status: str, reported: bool
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(of_days(old=days))
    api = serve(MEMORY_ENGINE_MODELS_FILE=str(file), DEFAULT_MODEL="old", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    answer = api.get("/ready")
    part = answer.json()["parts"]["model"]
    assert (answer.status_code, answer.json()["status"], part["status"]) == (200, status, status)
    day = str(datetime.now(UTC).date() + timedelta(days=days))
    expected = {"model": "old", "date": day, "is_past": days < 0, "replacement": "new"}
    assert part["switch_offs"] == ([expected] if reported else [])
    assert ("old (DEFAULT_MODEL)" in part["detail"]) == reported
    if reported:
        line = api.service.line()
        assert line.startswith("memory-engine: The model old (DEFAULT_MODEL) ")
        assert day in line


def test_the_switch_off_date_of_the_server_is_reported(serve: Serve, model: ScriptedModel) -> None:
    day = str(datetime.now(UTC).date() + timedelta(days=5))
    model.listed = [{"id": "gpt-6-luna", "shutdown_date": day}, {"id": "gpt-6.1-terra", "shutdown_date": None}]
    api = serve()
    end = datetime.now(UTC) + timedelta(seconds=20)
    rows: list[dict[str, Any]] = []
    while not rows and datetime.now(UTC) < end:
        rows = api.get("/ready").json()["parts"]["model"]["switch_offs"]
    assert rows == [{"model": "gpt-6-luna", "date": day, "is_past": False, "replacement": None}]
    assert model.lists_asked == 1, "the list is asked once in a while"
