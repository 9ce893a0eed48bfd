"""Which everyday words mean nearly the same: "job" and "work", "biking" and "bicycle".

The words are the whole-word pieces of the bundled tokenizer, compared by the bundled static vectors, whichever
embedder the store has. No vocabulary of what was said is kept anywhere: a question's word is widened to words of the
language at large, and those are then looked up among what was said.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from memory_engine.embedding.static import StaticEmbedder
from memory_engine.lexical.stopwords import STOP_WORDS
from memory_engine.ports import Vectors
from memory_engine.tokens import bundled_tokenizer

#: How the tokenizer writes a space before a word.
_SPACE = "\u2581"
_SHORTEST = 4
#: Words that stand for one word of a question, at most.
_WIDEST = 12


@dataclass(frozen=True, slots=True)
class SimilarWord:
    """A word with its cosine to the one that was asked for, both centred; 0..1."""

    word: str
    similarity: float


class Vocabulary:
    """The words of the language at large, with their vectors."""

    def __init__(self, embedder: StaticEmbedder) -> None:
        """Embed every word of the tokenizer."""
        self._embedder = embedder
        self._words = _whole_words()
        vectors = embedder.embed(self._words)
        self._centre = vectors.mean(axis=0)
        self._vectors = _directions(vectors - self._centre)
        self.similar = lru_cache(maxsize=20_000)(self._similar)

    def _similar(self, word: str, at_least: float) -> tuple[SimilarWord, ...]:
        """Words of at least that similarity, the most similar first, the word itself left out."""
        vector = self._embedder.embed([word])[0]
        if not vector.any():
            return ()
        cosines = np.vecdot(self._vectors, _directions((vector - self._centre)[None])[0])
        near = np.flatnonzero(cosines >= at_least)
        near = near[np.argsort(-cosines[near], kind="stable")][: _WIDEST + 1]
        return tuple(SimilarWord(self._words[at], float(cosines[at])) for at in near if self._words[at] != word)


@cache
def load_vocabulary() -> Vocabulary:
    """The bundled vocabulary, made on first use (about 60 ms).

    Raises:
        EmbedderUnavailable: the wordllama package or its files are missing.
    """
    return Vocabulary(StaticEmbedder.load())


def _whole_words() -> list[str]:
    pieces = (piece[1:].lower() for piece in bundled_tokenizer().get_vocab() if piece.startswith(_SPACE))
    stop = frozenset().union(*STOP_WORDS.values())
    return sorted({word for word in pieces if word.isalpha() and len(word) >= _SHORTEST and word not in stop})


def _directions(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
