"""The default embedder: static token vectors that come inside the wordllama wheel.

A text's vector is the mean of its tokens' vectors (256 dimensions, trained by distillation; wordllama's
"l2_supercat"), of length 1. No network, no model run: about 10,000 texts a second on one core.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np

from memory_engine.embedding.chunks import cut
from memory_engine.errors import EmbedderUnavailable
from memory_engine.models import Space
from memory_engine.ports import Vectors
from memory_engine.tokens import bundled_file, bundled_tokenizer

_WEIGHTS = "weights/l2_supercat_256.safetensors"
#: Characters tokenised at once; bounds the memory that one call takes.
_BATCH_CHARACTERS = 2_000_000
#: Tokens whose vectors are read at once.
_TOKENS = 8_192


class StaticEmbedder:
    """Means of static token vectors."""

    is_local = True

    def __init__(self, table: Vectors) -> None:
        """Take the table of token vectors, shape (tokens, dimension)."""
        self._table = table
        self.space = Space(model="wordllama-l2-supercat", dimension=table.shape[1])

    @classmethod
    def load(cls) -> "StaticEmbedder":
        """The embedder over the bundled weights.

        Raises:
            EmbedderUnavailable: the wordllama package or its weights are missing.
        """
        from safetensors.numpy import load_file

        tables = list(load_file(bundled_file(_WEIGHTS)).values())
        if len(tables) != 1:
            raise EmbedderUnavailable("The wordllama weights are not one table of vectors.")
        return cls(np.ascontiguousarray(tables[0], dtype=np.float32))

    def chunks(self, text: str) -> list[str]:
        """The text in pieces of at most 4,000 characters, cut at white space where there is any."""
        return cut(text)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: shape (len(texts), 256), rows of length 1; a text without any token gives zeros."""
        vectors = np.zeros((len(texts), self._table.shape[1]), np.float32)
        start = 0
        while start < len(texts):
            stop, size = start, 0
            while stop < len(texts) and (size == 0 or size + len(texts[stop]) <= _BATCH_CHARACTERS):
                size += len(texts[stop])
                stop += 1
            encodings = bundled_tokenizer().encode_batch_fast(list(texts[start:stop]), add_special_tokens=False)
            for row, encoding in enumerate(encodings, start):
                if encoding.ids:
                    vectors[row] = self._mean(encoding.ids)
            start = stop
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)

    def _mean(self, tokens: Sequence[int]) -> Vectors:
        """The mean of the tokens' vectors; those of a megabyte would be a gigabyte at once."""
        if len(tokens) <= _TOKENS:
            return cast(Vectors, self._table[tokens].mean(axis=0))
        parts = [self._table[tokens[at : at + _TOKENS]].sum(axis=0) for at in range(0, len(tokens), _TOKENS)]
        return cast(Vectors, np.sum(parts, axis=0) / len(tokens))
