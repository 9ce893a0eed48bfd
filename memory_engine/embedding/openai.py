"""Embeddings of an OpenAI model, or of any server that speaks that protocol: they leave this machine.

They are no part of remembering: a message is kept at once and embedded in the background.
"""

from collections.abc import Sequence

import numpy as np
from openai import OpenAI, OpenAIError

from memory_engine.embedding.chunks import cut
from memory_engine.errors import EmbedderUnavailable
from memory_engine.models import Space
from memory_engine.ports import Vectors

#: What OpenAI's own models return; another server's model is asked.
_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
#: Texts of one request. OpenAI takes 2,048 texts and 300,000 tokens; 64 chunks stay under both in any language.
_BATCH = 64
_SECONDS = 20.0


class OpenAIEmbedder:
    """Vectors of a model behind an HTTP server."""

    is_local = False

    def __init__(self, client: OpenAI, model: str, dimension: int) -> None:
        """Take a client, the model's name, and how long its vectors are."""
        self._client = client
        self._model = model
        self.space = Space(model=f"openai:{model}", dimension=dimension)

    @classmethod
    def connect(
        cls, model: str, *, api_key: str | None, base_url: str | None, dimension: int | None = None
    ) -> "OpenAIEmbedder":
        """The embedder over the server; where no `dimension` is known, the server is asked for a vector.

        Raises:
            EmbedderUnavailable: no key and no server is set, or the server does not answer.
        """
        if not api_key and not base_url:
            raise EmbedderUnavailable(f"The embedder openai:{model} needs OPENAI_API_KEY or OPENAI_BASE_URL.")
        # The memory's own retries are the only ones.
        client = OpenAI(api_key=api_key or "none", base_url=base_url, max_retries=0, timeout=_SECONDS)
        return cls(client, model, dimension or _DIMENSIONS.get(model) or len(_asked(client, model, ["length"])[0]))

    def chunks(self, text: str) -> list[str]:
        """The text in pieces of at most 4,000 characters, cut at white space where there is any."""
        return cut(text)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: shape (len(texts), dimension), rows of length 1; an empty text gives zeros.

        Raises:
            EmbedderUnavailable: the server does not answer as it should.
        """
        vectors = np.zeros((len(texts), self.space.dimension), np.float32)
        said = [row for row, text in enumerate(texts) if text.strip()]
        for start in range(0, len(said), _BATCH):
            rows = said[start : start + _BATCH]
            found = _asked(self._client, self._model, [texts[row] for row in rows])
            if {len(vector) for vector in found} != {self.space.dimension}:
                text = f"{self._model} gave vectors of {len(found[0])} numbers where {self.space.dimension} are kept."
                raise EmbedderUnavailable(text)
            vectors[rows] = found
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _asked(client: OpenAI, model: str, texts: list[str]) -> list[list[float]]:
    try:
        answer = client.embeddings.create(model=model, input=texts, encoding_format="float")
        found = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
    except (OpenAIError, TypeError, AttributeError, ValueError) as exc:  # the last three: not that protocol's JSON
        raise EmbedderUnavailable(f"The embedding model {model} does not answer: {exc}") from exc
    if len(found) != len(texts) or not all(found):
        raise EmbedderUnavailable(f"The embedding model {model} gave {len(found)} vectors for {len(texts)} texts.")
    return found
