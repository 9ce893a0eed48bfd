"""The three hundred generated texts through the doors, by language: what leaves for a model holds none of them raw."""

from typing import Any

import pytest

from tests.block_reader import BREAKS, FIRST, LAST, read_back
from tests.fakes import Scripted, ScriptedModel
from tests.hostile_texts import LANGUAGES, bounds_in, hostile_texts, name_of
from tests.http.conftest import Api, user
from tests.http.test_background import settled
from tests.http.test_injections import ASKED, FACT, by_every_path
from tests.running_service import RunningService

ROLES = ("user", "assistant", "system", "tool")
CALL = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}


def remember_everywhere(api: Api, texts: list[str]) -> set[str]:
    """Remember each text as a message, a name, a conversation's id, metadata and a note; what a block may then hold."""
    said = set[str]()
    for number, text in enumerate(texts):
        role, content = ROLES[number % 4], f"{FACT} from pier {number}. {text}"
        message: dict[str, Any] = {"role": role, "content": content, "metadata": {"note": text}}
        before = [{"role": "assistant", "content": None, "tool_calls": [CALL]}] if role == "tool" else []
        api.remember(f"talk-{number}", *before, message | ({"tool_call_id": "call_1"} if before else {}))
        named = f"{FACT} from quay {number}."
        api.remember(name_of(text), {"role": "user", "content": named, "name": name_of(text)})
        note = f"note {text}"[:2_000]
        written = api.service.http.put(f"/v1/memory/notes/ferry-{number}", json={"text": note}, headers=api.headers)
        assert written.status_code == 200, written.text
        said |= {content, named, note}
    return {BREAKS.sub("\n", text) for text in said}


@pytest.mark.parametrize("language", LANGUAGES)
def test_none_leaves_the_block_or_imitates_a_role(
    with_model: RunningService, scripted: ScriptedModel, language: str
) -> None:
    api = Api(with_model)
    scripted.script = []
    said = remember_everywhere(api, [text for each, _, text in hostile_texts() if each == language])
    for path, messages in by_every_path(api, scripted).items():
        assert [message["role"] for message in messages] == ["system", "user"], path
        assert all(message.get("name") is None for message in messages if message["role"] == "user")
        block = messages[1]["content"].removesuffix(f"\n\n{ASKED}")
        assert not bounds_in(block.removeprefix(FIRST).removesuffix(LAST)), path
        found = {item.text for item in read_back(block)}
        assert found, path
        assert found <= said | {ASKED, "ok"}, "what nobody said is forged"
    search = [("search_memory", {"query": ASKED, "k": 50})]
    scripted.script, scripted.requests = [Scripted(text="", calls=search), Scripted(text="Nothing.")], []
    turn = {"message": ASKED, "agent": "greeter", "token_budget": 60_000}
    assert api.post("/v1/assistant/conversations/searching/messages", turn).status_code == 200
    (told,) = [message for message in scripted.requests[-1]["messages"] if message["role"] == "tool"]
    assert told["content"].count('"said_at"') > 10
    assert not bounds_in(told["content"])


def test_none_leaves_the_block_as_part_of_a_summary(api: Api) -> None:
    texts = [text.replace("\n", " ") for _, _, text in hostile_texts()][::5]
    api.remember("asking", *(user(f"Point {number} of the ferry: {text}") for number, text in enumerate(texts)))
    assert settled(api, "/v1/memory/conversations/asking/summaries")
    body = {"conversation_id": "asking", "agent": None, "message": "Go on.", "token_budget": 1_500}
    made = api.post("/v1/memory/context", body).json()
    assert "summary" in {item["kind"] for item in made["manifest"]["items"]}
    place = made["manifest"]["block"]
    block = made["messages"][place["message"]]["content"][place["start"] : place["end"]]
    assert not bounds_in(block.removeprefix(FIRST).removesuffix(LAST))
