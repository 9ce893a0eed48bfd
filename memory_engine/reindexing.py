"""Makes every vector anew, in generations: the old space serves until the new one is whole, and stays for the way back.

What was embedded before a break-off is kept, so that the same call goes on where the last one ended.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from memory_engine.errors import InvalidInput, ReindexRunning
from memory_engine.generation import Generation
from memory_engine.joining import Parts
from memory_engine.models import ScopeKey
from memory_engine.ports import Progress
from memory_engine.storage import embeddings, scopes, store_settings
from memory_engine.storage.database import LARGE_LOAD


@dataclass(frozen=True, kw_only=True, slots=True)
class Reindexed:
    """What was done."""

    #: The embedder that serves now, and the one that did.
    embedder: str
    before: str
    #: How many messages were embedded for it.
    embedded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReindexProgress:
    """How far it is."""

    what: str
    done: int
    #: What there is to do, as counted at the start; None when it was not counted.
    total: int | None


class Reindexer:
    """Moves an open memory from one embedder's space to another's."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running = threading.Lock()
        #: How far the work under way is; None when there is none.
        self.progress: ReindexProgress | None = None

    def reindex(self, embedder: str | None) -> Reindexed:
        """Fill the embedder's space and move to it; without a name, rebuild the vector index of the present one.

        Raises:
            ReindexRunning: it is under way already.
            EmbedderUnavailable: the embedder cannot be had, or stopped answering; the old one goes on serving.
            StoreError: the store does not answer.
            IndexUnavailable: the vector index does not answer.
        """
        with self._alone():
            serving = self._parts.generation
            if embedder in (None, serving.embedder):
                return self._rebuild(serving)
            self.progress = ReindexProgress(what=f"opening {embedder}", done=0, total=None)
            coming = self._parts.open_generation(embedder)
            embedded = 0
            while more := self._fill(coming):  # what was said meanwhile takes another round
                embedded += more
            for key in self._keys():
                coming.indexer.catch_up(key, self._counter("building the vector index"))
            self._move(serving, coming)
            if late := self._fill(coming):
                coming.residents.forget()
            return Reindexed(embedder=coming.embedder, before=serving.embedder, embedded=embedded + late)

    def roll_back(self) -> Reindexed:
        """Move to the embedder that served before; only what was said since is embedded.

        Raises:
            InvalidInput: there was none before.
        """
        with self._parts.database.read() as db:
            before = store_settings.setting(db, "embedder_before")
        if before is None:
            raise InvalidInput("This store has had no other embedder, so there is nothing to go back to.")
        return self.reindex(before)

    def _rebuild(self, serving: Generation) -> Reindexed:
        embedded = self._fill(serving)
        for key in self._keys():
            serving.indexer.rebuild(key, self._counter("building the vector index"))
        serving.residents.forget()
        return Reindexed(embedder=serving.embedder, before=serving.embedder, embedded=embedded)

    def _fill(self, generation: Generation) -> int:
        keys = self._keys()
        with self._parts.database.read() as db:
            total = sum(embeddings.count_lacking(db, key, generation.space_id) for key in keys)
        advance = self._counter(f"embedding with {generation.embedder}", total)
        embedded = sum(generation.rememberer.embed_lacking(key, progress=advance) for key in keys)
        if embedded > LARGE_LOAD:
            self._parts.database.analyse()
        return embedded

    def _move(self, serving: Generation, coming: Generation) -> None:
        with self._parts.database.write_alone() as db:
            store_settings.put(db, "embedder", coming.embedder)
            store_settings.put(db, "embedder_before", serving.embedder)
        # Who holds the old one still writes to the old space: the outbox tells the new one, which embeds it too.
        self._parts.generation = coming

    def _keys(self) -> list[ScopeKey]:
        with self._parts.database.read() as db:
            return scopes.all_scopes(db)

    def _counter(self, what: str, total: int | None = None) -> Progress:
        done = 0

        def advance(_what: str, more: int) -> None:
            nonlocal done
            done += more
            self.progress = ReindexProgress(what=what, done=done, total=total)

        advance(what, 0)
        return advance

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._running.acquire(blocking=False):
            raise ReindexRunning
        try:
            yield
        finally:
            self.progress = None
            self._running.release()
