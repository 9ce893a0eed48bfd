"""What the engine needs of the outside, as Protocols; each has a second implementation."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memory_engine.models import Scope, ScopeKey, Space

Vectors = NDArray[np.float32]
#: Told what is being done and how many things of it were done since.
Progress = Callable[[str, int], None]
#: Stands around a search for a message or a conversation: where the scope erased it, that is what is raised.
Told = Callable[[Scope], AbstractContextManager[None]]


def no_progress(_what: str, _done: int) -> None:
    """Tell nobody."""


class Clock(Protocol):
    """Tells the time, so that tests and imports can have their own."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...


class TokenCounter(Protocol):
    """Counts the tokens of a text; budgets are judged by it."""

    @property
    def name(self) -> str:
        """What counts, as manifests name it."""
        ...

    def count(self, text: str) -> int:
        """How many tokens the text takes, the margin included."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of one space."""

    @property
    def space(self) -> Space:
        """The space of its vectors."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether it runs in this process: then messages are embedded as they are kept, else in the background."""
        ...

    def chunks(self, text: str) -> list[str]:
        """The text cut into pieces that are embedded one by one; a short text is one piece."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts.

        Returns:
            Shape (len(texts), space.dimension), rows of length 1; a text without any token gives zeros.

        Raises:
            EmbedderUnavailable: the embedder does not answer.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A message as a writer of summaries is given it."""

    message_id: str
    speaker: str
    said_at: datetime
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a writer made of messages; nothing of it is believed before it is checked."""

    model: str
    #: Sentences, each with the ids of the messages that it rests on.
    sentences: tuple[tuple[str, tuple[str, ...]], ...]


class SummaryWriter(Protocol):
    """Writes summaries in its own words, such as a chat model does."""

    def write(self, said: Sequence[Source], words: int) -> Written:
        """Sum up in about so many words, each sentence with the messages that it rests on.

        Raises:
            WriterUnavailable: the writer does not answer, or was stopped.
        """
        ...

    def stop(self) -> None:
        """Give up what is being written, for good."""
        ...


class VectorIndex(Protocol):
    """Finds the nearest vectors of a scope. Derived: it can always be rebuilt from SQL.

    It tells by `watermark` how far it has followed the store; what is newer is scored from SQL.
    """

    def watermark(self, scope: ScopeKey) -> int:
        """The `seq` up to which the scope's vectors are in the index; 0 when it holds none."""
        ...

    def searchable(self, scope: ScopeKey) -> int:
        """The watermark that a search may rely on, without a call to a server; 0 where the index is to be left out."""
        ...

    @property
    def outage(self) -> object | None:
        """What keeps the index from answering, as text, or None."""
        ...

    def add(self, scope: ScopeKey, seqs: Sequence[int], vectors: Vectors, watermark: int) -> None:
        """Add vectors (shape (len(seqs), dimension), one row a chunk) and move the watermark up to it.

        Adding the same seq again replaces what was there, so that a repeated batch does no harm.

        Raises:
            IndexUnavailable: the index does not answer.
        """
        ...

    def remove(self, scope: ScopeKey, seqs: Sequence[int]) -> None:
        """Forget these messages' vectors; the watermark stays.

        Raises:
            IndexUnavailable: the index does not answer.
        """
        ...

    def nearest(self, scope: ScopeKey, vector: Vectors, limit: int) -> list[int]:
        """The seqs of the vectors with the highest cosine to `vector` (shape (dimension,)), best first.

        A message with several chunks stands once. At most `limit` vectors are looked at.

        Raises:
            IndexUnavailable: the index does not answer.
        """
        ...

    def drop(self, scope: ScopeKey) -> None:
        """Forget the scope; its watermark is 0 again."""
        ...
