"""Another embedder, in generations: the old space serves until the new one is whole, and back is one call."""

import json
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text

from memory_engine import EmbedderOptions, MemoryEngine, RecallQuery, Scope
from memory_engine.errors import EmbedderMismatch, EmbedderUnavailable, InvalidInput, ReindexRunning
from memory_engine.storage import scopes
from tests import samples, tiny_minilm
from tests.fakes import ScriptedModel
from tests.running_service import RunningService, clean_environment, command


def opened(folder: Path, model: ScriptedModel | None = None, **fields: object) -> MemoryEngine:
    options = EmbedderOptions(openai_base_url=model.url if model else None, minilm_path=folder.parent / "minilm")
    return MemoryEngine.open(folder, embedder_options=options, **fields)  # type: ignore[arg-type]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def vectors_by_space(engine: MemoryEngine) -> dict[str, int]:
    """How many messages have vectors in each space."""
    with engine.database.read() as db:
        counted = "SELECT name, count(DISTINCT scope_id * 1000000 + seq)"
        query = f"{counted} FROM message_embeddings JOIN embedding_spaces USING (space_id) GROUP BY name"
        return {name.split("/")[0]: count for name, count in db.execute(text(query))}


def settled(engine: MemoryEngine) -> None:
    """Wait until the background has caught up, by doing its work here as well."""
    engine.examine(repair=True)


def test_there_and_back(tmp_path: Path) -> None:
    tiny_minilm.write(tmp_path / "minilm")
    with opened(tmp_path / "data") as engine:
        samples.load(engine)
        before = samples.answers(engine)
        count = engine.stats().embeddings
        done = engine.reindex("minilm")
        assert (done.embedder, done.before, done.embedded) == ("minilm", "static", count)
        assert engine.parts()["embedder"].detail.startswith("minilm")
        assert samples.answers(engine) != before, "another space ranks in another way"
        engine.remember("later", said("The zeppelin lands on Tuesday."))
        assert engine.recall("zeppelin")
        assert {f.check: f for f in engine.examine()}["strata"].healthy
    with opened(tmp_path / "data") as engine:
        assert engine.parts()["embedder"].detail.startswith("minilm"), "the store remembers"
        back = engine.reindex(rollback=True)
        assert (back.embedder, back.before, back.embedded) == ("static", "minilm", 1)
        assert engine.recall("zeppelin")
        assert engine.reindex(rollback=True).embedded == 0, "and forth again"
        assert vectors_by_space(engine) == {"wordllama-l2-supercat": count + 1, "all-MiniLM-L6-v2": count + 1}


def test_back_again_the_answers_are_the_same(tmp_path: Path) -> None:
    tiny_minilm.write(tmp_path / "minilm")
    with opened(tmp_path / "data", index_threshold=100) as engine:
        samples.load(engine)
        settled(engine)
        before = samples.answers(engine)
        engine.reindex("minilm")
        engine.reindex(rollback=True)
        assert samples.answers(engine) == before
        engine.reindex()
        assert samples.overlap(samples.ids(samples.answers(engine)), samples.ids(before)) >= 0.98
        assert all(finding.healthy for finding in engine.examine())


def test_another_embedder_than_the_stores_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as engine:
        engine.remember("one", said("The zeppelin lands on Tuesday."))
    with pytest.raises(EmbedderMismatch, match="reindex --embedder minilm"):
        opened(tmp_path / "data", embedder="minilm")
    with opened(tmp_path / "data", embedder="static") as engine:
        assert engine.recall("zeppelin")


def test_what_cannot_be_had_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as engine:
        samples.load(engine)
        before = samples.answers(engine)
        with pytest.raises(EmbedderUnavailable):
            engine.reindex("minilm")
        with pytest.raises(InvalidInput, match="choose"):
            engine.reindex("best")
        with pytest.raises(InvalidInput, match="nothing to go back to"):
            engine.reindex(rollback=True)
        assert samples.answers(engine) == before


def test_a_broken_off_reindex_goes_on_where_it_was(tmp_path: Path, model: ScriptedModel) -> None:
    with opened(tmp_path / "data", model) as engine:
        samples.load(engine)
        count = engine.stats().embeddings
        model.answers_left = 3  # the dimension, and the two requests of one batch
        with pytest.raises(EmbedderUnavailable):
            engine.reindex("openai:tiny")
        assert engine.parts()["embedder"].detail.startswith("static")
        assert engine.recall("launch")
        done = vectors_by_space(engine)["openai:tiny"]
        assert 0 < done < count
        model.answers_left = None
        assert engine.reindex("openai:tiny").embedded == count - done
        assert vectors_by_space(engine)["openai:tiny"] == count


def test_what_is_said_meanwhile_is_in_the_new_space_too(tmp_path: Path, model: ScriptedModel) -> None:
    with opened(tmp_path / "data", model) as engine:
        samples.load(engine)
        model.before_embedding = lambda: engine.remember("meanwhile", said("The zeppelin lands on Tuesday."))
        worker = Thread(target=engine.reindex, args=["openai:tiny"])
        worker.start()
        assert model.asked.wait(30)
        with pytest.raises(ReindexRunning):
            engine.reindex("static")
        running = engine.reindexing
        assert running is not None
        model.before_embedding = None
        model.may_answer.set()
        worker.join(60)
        assert engine.parts()["embedder"].detail.startswith("openai:tiny")
        assert engine.reindexing is None
        assert vectors_by_space(engine)["openai:tiny"] == vectors_by_space(engine)["wordllama-l2-supercat"]
        assert [hit.conversation_id for hit in engine.recall("zeppelin", k=1)] == ["meanwhile"]


def test_a_server_embeds_in_the_background_and_words_find_until_then(tmp_path: Path, model: ScriptedModel) -> None:
    with opened(tmp_path / "data", model, embedder="openai:tiny") as engine:
        engine.remember("one", said("The zeppelin lands on Tuesday."))
        settled(engine)
        assert vectors_by_space(engine) == {"openai:tiny": 1}
        model.embeds = False
        engine.remember("two", said("The zeppelin leaves on Friday."))
        found = engine.search(RecallQuery(text="zeppelin"))
        assert {hit.conversation_id for hit in found.hits} == {"one", "two"}
        assert found.notice is not None
        assert found.notice.startswith("Found by words alone: The embedding model tiny does not answer")
        assert not engine.parts()["embedder"].ok
        with pytest.raises(EmbedderUnavailable):
            engine.examine(repair=True)
        model.embeds = True
        settled(engine)
        again = engine.search(RecallQuery(text="zeppelin"))
        assert again.notice is None
        assert all(hit.why["vector"] for hit in again.hits)
        assert engine.parts()["embedder"].ok
        assert model.embedded.count("The zeppelin leaves on Friday.") == 1, "each text is paid for once"
        engine.consolidate()
        assert model.requests == [], "no chat model is called for what is kept, nor for what is made of it"


def test_an_edited_message_s_vector_is_read_once_it_is_there(tmp_path: Path, model: ScriptedModel) -> None:
    with opened(tmp_path / "data", model, embedder="openai:tiny") as engine:
        (edited, _) = engine.remember("one", said("The zeppelin lands.") + said("The boat leaves.")).message_ids
        settled(engine)
        serving = engine._parts.serving()
        with engine.database.read() as db:
            key = scopes.find_scope(db, Scope())
        assert key is not None

        def resident() -> int:
            return len(serving.residents.vectors(key, serving.residents.memory(key)).seqs)

        assert resident() == 2
        model.embeds = False
        engine.edit(edited, {"content": "The submarine dives."})
        assert resident() == 1
        model.embeds = True
        serving.indexer.follow()
        assert resident() == 2


def test_the_command_through_the_service_and_without_it(tmp_path: Path) -> None:
    tiny_minilm.write(tmp_path / "minilm")
    settings = {"MEMORY_ENGINE_MINILM_PATH": str(tmp_path / "minilm")}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*args, "--data-dir", str(tmp_path / "data")),
            env=clean_environment(**settings, MEMORY_ENGINE_EMBEDDER="static"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    with RunningService(tmp_path / "data", "--demo", **settings) as service:
        there = run("reindex", "--embedder", "minilm")
        assert there.returncode == 0, there.stderr
        assert there.stdout.startswith("minilm serves in place of static; ")
        assert service.http.get("/ready").json()["parts"]["embedder"]["detail"].startswith("minilm")
        assert json.loads(service.http.get("/v1/memory/reindex").text)["running"] is False
    refused = run("recall", "launch")
    assert refused.returncode == 2
    assert "reindex --embedder static" in refused.stderr
    back = run("reindex", "--rollback")
    assert back.stdout == "static serves in place of minilm; 0 messages were embedded.\n"
    assert run("recall", "launch").returncode == 0
    wrong = run("reindex", "--rollback", "--embedder", "minilm")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "rollback" in wrong.stderr
