"""One suite for the port Embedder over all its implementations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memory_engine import EmbedderOptions
from memory_engine.embedding import open_embedder
from memory_engine.errors import EmbedderUnavailable, InvalidInput
from memory_engine.ports import Embedder
from tests import tiny_minilm
from tests.fakes import HashEmbedder, ScriptedModel

Maker = Callable[[Path, ScriptedModel], Embedder]


def minilm(folder: Path, _model: ScriptedModel) -> Embedder:
    return open_embedder("minilm", EmbedderOptions(minilm_path=tiny_minilm.write(folder / "minilm")))


def openai(_folder: Path, model: ScriptedModel) -> Embedder:
    return open_embedder("openai:tiny", EmbedderOptions(openai_base_url=model.url))


MAKERS: dict[str, Maker] = {
    "static": lambda _folder, _model: open_embedder("static"),
    "minilm": minilm,
    "openai": openai,
    "hash": lambda _folder, _model: HashEmbedder(),
}


@pytest.fixture(params=list(MAKERS))
def embedder(request: pytest.FixtureRequest, tmp_path: Path, model: ScriptedModel) -> Embedder:
    return MAKERS[request.param](tmp_path, model)


def test_vectors_are_of_length_one_and_of_the_spaces_shape(embedder: Embedder) -> None:
    vectors = embedder.embed(["where did I move to", "the dog likes rain", "Lyon"])
    assert vectors.shape == (3, embedder.space.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.space.dimension)


def test_a_text_embeds_alike_alone_and_among_others(embedder: Embedder) -> None:
    text = "I moved to Lyon in March"
    among = embedder.embed(["the cat", text, "what is my name what is the name of the dog"])[1]
    assert np.allclose(embedder.embed([text])[0], among, atol=1e-5)


def test_texts_that_share_words_are_nearer(embedder: Embedder) -> None:
    asked, near, far = embedder.embed(["where did I move to", "I did move to Lyon", "the cat likes rain"])
    assert asked @ near > asked @ far


def test_an_empty_text_gives_zeros_and_spoils_no_other(embedder: Embedder) -> None:
    empty, full = embedder.embed(["", "Lyon"])
    assert not empty.any()
    assert np.linalg.norm(full) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", "Lyon", "the dog likes rain " * 2_000, "x" * 9_000, "雨" * 5_000])
def test_chunks_put_together_are_the_text(embedder: Embedder, text: str) -> None:
    chunks = embedder.chunks(text)
    assert "".join(chunks) == text
    assert len(embedder.embed(chunks)) == len(chunks) >= 1


def test_a_long_texts_last_words_are_in_its_last_chunk(embedder: Embedder) -> None:
    chunks = embedder.chunks("the dog likes rain " * 2_000 + "my name is Lyon")
    assert len(chunks) > 1
    asked, first, last = embedder.embed(["my name is Lyon", chunks[0], chunks[-1]])
    assert asked @ last > asked @ first


@pytest.mark.parametrize("name", ["", "best", "openai:", "MiniLM"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="choose static, minilm or openai:MODEL"):
        open_embedder(name)


def test_a_folder_without_the_model_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"needs model.onnx and tokenizer.json in .*onnx"):
        open_embedder("minilm", EmbedderOptions(minilm_path=tmp_path))


def test_a_broken_model_is_told(tmp_path: Path) -> None:
    folder = tiny_minilm.write(tmp_path)
    (folder / "onnx" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(EmbedderUnavailable, match="cannot be run"):
        open_embedder("minilm", EmbedderOptions(minilm_path=folder))


def test_openai_without_a_key_is_told() -> None:
    with pytest.raises(EmbedderUnavailable, match="OPENAI_API_KEY"):
        open_embedder("openai:text-embedding-3-small")


def test_a_known_model_is_not_asked_for_its_dimension(model: ScriptedModel) -> None:
    known = open_embedder("openai:text-embedding-3-small", EmbedderOptions(openai_base_url=model.url))
    assert (known.space.dimension, model.embedded) == (1536, [])
    with pytest.raises(EmbedderUnavailable, match="32 numbers where 1536"):
        known.embed(["Lyon"])


def test_a_server_that_is_away_is_told(model: ScriptedModel) -> None:
    embedder = openai(Path(), model)
    model.embeds = False
    with pytest.raises(EmbedderUnavailable, match="does not answer"):
        embedder.embed(["Lyon"])
