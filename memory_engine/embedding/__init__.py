"""Embedders, chosen by name, never silently."""

from dataclasses import dataclass
from pathlib import Path

from memory_engine.errors import InvalidInput
from memory_engine.ports import Embedder

#: The embedder of a new store, which needs no key and no download.
DEFAULT_EMBEDDER = "static"
_OPENAI = "openai:"


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedderOptions:
    """What some embedders need beside their name."""

    #: Folder that holds `onnx/model.onnx` and `onnx/tokenizer.json`; Chroma's cache unless given.
    minilm_path: Path | None = None
    openai_api_key: str | None = None
    openai_base_url: str | None = None


def open_embedder(name: str, options: EmbedderOptions | None = None, *, known_dimension: int | None = None) -> Embedder:
    """The embedder of that name: `static`, `minilm`, or `openai:` and a model's name.

    Args:
        name: which.
        options: what some need beside their name.
        known_dimension: how long the vectors of an `openai:` model are, where that is known from before.

    Raises:
        InvalidInput: there is none of that name.
        EmbedderUnavailable: what it needs is missing.
    """
    options = options or EmbedderOptions()
    if name == DEFAULT_EMBEDDER:
        from memory_engine.embedding.static import StaticEmbedder

        return StaticEmbedder.load()
    if name == "minilm":
        from memory_engine.embedding.minilm import MiniLMEmbedder

        return MiniLMEmbedder.load(options.minilm_path)
    if name.startswith(_OPENAI) and len(name) > len(_OPENAI):
        from memory_engine.embedding.openai import OpenAIEmbedder

        return OpenAIEmbedder.connect(
            name.removeprefix(_OPENAI),
            api_key=options.openai_api_key,
            base_url=options.openai_base_url,
            dimension=known_dimension,
        )
    raise InvalidInput(f"There is no embedder {name!r}; choose static, minilm or openai:MODEL.", param="embedder")
