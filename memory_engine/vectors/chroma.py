"""The approximate vector index: one Chroma collection a scope, ids and vectors only, never a text.

The embedded Chroma has exactly one owner process: who opens it holds the data directory's lock (measured: several
processes on one path lose rows without an error). The watermark stands in the collection's own metadata, so a
collection that is gone says so by itself. chromadb takes a second to import and is imported on first use.
"""

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import numpy as np

from memory_engine.errors import IndexUnavailable
from memory_engine.models import ScopeKey
from memory_engine.ports import Vectors
from memory_engine.storage.private_files import create_private_folder

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

#: Chroma refuses larger batches.
_BATCH = 5_000
#: Chunks of one message that are asked for at once.
_CHUNKS = 64
#: How many neighbours its graph search keeps in sight; a search for more widens it.
_EF_SEARCH = 400


class Chroma:
    """Chroma in this process or on a server, opened on first use."""

    def __init__(self, connect: "Callable[[], ClientAPI]", folder: Path | None) -> None:
        """Take a function that opens the client, and the folder that it opens, if it is one."""
        self._connect = connect
        #: None for a server, whose files are out of reach.
        self.folder = folder
        self._client: Client | None = None
        self._lock = threading.Lock()

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
    def server(cls, url: str) -> "Chroma":
        """A Chroma server, which several processes may share."""

        def connect() -> "ClientAPI":
            import chromadb
            from chromadb.config import Settings

            parts = urlsplit(url)
            return chromadb.HttpClient(
                host=parts.hostname or "127.0.0.1",
                port=parts.port or (443 if parts.scheme == "https" else 8000),
                ssl=parts.scheme == "https",
                settings=Settings(anonymized_telemetry=False),
            )

        return cls(connect, None)

    def client(self) -> "Client":
        """The open client.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated(), self._lock:
            if self._client is None:
                self._client = cast("Client", self._connect())
            return self._client

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


class ChromaIndex:
    """Nearest vectors of one space by Chroma's graph index."""

    def __init__(self, chroma: Chroma, *, store_id: str, space_id: int) -> None:
        """Take Chroma, and what tells this store's and this space's collections from others'."""
        self._chroma = chroma
        self._prefix = f"memory-{store_id}-{space_id}"
        self._lock = threading.Lock()
        self._collections: dict[ScopeKey, Collection] = {}

    def watermark(self, scope: ScopeKey) -> int:
        """The `seq` up to which the scope's vectors are in its collection; 0 when there is none."""
        with _translated(), self._lock:
            collection = self._find(scope)
            return 0 if collection is None else int((collection.metadata or {}).get("watermark", 0))

    def add(self, scope: ScopeKey, seqs: Sequence[int], vectors: Vectors, watermark: int) -> None:
        """Add vectors and then move the watermark, so that a batch cut off in the middle is done again.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated(), self._lock:
            collection = self._open(scope)
            ids = _row_ids(seqs)
            for start in range(0, len(ids), _BATCH):
                batch = slice(start, start + _BATCH)
                collection.upsert(ids=ids[batch], embeddings=vectors[batch])
            before = int((collection.metadata or {}).get("watermark", 0))
            collection.modify(metadata={"watermark": max(watermark, before)})

    def remove(self, scope: ScopeKey, seqs: Sequence[int]) -> None:
        """Forget these messages' vectors; the watermark stays.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated(), self._lock:
            collection = self._find(scope)
            if collection is None:
                return
            for seq in seqs:
                first = 0
                while held := collection.get(ids=_chunk_ids(seq, first), include=[])["ids"]:
                    collection.delete(ids=held)
                    first += _CHUNKS

    def nearest(self, scope: ScopeKey, vector: Vectors, limit: int) -> list[int]:
        """The seqs of the vectors with (very nearly) the highest cosine, best first, each message once.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated():
            with self._lock:
                collection = self._find(scope)
            rows = 0 if collection is None else collection.count()
            if collection is None or rows == 0:
                return []
            found = collection.query(query_embeddings=vector[np.newaxis], n_results=min(limit, rows), include=[])
            return list(dict.fromkeys(int(name.partition(".")[0]) for name in found["ids"][0]))

    def count(self, scope: ScopeKey) -> int:
        """How many vectors the collection says that it holds.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated(), self._lock:
            collection = self._find(scope)
            return 0 if collection is None else int(collection.count())

    def begin_anew(self) -> None:
        """Throw every collection of an embedded Chroma away, broken files too.

        Raises:
            IndexUnavailable: the files cannot be removed.
        """
        with self._lock:
            self._collections.clear()
            self._chroma.remove()

    def drop_for_good(self, scopes: Iterable[ScopeKey]) -> None:
        """Leave nothing of these scopes' vectors in any file of ours; of a folder everything goes.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        if self._chroma.folder is not None:
            self.begin_anew()
            return
        for scope in scopes:
            self.drop(scope)

    def drop(self, scope: ScopeKey) -> None:
        """Delete the scope's collection.

        Raises:
            IndexUnavailable: Chroma does not answer.
        """
        with _translated(), self._lock:
            if self._find(scope) is not None:
                self._collections.pop(scope)
                self._chroma.client().delete_collection(self._name(scope))

    def _name(self, scope: ScopeKey) -> str:
        return f"{self._prefix}-{scope.namespace_id}-{scope.scope_id}"

    def _find(self, scope: ScopeKey) -> "Collection | None":
        if self._chroma.was_never_used:  # small stores never load chromadb, which takes a second and 100 MB
            return None
        from chromadb.errors import NotFoundError

        if scope not in self._collections:
            try:
                found = self._chroma.client().get_collection(self._name(scope), embedding_function=None)
            except NotFoundError:
                return None
            self._collections[scope] = found
        return self._collections[scope]

    def _open(self, scope: ScopeKey) -> "Collection":
        found = self._find(scope)
        if found is None:
            found = self._chroma.client().create_collection(
                self._name(scope),
                embedding_function=None,
                configuration={"hnsw": {"space": "cosine", "ef_search": _EF_SEARCH}},
                metadata={"watermark": 0},
            )
            self._collections[scope] = found
        return found


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
