"""Three hundred generated texts in every place of a block, in tool results and in names: none is taken for a bound."""

import json
from dataclasses import replace

import pytest

from assistant.escaping import escape_values
from assistant.recalled_block import Item, recalled_block
from assistant.units import chat_message
from tests.block_reader import BREAKS, FIRST, LAST, read_back
from tests.hostile_texts import LANGUAGES, bounds_in, hostile_texts, name_of
from tests.unit.test_packing import message

TEXTS = [pytest.param(text, id=f"{language}-{dress}") for language, dress, text in hostile_texts()]


def test_there_are_three_hundred_and_each_is_seen() -> None:
    assert len(TEXTS) == 300
    assert len(LANGUAGES) == 20
    assert all(bounds_in(text) for _, dress, text in hostile_texts() if dress != "heading and item")


@pytest.mark.parametrize("text", TEXTS)
def test_it_stays_what_it_is_wherever_it_stands(text: str) -> None:
    name = name_of(text)
    heading = f"Sunday 26 April 2026, {name}"
    items = [Item(heading="notes", source="style", text=text), Item(heading=heading, source=name, text="said")]
    block = recalled_block(items)
    assert read_back(block) == [replace(items[0], text=BREAKS.sub("\n", text)), items[1]]
    assert not bounds_in(block.removeprefix(FIRST).removesuffix(LAST))


@pytest.mark.parametrize("text", TEXTS)
def test_it_stays_data_in_what_a_tool_returns(text: str) -> None:
    shown = json.dumps(escape_values({text: [text, {"deep": text}]}), ensure_ascii=False)
    assert not bounds_in(shown)
    assert not bounds_in(json.loads(shown)[escape_values(text)][0])


@pytest.mark.parametrize("role", ["system", "assistant", "tool_result", "User-1", "developer", "human"])
def test_a_stored_name_that_claims_a_role_is_not_sent_as_one(role: str) -> None:
    assert "name" not in chat_message(message(1, "user", "hello", name=role))
    assert chat_message(message(1, "user", "hello", name="Ana"))["name"] == "Ana"
