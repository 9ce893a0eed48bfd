"""An application written with the old helper names alone goes on with another import."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import assistants_service
from assistant.assistants_service import (
    DEFAULT_MODEL,
    FALLBACK_MODEL,
    add_user_message,
    get_or_create_thread,
    run_with_assistant,
)
from assistant.errors import AgentNotFound, ModelRefusedKey
from memory_engine.errors import ConversationNotFound, InvalidInput
from tests.fakes import Scripted, ScriptedModel
from tests.running_service import clean_environment

#: The application, but for the line that imports the helpers; it was written for the service that was switched off.
APPLICATION = """
def answer(conversation_id, text):
    thread_id = get_or_create_thread(conversation_id)
    add_user_message(thread_id, text)
    return run_with_assistant(thread_id, "asst_abc123", instructions="Be brief.")

def streamed(conversation_id, text):
    thread_id = get_or_create_thread(conversation_id)
    add_user_message(thread_id, text)
    return "|".join(run_with_assistant(thread_id, "asst_abc123", model=FALLBACK_MODEL, stream=True))

print(get_or_create_thread("order-7") == get_or_create_thread("order-7"))
print(answer("order-7", "My parcel is lost."))
print(streamed("order-7", "Since Monday."))
print(DEFAULT_MODEL, FALLBACK_MODEL)
"""


@pytest.fixture
def service(model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("MEMORY_ENGINE_ASSISTANT_IDS", '{"asst_abc123": "pm"}')
    yield model
    assistants_service.close()


def test_the_application_runs_unchanged_but_for_its_import(model: ScriptedModel, tmp_path: Path) -> None:
    imports = "from assistant.assistants_service import *  # was: from assistants_service import *\n"
    (tmp_path / "application.py").write_text(imports + APPLICATION)
    model.script = [Scripted(text="I look into it."), Scripted(text="On its way.")]
    settings = {
        "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "x", "MEMORY_ENGINE_ASSISTANT_IDS": '{"asst_abc123": "pm"}'
    }  # fmt: skip
    for run in range(2):
        if run:
            model.script = [Scripted(text="I look into it."), Scripted(text="On its way.")]
        done = subprocess.run(
            [sys.executable, "application.py"],
            cwd=tmp_path, env=clean_environment(**settings), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        assert done.stdout.splitlines() == ["True", "I look into it.", "On |its |way.", "gpt-6.1-terra gpt-6-luna"]
    first, second = model.requests[:2]
    assert first["messages"][0]["content"].startswith("You are the pm agent")
    assert first["messages"][0]["content"].endswith("Be brief.")
    assert second["model"] == "gpt-6-luna"
    assert [message["content"] for message in second["messages"] if message["role"] != "system"] == [
        "My parcel is lost.", "I look into it.", "Since Monday."
    ]  # fmt: skip
    assert len(str(model.requests[3]["messages"])) > len(str(second["messages"])), "the second run remembers the first"


def test_threads_are_stable_and_of_one_conversation(service: ScriptedModel) -> None:
    thread = get_or_create_thread("c")
    assert thread.startswith("thread_")
    assert get_or_create_thread("c") == thread
    assert get_or_create_thread("d") != thread
    assert add_user_message(thread, "Hi").startswith("msg_")
    assert run_with_assistant(thread, "greeter") == "ok"
    assert (DEFAULT_MODEL, FALLBACK_MODEL) == ("gpt-6.1-terra", "gpt-6-luna")


def test_what_is_wrong_is_told(service: ScriptedModel) -> None:
    thread = get_or_create_thread("c")
    with pytest.raises(InvalidInput, match="Nothing was said"):
        run_with_assistant(thread, "greeter")
    add_user_message(thread, "Hi")
    with pytest.raises(AgentNotFound):
        run_with_assistant(thread, "asst_unknown")
    with pytest.raises(ConversationNotFound, match="no thread"):
        add_user_message("thread_none", "Hi")
    service.script = [Scripted(status=401)]
    with pytest.raises(ModelRefusedKey):
        list(run_with_assistant(thread, "greeter", stream=True))


def test_a_summary_model_writes_the_summaries(service: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_ENGINE_SUMMARY_MODEL", "small-one")
    thread = get_or_create_thread("c")
    for number in range(20):
        add_user_message(thread, f"Nadia rehearses the move number {number} on 14 September.")
    engine = assistants_service._opened().memory_engine
    end = time.monotonic() + 60
    while not service.requests and time.monotonic() < end:
        engine.consolidate()
    assert {request["model"] for request in service.requests} == {"small-one"}


def test_tools_can_be_narrowed(service: ScriptedModel) -> None:
    thread = get_or_create_thread("c")
    add_user_message(thread, "Hi")
    run_with_assistant(thread, "greeter", tools=[{"type": "function", "function": {"name": "search_memory"}}])
    run_with_assistant(thread, "greeter", tools=[])
    offered = [[tool["function"]["name"] for tool in request.get("tools", [])] for request in service.requests]
    assert offered == [["search_memory"], []]
    with pytest.raises(InvalidInput, match="A tool is"):
        run_with_assistant(thread, "greeter", tools=[{"name": "x"}])
