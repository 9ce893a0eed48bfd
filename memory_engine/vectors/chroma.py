"""The approximate vector index: one Chroma collection a scope, ids and vectors only, never a text.

The embedded Chroma has exactly one owner process: who opens it holds the data directory's lock (measured: several
processes on one path lose rows without an error). The watermark stands in the collection's own metadata, so a
collection that is gone says so by itself. chromadb takes a second to import and is imported on first use.

A Chroma server can be away, hang, or come back with other rows. Every call to it has a time limit and passes a
breaker. Recall uses a collection only after the background compared it with SQL since the last failure.
"""

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from memory_engine.errors import IndexUnavailable
from memory_engine.models import ScopeKey
from memory_engine.ports import Clock, Vectors
from memory_engine.storage.private_files import create_private_folder
from memory_engine.vectors.breaker import Breaker, Outage
from memory_engine.vectors.time_limit import time_limit

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

    from memory_engine.vectors.chroma_server import ServerClient

#: Chroma refuses larger batches.
_BATCH = 5_000
#: Rows that a server gets in one call: it takes a second or two to replace as many.
_SERVER_BATCH = 500
#: Chunks of one message that are asked for at once, and messages whose chunks are.
_CHUNKS, _MESSAGES = 64, 16
#: How many neighbours its graph search keeps in sight; a search for more widens it.
_EF_SEARCH = 400
#: Seconds that a server gets to answer, and to take or remove a batch of rows.
_ANSWER, _BULK = 1.0, 10.0
#: Seconds to wait for another thread that writes to a server: that thread may hang.
_TURN = 1.0


def _nothing() -> None:
    """Do nothing."""


class Chroma:
    """Chroma in this process or on a server, opened on first use."""

    def __init__(
        self, connect: "Callable[[], ClientAPI | ServerClient]", folder: Path | None, breaker: Breaker | None = None
    ) -> None:
        """Take a function that opens the client, and the folder that it opens or the breaker of a server."""
        self._connect = connect
        #: None for a server, whose files are out of reach.
        self.folder = folder
        self._breaker = breaker
        self._client: Client | None = None
        self._lock = threading.Lock()
        #: Called when a server failed or lost rows, so that the background looks after it.
        self.on_failure: Callable[[], None] = _nothing

    @classmethod
    def embedded(cls, folder: Path) -> "Chroma":
        """Chroma in this process; the caller holds the lock of the directory."""

        def connect() -> "ClientAPI":
            import chromadb
            from chromadb.config import Settings

            create_private_folder(folder)  # for Chroma's files have the mode that the process gives them
            return chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))

        return cls(connect, folder)

    @classmethod
    def server(cls, url: str, clock: Clock) -> "Chroma":
        """A Chroma server, which several processes may share. It is not asked before it is used."""

        def connect() -> "ServerClient":
            from memory_engine.vectors.chroma_server import ServerClient

            return ServerClient(url)

        def is_outage(exc: Exception) -> bool:
            from memory_engine.vectors import chroma_server

            return chroma_server.is_outage(exc)

        return cls(connect, None, Breaker("The Chroma server", clock, is_outage))

    @property
    def is_server(self) -> bool:
        """Whether it is on a server."""
        return self._breaker is not None

    @property
    def outage(self) -> Outage | None:
        """The outage of a server that does not answer."""
        return None if self._breaker is None else self._breaker.outage

    @property
    def outages(self) -> int:
        """How many outages there were: what was learned before the last one may no longer be true."""
        return 0 if self._breaker is None else self._breaker.outages

    @contextmanager
    def calls(self, seconds: float = _ANSWER) -> Iterator[None]:
        """Translate the errors of calls, and bound them at a server; an embedded Chroma takes its time.

        Raises:
            IndexUnavailable: Chroma does not answer in time, or its last call failed moments ago.
        """
        with _translated():
            if self._breaker is None:
                yield
                return
            with self._breaker.admitted(), time_limit(seconds):
                yield

    def client(self) -> "Client":
        """The open client.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated(), self._lock:
            if self._client is None:
                self._client = cast("Client", self._connect())
            return self._client

    def ping(self) -> None:
        """Ask a server whether it is there.

        Raises:
            IndexUnavailable: it does not answer.
        """
        if self.is_server:
            with self.calls():
                self.client().heartbeat()

    def names(self) -> list[str]:
        """The names of a server's collections; none of an embedded Chroma, whose folder goes as a whole.

        Raises:
            IndexUnavailable: the server does not answer.
        """
        if not self.is_server:
            return []
        with self.calls(_BULK):
            return cast("ServerClient", self.client()).names()

    @property
    def was_never_used(self) -> bool:
        """Whether there is no embedded Chroma yet; to ask it would make one. What a server has is its own to say."""
        return self.folder is not None and not self.folder.exists()

    def remove(self) -> None:
        """Throw the folder of an embedded Chroma away, for it to be made anew; a server's is not ours."""
        try:
            self.close()
        except IndexUnavailable:
            self._client = None  # broken files may refuse even that
        if self.folder is not None and self.folder.exists():
            with _translated():
                shutil.rmtree(self.folder) if self.folder.is_dir() else self.folder.unlink()

    def close(self) -> None:
        """Let go of the folder or the connection."""
        with _translated(), self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A collection as it was last seen."""

    collection: "Collection"
    #: How many outages there were before.
    outages: int
    #: Its rows, once they were compared with SQL; None before. Only then recall uses it.
    rows: int | None = None


class ChromaIndex:
    """Nearest vectors of one space by Chroma's graph index."""

    def __init__(self, chroma: Chroma, *, store_id: str, space_id: int) -> None:
        """Take Chroma, and what tells this store's and this space's collections from others'."""
        self._chroma = chroma
        self._store_id = store_id
        self._prefix = f"memory-{store_id}-{space_id}"
        #: Held by a thread that writes.
        self._lock = threading.Lock()
        self._known: dict[ScopeKey, _Known] = {}

    @property
    def is_server(self) -> bool:
        """Whether the collections are on a server, which can be away while everything else works."""
        return self._chroma.is_server

    @property
    def outage(self) -> Outage | None:
        """The outage of a server that does not answer."""
        return self._chroma.outage

    def watermark(self, scope: ScopeKey) -> int:
        """The `seq` up to which the scope's vectors are in its collection; 0 when there is none.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with self._asking(scope):
            return _watermark(self._collection(scope))

    def searchable(self, scope: ScopeKey) -> int:
        """The watermark that a search may rely on; 0 while a server's collection is not compared with SQL.

        A server is not asked.
        """
        if not self.is_server:
            return self.watermark(scope)
        return self.last_watermark(scope) if self.is_trusted(scope) else 0

    def last_watermark(self, scope: ScopeKey) -> int:
        """The watermark of a server's collection when it was last seen; 0 where it was not."""
        known = self._known.get(scope)
        return 0 if known is None else _watermark(known.collection)

    def is_trusted(self, scope: ScopeKey) -> bool:
        """Whether the collection was compared with SQL since a server last failed. An embedded one has one owner."""
        return not self.is_server or ((known := self._current(scope)) is not None and known.rows is not None)

    def trust(self, scope: ScopeKey) -> None:
        """Take note that the collection has the rows of SQL, so that recall uses it.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with self._asking(scope):
            collection = self._collection(scope)
            if collection is not None:
                outages = self._chroma.outages
                self._known[scope] = _Known(collection=collection, outages=outages, rows=int(collection.count()))

    def lost_rows(self, scope: ScopeKey) -> int:
        """How many rows a server's trusted collection had and has no more. Rows that are being written count as there.

        Raises:
            IndexUnavailable: the server does not answer, or has no such collection.
        """
        known = self._current(scope)
        if known is None or known.rows is None:
            return 0
        with self._asking(scope):
            return self._lost(scope, known, int(known.collection.count()))

    def distrust(self, scope: ScopeKey) -> None:
        """Keep recall from the collection until it is compared with SQL again."""
        if (known := self._known.get(scope)) is not None:
            self._known[scope] = replace(known, outages=-1)

    def ping(self) -> None:
        """Ask a server whether it is there.

        Raises:
            IndexUnavailable: it does not answer.
        """
        self._chroma.ping()

    def add(
        self, scope: ScopeKey, seqs: Sequence[int], vectors: Vectors, watermark: int, *, after: int = 0
    ) -> None:  # fmt: skip
        """Add vectors and then move the watermark, so that a batch cut off in the middle is done again.

        Args:
            scope: whose vectors.
            seqs: of their messages, rising.
            vectors: one row a chunk.
            watermark: the `seq` up to which all vectors are then there.
            after: the watermark that they go on from; where another thread dropped the collection since, nothing is
                added, because it would have a hole.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with self._alone(scope):
            with self._asking(scope):
                collection = self._open(scope)
            if (before := _watermark(collection)) < after:
                return
            ids = _row_ids(seqs)
            size = _SERVER_BATCH if self.is_server else _BATCH
            for start in range(0, len(ids), size):
                batch = slice(start, start + size)
                with self._asking(scope, _BULK):
                    collection.upsert(ids=ids[batch], embeddings=vectors[batch])
            with self._asking(scope):
                collection.modify(metadata={"watermark": max(watermark, before)})
                self._count_again(scope)

    def remove(self, scope: ScopeKey, seqs: Sequence[int]) -> None:
        """Forget these messages' vectors; the watermark stays.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with self._alone(scope):
            with self._asking(scope):
                collection = self._find(scope)
            if collection is None:
                return
            for start in range(0, len(seqs), _MESSAGES):
                left, first = list(seqs[start : start + _MESSAGES]), 0
                while left:
                    left = self._remove_chunks(scope, collection, left, first)
                    first += _CHUNKS
            with self._asking(scope):
                self._count_again(scope)

    def _remove_chunks(self, scope: ScopeKey, collection: "Collection", seqs: list[int], first: int) -> list[int]:
        """Remove the chunks of messages from this number on; the messages that had some, and may have more."""
        with self._asking(scope):
            ids = [name for seq in seqs for name in _chunk_ids(seq, first)]
            held = collection.get(ids=ids, include=[])["ids"]
            if held:
                collection.delete(ids=held)
        return list({_seq_of(name) for name in held})

    def nearest(self, scope: ScopeKey, vector: Vectors, limit: int) -> list[int]:
        """The seqs of the vectors with (very nearly) the highest cosine, best first, each message once.

        Raises:
            IndexUnavailable: Chroma does not answer, or lost what it had.
        """
        with self._asking(scope):
            collection = self._collection(scope)
            known = self._current(scope)
            rows = 0 if collection is None else int(collection.count())
            if lost := self._lost(scope, known, rows):
                raise IndexUnavailable(f"Chroma lost {lost:,} vectors of a collection.")
            if collection is None or rows == 0:
                return []
            found = collection.query(query_embeddings=vector[np.newaxis], n_results=min(limit, rows), include=[])
            return list(dict.fromkeys(_seq_of(name) for name in found["ids"][0]))

    def count(self, scope: ScopeKey) -> int:
        """How many vectors the collection says that it holds.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with self._asking(scope):
            collection = self._collection(scope)
            return 0 if collection is None else int(collection.count())

    def begin_anew(self) -> None:
        """Throw every collection of an embedded Chroma away, broken files too.

        Raises:
            IndexUnavailable: the files cannot be removed.
        """
        with self._lock:
            self._known.clear()
            self._chroma.remove()

    def drop_for_good(self, scopes: Iterable[ScopeKey]) -> None:
        """Leave nothing of these scopes' vectors in any file of ours; of a folder everything goes.

        A server's collections go in every space of the store: an embedder that served before had one too.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        if self._chroma.folder is not None:
            self.begin_anew()
            return
        ends = tuple(_of_scope(scope) for scope in scopes)
        of_store = f"memory-{self._store_id}-"
        mine = [name for name in self._chroma.names() if name.startswith(of_store) and name.endswith(ends)]
        for scope in scopes:
            self.drop(scope)
        self._delete(name for name in mine if not name.startswith(f"{self._prefix}-"))

    def drop_stores(self, store_ids: Iterable[str]) -> None:
        """Delete what a server has of stores that a restore replaced.

        Raises:
            IndexUnavailable: the server does not answer.
        """
        beginnings = tuple(f"memory-{store_id}-" for store_id in store_ids if store_id)
        if beginnings:
            self._delete(name for name in self._chroma.names() if name.startswith(beginnings))

    def _delete(self, names: Iterable[str]) -> None:
        from chromadb.errors import NotFoundError

        for name in names:
            with self._chroma.calls(_BULK), suppress(NotFoundError):
                self._chroma.client().delete_collection(name)

    def drop(self, scope: ScopeKey) -> None:
        """Delete the scope's collection.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with self._alone(scope), self._asking(scope, _BULK):
            if self._find(scope) is not None:
                self._known.pop(scope)
                self._chroma.client().delete_collection(self._name(scope))

    @contextmanager
    def _asking(self, scope: ScopeKey, seconds: float = _ANSWER) -> Iterator[None]:
        """Calls about a scope. Where a server fails at them, what was known of its collection counts no more."""
        before = self._chroma.outages
        try:
            with self._chroma.calls(seconds):
                yield
        except IndexUnavailable:
            if self.is_server and (self._current(scope) is not None or self._chroma.outages > before):
                self.distrust(scope)
                self._chroma.on_failure()
            raise

    @contextmanager
    def _alone(self, scope: ScopeKey) -> Iterator[None]:
        """Write while no other thread does. A thread that writes to a server may hang, so that wait is short.

        Raises:
            IndexUnavailable: another thread writes to the server.
        """
        if not self._lock.acquire(timeout=_TURN if self.is_server else -1):
            raise IndexUnavailable(f"Chroma is busy with other vectors than those of scope {scope.scope_id}.")
        try:
            yield
        finally:
            self._lock.release()

    def _name(self, scope: ScopeKey) -> str:
        return f"{self._prefix}{_of_scope(scope)}"

    def _current(self, scope: ScopeKey) -> _Known | None:
        """The collection, if it was seen since the last outage."""
        known = self._known.get(scope)
        return known if known is not None and known.outages == self._chroma.outages else None

    def _collection(self, scope: ScopeKey) -> "Collection | None":
        """The collection, for those who read: at a server they wait for no thread that writes."""
        if (known := self._current(scope)) is not None:
            return known.collection
        if self.is_server:
            return self._find(scope)
        with self._lock:
            return self._find(scope)

    def _find(self, scope: ScopeKey) -> "Collection | None":
        if self._chroma.was_never_used:  # small stores never load chromadb, which takes a second and 100 MB
            return None
        from chromadb.errors import NotFoundError

        if (known := self._current(scope)) is not None:
            return known.collection
        outages = self._chroma.outages
        try:
            found = self._chroma.client().get_collection(self._name(scope), embedding_function=None)
        except NotFoundError:
            self._known.pop(scope, None)
            return None
        self._known[scope] = _Known(collection=found, outages=outages)
        return found

    def _open(self, scope: ScopeKey) -> "Collection":
        found = self._find(scope)
        if found is None:
            found = self._chroma.client().create_collection(
                self._name(scope),
                embedding_function=None,
                configuration={"hnsw": {"space": "cosine", "ef_search": _EF_SEARCH}},
                metadata={"watermark": 0},
            )
            self._known[scope] = _Known(collection=found, outages=self._chroma.outages)
        return found

    def _lost(self, scope: ScopeKey, known: _Known | None, rows: int) -> int:
        """How many rows a trusted collection lost, if it has so many now. While a thread writes, that is not known."""
        if known is None or known.rows is None or self._known.get(scope) is not known or self._lock.locked():
            return 0
        return max(0, known.rows - rows)

    def _count_again(self, scope: ScopeKey) -> None:
        """Note the rows of a trusted collection after a change."""
        if (known := self._current(scope)) is not None and known.rows is not None:
            self._known[scope] = replace(known, rows=int(known.collection.count()))


def _of_scope(scope: ScopeKey) -> str:
    return f"-{scope.namespace_id}-{scope.scope_id}"


def _watermark(collection: "Collection | None") -> int:
    return 0 if collection is None else int((collection.metadata or {}).get("watermark", 0))


def _seq_of(name: str) -> int:
    return int(name.partition(".")[0])


def _chunk_ids(seq: int, first: int) -> list[str]:
    return [f"{seq}.{chunk}" for chunk in range(first, first + _CHUNKS)]


def _row_ids(seqs: Sequence[int]) -> list[str]:
    """One id a chunk: the message's seq and the chunk's number within it."""
    values = np.asarray(seqs, np.int64)
    starts = np.searchsorted(values, values)  # rows of one message stand together
    return [f"{seq}.{row - start}" for row, (seq, start) in enumerate(zip(values, starts, strict=True))]


@contextmanager
def _translated() -> Iterator[Any]:
    # Chroma lets its transport's, its Rust core's and Python's own errors through; all of them mean the same here.
    try:
        yield
    except IndexUnavailable:
        raise
    except Exception as exc:
        raise IndexUnavailable(f"Chroma does not do as asked: {exc}") from exc
