"""32 writers at once: nothing lost, one order, no lock that is not waited for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from memory_engine import MemoryEngine, Page
from memory_engine.storage.database import Database
from tests.postgres import new_database
from tests.running_service import RunningService

_WRITERS = 32
_EACH = 8


@pytest.mark.parametrize("conversations", [1, _WRITERS])
def test_writers_over_http(service: RunningService, conversations: int) -> None:
    def write(writer: int) -> None:
        with httpx2.Client(base_url=service.address, timeout=60, trust_env=False) as http:
            for number in range(_EACH):
                message = {"role": "user", "content": f"writer{writer} says number{number}"}
                body = {"conversation_id": f"c{writer % conversations}", "messages": [message]}
                answer = http.post("/v1/memory/messages", json=body)
                assert answer.status_code == 201, answer.text

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(write, range(_WRITERS)))
    texts = []
    for name in range(conversations):
        page = service.http.get(f"/v1/memory/conversations/c{name}/messages?order=asc&limit=1000").json()
        again = service.http.get(f"/v1/memory/conversations/c{name}/messages?order=desc&limit=1000").json()
        assert [row["message_id"] for row in page["data"]] == [row["message_id"] for row in again["data"]][::-1]
        texts += [row["content"] for row in page["data"]]
    assert len(texts) == len(set(texts)) == _WRITERS * _EACH
    for writer in range(_WRITERS):
        own = [text for text in texts if text.startswith(f"writer{writer} ")]
        assert own == [f"writer{writer} says number{number}" for number in range(_EACH)]
    hits = service.post("/v1/memory/recall", {"query": "writer7", "k": 50}).json()["hits"]
    assert {hit["text"] for hit in hits} >= {f"writer7 says number{number}" for number in range(_EACH)}


@pytest.mark.postgresql
@pytest.mark.parametrize("conversations", [1, _WRITERS])
def test_writers_of_two_engines_on_postgresql(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversations: int
) -> None:
    # One process serves a database for now. What SQL keeps in order between several is tested all the same.
    monkeypatch.setattr(Database, "own", lambda _: None)
    url = new_database(postgres_server)
    with (
        MemoryEngine.open(tmp_path / "a", database_url=url) as first,
        MemoryEngine.open(tmp_path / "b", database_url=url) as second,
    ):
        engines = (first, second)

        def write(writer: int) -> list[str]:
            ids: list[str] = []
            for number in range(_EACH):
                message = {"role": "user", "content": f"writer{writer} says number{number}"}
                ids += engines[writer % 2].remember(f"c{writer % conversations}", [message]).message_ids
            return ids

        with ThreadPoolExecutor(_WRITERS) as pool:
            acknowledged = list(pool.map(write, range(_WRITERS)))
        place: dict[str, int] = {}
        for name in range(conversations):
            rows, has_more = first.history.messages(f"c{name}", Page(limit=1000, ascending=True))
            assert not has_more
            assert [row.seq for row in rows] == sorted(row.seq for row in rows)
            place |= {row.message_id: row.seq for row in rows}
        assert sorted(place) == sorted(name for own in acknowledged for name in own)
        assert len(set(place.values())) == _WRITERS * _EACH, "one order over all"
        for own in acknowledged:
            assert [place[name] for name in own] == sorted(place[name] for name in own)
        for engine in engines:
            found = {hit.text for hit in engine.recall("writer7", k=50)}
            assert found >= {f"writer7 says number{number}" for number in range(_EACH)}
