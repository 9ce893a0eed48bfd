"""A query, read once: its words and what they may stand under, its vector, and whom it is about."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from memory_engine.errors import EmbedderUnavailable
from memory_engine.lexical.analysis import QueryTerm, analyse_query, stems_of, term_ids, words_of
from memory_engine.lexical.index import LexicalIndex, SoughtTerm
from memory_engine.lexical.pronouns import is_about_the_asker
from memory_engine.ports import Embedder, Vectors
from memory_engine.recall.vocabulary import load_vocabulary
from memory_engine.waits import waiting

_LATIN = re.compile("[a-zà-öø-ɏ]")
#: A word at this similarity is worth nothing, one at 1 is worth `_MOST`; between them by this power.
_LEAST_SIMILAR, _MOST, _POWER = 0.25, 0.9, 0.7
#: Words of a query, the rarest in the scope, that are also looked up in other words: of a long text the common ones
#: say nothing in any words.
_WIDENED = 8
#: Words of a query that are looked up; the rest of a long text speaks through its vector.
_LONGEST_QUERY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a query asks for."""

    terms: Sequence[QueryTerm]
    sought: Sequence[SoughtTerm]
    #: Zeros where the embedder does not answer; then the words speak alone.
    vector: Vectors
    about_asker: bool
    #: What the asker should know about how it was read.
    notice: str | None


class QuestionReader:
    """Reads queries for one store."""

    def __init__(self, embedder: Embedder, term_key: bytes) -> None:
        self._embedder = embedder
        self.dimension = embedder.space.dimension
        self._term_key = term_key
        self._similar = lru_cache(maxsize=20_000)(self._widened)

    def read(self, text: str, names: frozenset[str], index: LexicalIndex) -> Question:
        """Read a query.

        Args:
            text: the query.
            names: words that are somebody's name here; nothing stands for a name.
            index: tells how rare its words are here.
        """
        terms = analyse_query(text, _LONGEST_QUERY)
        sought = self._widest(self.exactly(terms), terms, names, index)
        vector, notice = self._vector(text)
        return Question(
            terms=terms,
            sought=sought,
            vector=vector,
            about_asker=is_about_the_asker(text),
            notice=notice,
        )

    def _vector(self, text: str) -> tuple[Vectors, str | None]:
        try:
            with nullcontext() if self._embedder.is_local else waiting():
                return self._embedder.embed([self._embedder.chunks(text)[0]])[0], None
        except EmbedderUnavailable as exc:
            return np.zeros(self._embedder.space.dimension, np.float32), f"Found by words alone: {exc.message}"

    def exactly(self, terms: Sequence[QueryTerm]) -> list[SoughtTerm]:
        """The words themselves, with nothing standing for them."""
        return [SoughtTerm(stems=term_ids(term.stems, self._term_key)) for term in terms]

    def _widest(
        self, sought: list[SoughtTerm], terms: Sequence[QueryTerm], names: frozenset[str], index: LexicalIndex
    ) -> list[SoughtTerm]:
        """The same words, of which the rarest may also be said in other words."""
        wide = [number for number, term in enumerate(terms) if term.word not in names]
        if len(wide) > _WIDENED:
            sizes = index.sizes([sought[number] for number in wide])
            wide = [wide[at] for at in np.argsort(sizes, kind="stable")[:_WIDENED]]
        for number in wide:
            sought[number] = self._similar(terms[number])
        return sought

    def similar_in(self, question: Question, text: str) -> list[str]:
        """The words of a text that stand for a word of the question, as "question word: word"."""
        said = {stem: word for word in words_of(text) for stem in stems_of(word)}
        found = (
            f"{term.word}: {said[stem]}"
            for term in question.terms
            for word in self.similar_words(term)
            for stem in stems_of(word)
            if stem in said and stem not in term.stems
        )
        return list(dict.fromkeys(found))

    def similar_words(self, term: QueryTerm) -> Mapping[str, float]:
        """The words that stand for a word of the query, with what each is worth; none outside Latin script.

        The bundled tokenizer has few whole words of other scripts, and what is near them is near by chance.
        """
        if not _LATIN.search(term.word):
            return {}
        return {near.word: _worth(near.similarity) for near in load_vocabulary().similar(term.word, _LEAST_SIMILAR)}

    def _widened(self, term: QueryTerm) -> SoughtTerm:
        worth: dict[str, float] = {}
        for word, value in self.similar_words(term).items():
            for stem in stems_of(word):
                if stem not in term.stems:
                    worth[stem] = max(value, worth.get(stem, 0.0))
        return SoughtTerm(
            stems=term_ids(term.stems, self._term_key),
            similar=term_ids(worth, self._term_key),
            worth=np.array(list(worth.values())),
        )


def _worth(similarity: float) -> float:
    return float(_MOST * ((similarity - _LEAST_SIMILAR) / (1 - _LEAST_SIMILAR)) ** _POWER)
