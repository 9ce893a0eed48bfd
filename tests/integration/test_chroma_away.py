"""A Chroma server that is stopped, hangs or comes back empty: recall is right, nothing is lost, and it heals."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api import backups
from assistant import load_settings
from assistant.bootstrap import open_engine
from memory_engine import MemoryEngine, RecallQuery
from memory_engine.models import ScopeKey
from memory_engine.ports import no_progress
from memory_engine.retention import read_policy
from tests.chroma_server import ChromaServer
from tests.fakes import FixedClock
from tests.running_service import RunningService

TOPICS = ("harbour", "choir", "kettle", "bicycle", "garden", "ferry", "letter", "violin", "market", "lantern")
PLACES = ("in Lisbon", "by the mill", "on Tuesday", "after lunch", "in the cellar", "at school", "near the bridge")
QUESTIONS = ("What about the violin at school?", "Who saw the lantern in Lisbon?", "ferry")
#: Messages of the store, and how many make a collection.
MESSAGES, THRESHOLD = 2_000, 500
#: Seconds that a recall may take.
AT_MOST = 2.0
HERE = ScopeKey(1, 1)


def text(number: int) -> str:
    return f"The {TOPICS[number % 10]} number {number} was seen {PLACES[number % 7]}."


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def say(engine: MemoryEngine, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, 500):
        some = range(start, min(start + 500, numbers.stop))
        engine.remember(f"c{start}", [{"role": "user", "content": text(n), "id": f"m{n}"} for n in some])


def timely(engine: MemoryEngine, question: str) -> list[str]:
    began = time.monotonic()
    found = [hit.message_id for hit in engine.recall(question, 10)]
    assert time.monotonic() - began < AT_MOST
    return found


def answers(engine: MemoryEngine) -> list[list[str]]:
    return [timely(engine, question) for question in QUESTIONS]


def is_well(engine: MemoryEngine) -> bool:
    return engine.parts()["vectors"].ok and engine._parts.generation.index.is_trusted(HERE)


def rows(engine: MemoryEngine) -> int:
    return engine._parts.generation.index.count(HERE)


def assert_degraded(engine: MemoryEngine, *words: str) -> None:
    began = time.monotonic()
    found = engine.parts()["vectors"]
    assert time.monotonic() - began < 2 * AT_MOST
    assert not found.ok
    assert found.serves
    assert all(word in found.detail for word in words), found.detail


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    with ChromaServer(tmp_path_factory.mktemp("chroma") / "rows") as server:
        yield server


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, chroma: ChromaServer) -> Iterator[MemoryEngine]:
    folder = tmp_path_factory.mktemp("store") / "data"
    clock = FixedClock()
    with MemoryEngine.open(folder, chroma_url=chroma.url, index_threshold=THRESHOLD, clock=clock) as opened:
        opened._parts.pruning.stop()
        say(opened, range(MESSAGES))
        until(lambda: is_well(opened))
        assert rows(opened) == MESSAGES
        yield opened


@pytest.fixture(autouse=True)
def _up_and_well(engine: MemoryEngine, chroma: ChromaServer) -> Iterator[None]:
    yield
    chroma.kill()
    chroma.start()
    until(lambda: is_well(engine))


def test_a_stopped_server_costs_no_answer_and_catches_up(engine: MemoryEngine, chroma: ChromaServer) -> None:
    before, had = answers(engine), rows(engine)
    assert engine.search(RecallQuery(text="ferry")).notice is None
    chroma.kill()
    assert answers(engine) == before
    said = engine.remember("late", [{"role": "user", "content": "The zeppelin lands at noon."}]).message_ids
    assert timely(engine, "When does the zeppelin land?")[0] == said[0]
    until(lambda: engine.parts()["vectors"].detail.find("1 vectors") > 0)
    assert_degraded(engine, "does not answer since", "1 vectors")
    notice = engine.search(RecallQuery(text="ferry")).notice
    assert notice is not None
    assert "does not answer since" in notice
    finding = next(finding for finding in engine.examine() if finding.check == "vectors")
    assert finding.problems
    assert "does not answer since" in finding.detail
    chroma.start()
    until(lambda: is_well(engine))
    assert rows(engine) == had + 1
    assert timely(engine, "When does the zeppelin land?")[0] == said[0]
    assert answers(engine) == before
    assert engine.parts()["outbox"].ok


def test_a_hanging_server_costs_a_second_once(engine: MemoryEngine, chroma: ChromaServer) -> None:
    before = answers(engine)
    chroma.hang()
    assert answers(engine) == before
    began = time.monotonic()
    assert answers(engine) == before
    assert time.monotonic() - began < 1
    engine.remember("hung", [{"role": "user", "content": "The balloon waits."}])
    assert_degraded(engine, "does not answer since")
    chroma.go_on()
    until(lambda: is_well(engine))
    assert answers(engine) == before


def test_an_empty_restart_is_filled_again(engine: MemoryEngine, chroma: ChromaServer) -> None:
    before, had = answers(engine), rows(engine)
    chroma.restart_empty()
    assert answers(engine) == before
    until(lambda: is_well(engine) and rows(engine) == had)
    assert answers(engine) == before


def test_a_shortened_collection_is_told_and_filled_again(engine: MemoryEngine) -> None:
    before, had = answers(engine), rows(engine)
    collection = engine._parts.generation.index._known[HERE].collection
    collection.delete(ids=collection.get(limit=100, include=[])["ids"])
    assert_degraded(engine, "100 vectors behind")
    assert answers(engine) == before
    until(lambda: is_well(engine) and rows(engine) == had)
    collection = engine._parts.generation.index._known[HERE].collection
    collection.delete(ids=collection.get(limit=1, include=[])["ids"])
    assert answers(engine) == before, "recall itself notices it"
    until(lambda: is_well(engine) and rows(engine) == had)


def test_what_is_pruned_and_erased_meanwhile_goes_later(engine: MemoryEngine, chroma: ChromaServer) -> None:
    had = rows(engine)
    gone = engine.remember("secret", [{"role": "user", "content": "The password of the vault is heliotrope."}])
    until(lambda: is_well(engine) and rows(engine) == had + 1)
    chroma.kill()
    answers(engine)
    receipt = engine.erase(message_ids=list(gone.message_ids))
    assert receipt.state == "pending"
    assert gone.message_ids[0] not in timely(engine, "What is the password of the vault?")
    assert_degraded(engine, "changes wait")
    assert engine.forgetting.receipt(receipt.receipt_id).state == "pending"
    assert engine.pruner.index_pending("default") >= 1
    chroma.start()
    until(lambda: engine.forgetting.receipt(receipt.receipt_id).state == "done")
    until(lambda: is_well(engine) and rows(engine) == had)
    assert engine.pruner.index_pending("default") == 0


def test_a_pruning_answers_while_the_server_hangs(engine: MemoryEngine, chroma: ChromaServer) -> None:
    had = rows(engine)
    chroma.hang()
    policy = read_policy({"rules": [{"stratum": "messages", "keep_newest": had - 5}], "restorable_days": 7})
    began = time.monotonic()
    shares = engine.pruner.prune("default", policy)
    assert time.monotonic() - began < 5
    assert sum(share.rows for share in shares) == 5
    assert engine.pruner.index_pending("default") == 5
    chroma.go_on()
    until(lambda: is_well(engine) and rows(engine) == had - 5)
    assert engine.pruner.index_pending("default") == 0


def test_a_writer_that_hangs_makes_no_reader_wait(engine: MemoryEngine) -> None:
    index = engine._parts.generation.index
    with index._lock:
        began = time.monotonic()
        assert index.watermark(HERE)
        answers(engine)
        assert time.monotonic() - began < AT_MOST


def test_a_restore_while_the_server_is_away_leaves_no_old_collection(tmp_path: Path, chroma: ChromaServer) -> None:
    settings = load_settings(data_dir=tmp_path / "data", chroma_url=chroma.url, index_threshold=20)

    def names(engine: MemoryEngine) -> list[str]:
        index = engine._parts.generation.index
        return [name for name in index._chroma.names() if name.startswith("memory-") and name not in others]

    others: list[str] = []
    with open_engine(settings) as engine:
        others += names(engine)
        say(engine, range(50))
        until(lambda: is_well(engine))
        before = names(engine)
        backups.write(tmp_path / "b", engine.backup(), no_progress)
    chroma.kill()
    backups.restore(settings, tmp_path / "b", replace=True, progress=no_progress)
    with open_engine(settings) as engine:
        assert "ferry" in engine.recall("ferry")[0].text
        chroma.start()
        until(lambda: is_well(engine) and len(names(engine)) == 1)
        assert names(engine) != before


def test_the_service_starts_while_the_server_is_silent_and_joins_it(tmp_path: Path) -> None:
    chroma = ChromaServer(tmp_path / "chroma")
    settings = {"MEMORY_ENGINE_CHROMA_URL": chroma.url, "MEMORY_ENGINE_INDEX_THRESHOLD": "20"}
    with ExitStack() as opened:
        silent = opened.enter_context(socket.socket())
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", chroma.port))
        silent.listen()  # it accepts connections and never answers
        service = opened.enter_context(RunningService(tmp_path / "data", **settings))
        said = [{"role": "user", "content": text(n)} for n in range(50)]
        body = {"conversation_id": "c", "messages": said}
        assert service.post("/v1/memory/messages", body).status_code < 300
        began = time.monotonic()
        found = service.post("/v1/memory/recall", {"query": "violin at school", "k": 3}).json()
        assert time.monotonic() - began < AT_MOST
        assert "violin" in found["hits"][0]["text"]
        until(lambda: service.http.get("/ready").json()["parts"]["vectors"]["status"] == "degraded")
        assert service.http.get("/ready").status_code == 200
        until(lambda: "does not answer" in service.http.get("/ready").json()["parts"]["vectors"]["detail"])
        silent.close()
        opened.enter_context(chroma)
        until(lambda: service.http.get("/ready").json()["parts"]["vectors"]["status"] == "ok", 40)
        assert service.post("/v1/memory/recall", {"query": "violin at school", "k": 3}).json()["hits"] == found["hits"]
