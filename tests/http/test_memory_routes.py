"""The memory routes as specs/memory-api describes them."""

import json
from datetime import UTC, datetime

import pytest

from tests.http.conftest import Api, user


def test_messages_are_kept_in_order_with_their_times(api: Api) -> None:
    ids = api.remember(
        "trip",
        user("First by ISO.", created_at="2024-03-05T10:00:00.123456+02:00", name="Ana"),
        {"role": "assistant", "content": "Then by Unix.", "created_at": 1709632800.5, "metadata": {"mood": "calm"}},
        user("And one now."),
        agent="pm",
    )
    rows = api.get("/v1/memory/conversations/trip/messages?order=asc").json()["data"]
    assert [row["message_id"] for row in rows] == ids
    assert [row["role"] for row in rows] == ["user", "assistant", "user"]
    assert rows[0]["created_at"] == "2024-03-05T08:00:00.123456Z"
    assert rows[1]["created_at"] == "2024-03-05T10:00:00.500000Z"
    assert rows[0]["name"] == "Ana"
    assert rows[1]["metadata"] == {"mood": "calm"}
    assert {row["agent"] for row in rows} == {"pm"}
    assert abs((datetime.fromisoformat(rows[2]["created_at"]) - datetime.now(UTC)).total_seconds()) < 60


def test_content_parts_and_tool_calls_come_back_as_they_were(api: Api) -> None:
    parts = [
        {"type": "text", "text": "Look at this boat"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    calls = [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]
    api.remember(
        "c",
        user(parts),
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "It is sunny."},
    )
    rows = api.get("/v1/memory/conversations/c/messages?order=asc").json()["data"]
    assert rows[0]["content"] == parts
    assert rows[1]["tool_calls"] == calls
    assert rows[2]["tool_call_id"] == "call_1"
    assert api.recall("boat")[0]["text"] == "Look at this boat"


def test_the_same_id_and_content_stand_once(api: Api) -> None:
    first = api.remember("c", user("once only", id="mine"), user("and this", id="mine-2"))
    again = api.remember("c", user("once only", id="mine"), user("and this", id="mine-2"), user("new"))
    assert again[:2] == first == ["mine", "mine-2"]
    assert api.get("/v1/memory/stats").json()["messages"] == 3


def test_recall_filters(api: Api) -> None:
    api.remember("a", user("the blue boat sails", created_at="2024-01-01T00:00:00Z", metadata={"tag": "x"}), agent="pm")
    api.remember("b", {"role": "assistant", "content": "the red boat sails", "created_at": "2024-02-01T00:00:00Z"})
    api.remember("c", user("the green boat sails", created_at="2024-03-01T00:00:00Z"), agent="spec")

    def found(**fields: object) -> set[str]:
        return {hit["conversation_id"] for hit in api.recall("boat sails", **fields)}

    assert found() == {"a", "b", "c"}
    assert found(conversation_id="b") == {"b"}
    assert found(exclude_conversation_ids=["a", "b"]) == {"c"}
    assert found(after="2024-02-01T00:00:00Z") == {"b", "c"}
    assert found(before="2024-02-01T00:00:00Z") == {"a"}
    assert found(as_of="2024-02-01T00:00:00Z") == {"a", "b"}
    assert found(after=1706745600, before=1709251200) == {"b"}
    assert found(roles=["assistant"]) == {"b"}
    assert found(agent="spec") == {"c"}
    assert found(metadata={"tag": "x"}) == {"a"}
    assert found(metadata={"tag": "y"}) == set()
    assert found(min_score=0.999) == set()
    assert len(api.recall("boat sails", k=1)) == 1
    assert len(api.recall("boat sails", token_budget=7)) == 1


def test_hits_say_why_and_explain_counts(api: Api) -> None:
    api.remember("c", user("Our cat Pixel hates thunder.", name="Ana"), user("Nothing to see."))
    answer = api.post("/v1/memory/recall", {"query": "What does Ana's cat hate?", "explain": True}).json()
    hit = answer["hits"][0]
    assert set(hit["why"]["words"]) == {"ana", "cat", "hate"}
    parts = sum(value for name, value in hit["why"].items() if name not in ("words", "similar_words", "relevance"))
    assert hit["why"]["relevance"] == pytest.approx(parts, abs=0.001)
    assert answer["funnel"] == {
        "messages": 2,
        "passed_filters": 2,
        "above_floor": len(answer["hits"]),
        "returned": len(answer["hits"]),
    }
    assert [h["score"] for h in answer["hits"]] == sorted((h["score"] for h in answer["hits"]), reverse=True)
    assert hit["stratum"] == "messages"
    assert answer["support"] == []
    assert answer["took_ms"] > 0


@pytest.mark.parametrize("query", ["qwxyzzy", "the of and", "🎈🎈🎈", '" OR 1=1 NEAR( *', "ⵜⴰⵎⴰⵣⵉⵖⵜ", "x" * 100_000])
def test_odd_queries_get_a_sensible_answer(api: Api, query: str) -> None:
    api.remember("c", user("Our cat Pixel hates thunder."))
    assert api.recall(query) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_give_every_row_once(api: Api, order: str) -> None:
    for number in range(7):
        api.remember(f"c{number}", *[user(f"message {n} of {number}") for n in range(5)])
    for path, field in (
        ("/v1/memory/conversations", "conversation_id"),
        ("/v1/memory/conversations/c3/messages", "message_id"),
    ):
        whole = api.get(f"{path}?limit=100&order={order}").json()
        seen, after = [], ""
        while True:
            page = api.get(f"{path}?limit=3&order={order}{after}").json()
            assert page["object"] == "list"
            assert (page["first_id"], page["last_id"]) == (page["data"][0][field], page["data"][-1][field])
            seen += page["data"]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert seen == whole["data"]
        assert not whole["has_more"]
    first = api.get(f"/v1/memory/conversations?order={order}").json()["data"][0]["conversation_id"]
    assert first == ("c0" if order == "asc" else "c6")


def test_conversations_can_be_searched(api: Api) -> None:
    api.remember("budget-talk", user("We spend nine hundred."), agent="pm")
    api.remember("other", user("The budget is tight."), agent="spec")
    api.remember("third", user("Nothing here."))

    def found(query: str) -> set[str]:
        return {row["conversation_id"] for row in api.get(f"/v1/memory/conversations?{query}").json()["data"]}

    assert found("q=budget") == {"budget-talk", "other"}
    assert found("q=zebra") == set()
    assert found("agent=pm") == {"budget-talk"}
    one = api.get("/v1/memory/conversations/budget-talk").json()
    assert (one["messages"], one["agent"]) == (1, "pm")


def test_namespaces_and_users_share_nothing(api: Api) -> None:
    api.remember("same", user("the password is swordfish", id="same-id"))
    other = Api(api.service)
    other.remember("same", user("the password is marlin", id="same-id"))
    api.remember("hers", user("the password is trout"), user="ana")
    assert [hit["text"] for hit in api.recall("password")] == ["the password is swordfish"]
    assert [hit["text"] for hit in other.recall("password")] == ["the password is marlin"]
    assert [hit["text"] for hit in api.recall("password", user="ana")] == ["the password is trout"]


def test_a_context_is_kept_byte_for_byte(api: Api) -> None:
    api.remember("c", user('Élodie said "1 < 2" — 日本語 \\ / \u2028 😀'), user("Élodie likes figs."))
    made = api.post(
        "/v1/memory/context", {"conversation_id": "new", "message": "What does Élodie like?", "agent": None}
    )
    kept = api.get(f"/v1/memory/contexts/{made.json()['manifest_id']}")
    assert kept.json()["messages"] == made.json()["messages"]
    assert kept.json()["manifest"] == made.json()["manifest"]
    assert kept.content == api.get(f"/v1/memory/contexts/{made.json()['manifest_id']}").content
    compact = json.dumps(made.json()["messages"], ensure_ascii=False, separators=(",", ":")).encode()
    assert compact in kept.content
    assert compact in made.content
    assert Api(api.service).get(f"/v1/memory/contexts/{made.json()['manifest_id']}").status_code == 404


def test_a_context_holds_the_memory_as_data(api: Api) -> None:
    api.remember("spring", user("The launch moved to 22 September.", name="Orla", created_at="2026-08-26T09:00:00Z"))
    for agent, roles in ((None, ["user"]), ("pm", ["system", "user"])):
        body = {"conversation_id": "new", "message": "When is the launch?", "agent": agent, "token_budget": 900}
        made = api.post("/v1/memory/context", body).json()
        assert [message["role"] for message in made["messages"]] == roles
        block = made["messages"][-1]["content"]
        assert block.startswith("<recalled_memory>")
        assert "26 August 2026" in block
        assert "Orla: The launch moved to 22 September." in block
        assert block.endswith("</recalled_memory>\n\nWhen is the launch?")
        assert made["tokens"] <= 900
        assert made["manifest"]["token_budget"] == 900
        assert {item["kind"] for item in made["manifest"]["items"]} >= {"recalled", "user"}
    assert api.get("/v1/memory/conversations/new").status_code == 404


def test_the_context_of_a_conversation_holds_its_recent_turns_once(api: Api) -> None:
    api.remember("c", user("I am allergic to figs."), {"role": "assistant", "content": "Noted."}, agent="spec")
    made = api.post("/v1/memory/context", {"conversation_id": "c", "message": "Can I eat figs?"}).json()
    text = json.dumps(made["messages"])
    assert text.count("I am allergic to figs.") == 1
    assert made["manifest"]["agent"] == "spec"


def test_health_ready_and_docs(api: Api) -> None:
    assert api.get("/health").json() == {"status": "ok"}
    ready = api.get("/ready").json()
    assert ready["status"] == "ok"
    assert set(ready["parts"]) == {"database", "vectors", "embedder", "model", "outbox"}
    assert "No model" in ready["parts"]["model"]["detail"]
    assert "/v1/memory/recall" in api.get("/openapi.json").json()["paths"]
    assert "https://" not in api.get("/docs").text
    assert api.get("/").headers["content-type"].startswith("text/html")


def test_a_token_of_another_run_is_refused(api: Api) -> None:
    api.headers["authorization"] = "Bearer run_of-another-service"
    assert api.get("/v1/memory/stats").status_code == 401
