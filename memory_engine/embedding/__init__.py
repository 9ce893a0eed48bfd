"""Embedders, chosen by name, never silently."""

from memory_engine.errors import EmbedderUnavailable
from memory_engine.ports import Embedder

#: The embedder that needs no key and no download.
DEFAULT_EMBEDDER = "static"


def open_embedder(name: str = DEFAULT_EMBEDDER) -> Embedder:
    """The embedder of that name.

    Raises:
        EmbedderUnavailable: there is none of that name, or its files are missing.
    """
    if name != DEFAULT_EMBEDDER:
        raise EmbedderUnavailable(f"There is no embedder {name!r}; this version has: {DEFAULT_EMBEDDER}.")
    from memory_engine.embedding.static import StaticEmbedder

    return StaticEmbedder.load()
