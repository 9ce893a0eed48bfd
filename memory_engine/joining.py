"""Where the memory's parts are joined: the only place that names the real ones."""

import secrets
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from memory_engine.doctor import Patient
from memory_engine.embedding import open_embedder
from memory_engine.indexing import Indexer, IndexingWorker
from memory_engine.lexical.analysis import ANALYSER_VERSION
from memory_engine.ports import Clock
from memory_engine.recall.recaller import Recaller
from memory_engine.recall.resident import ResidentScopes
from memory_engine.remembering import Rememberer
from memory_engine.storage import embeddings, migrations, store_settings
from memory_engine.storage.database import Database
from memory_engine.storage.directory import DataDirectory
from memory_engine.vectors.chroma import ChromaIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a memory is opened with; `MemoryEngine.open` says what each means."""

    data_dir: Path
    database_url: str | None
    chroma_url: str | None
    embedder: str
    clock: Clock
    index_threshold: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The parts of an open memory."""

    #: Owned by this process; None when everything is on servers.
    directory: DataDirectory | None
    database: Database
    clock: Clock
    rememberer: Rememberer
    recaller: Recaller
    worker: IndexingWorker
    patient: Patient

    def close(self) -> None:
        """Finish the background step at hand, close the database, and let go of the folder."""
        self.worker.stop()
        self.patient.index.close()
        self.database.close()
        if self.directory is not None:
            self.directory.close()


def join(options: Options) -> Parts:
    """Open what the options name, migrate the database, and start the background worker.

    Raises:
        StoreInUse: another process owns the folder.
        StoreUnavailable: the folder or the database cannot be used.
        SchemaMismatch: a later version of the program wrote the database.
        EmbedderUnavailable: the embedder cannot be had.
    """
    with ExitStack() as opened:
        directory = None
        if options.database_url is None or options.chroma_url is None:
            directory = opened.enter_context(closing(DataDirectory(options.data_dir)))
        database = opened.enter_context(closing(Database(options.database_url or Database.url_in(options.data_dir))))
        migrations.upgrade(database)
        parts = _joined(options, directory, database)
        opened.pop_all()  # from here on the parts close themselves
    parts.worker.start()
    return parts


def _joined(options: Options, directory: DataDirectory | None, database: Database) -> Parts:
    embedder = open_embedder(options.embedder)
    with database.write_alone() as db:
        store_id = store_settings.set_once(db, "store_id", secrets.token_hex(4))
        term_key = bytes.fromhex(store_settings.set_once(db, "term_key", secrets.token_hex(16)))
        store_settings.set_once(db, "analyser", str(ANALYSER_VERSION))
        space_id = embeddings.ensure_space(db, embedder.space)
    index = _index(options, store_id=store_id, space_id=space_id)
    dimension, threshold = embedder.space.dimension, options.index_threshold
    residents = ResidentScopes(database, space_id=space_id, dimension=dimension)
    recaller = Recaller(database, residents, embedder, term_key=term_key, space_id=space_id)
    recaller.use_index(index, threshold)
    rememberer = Rememberer(database, embedder, options.clock, term_key=term_key, space_id=space_id)
    indexer = Indexer(database, index, space_id=space_id, dimension=dimension, threshold=threshold)
    patient = Patient(
        database=database,
        index=index,
        indexer=indexer,
        rememberer=rememberer,
        residents=residents,
        space_id=space_id,
        dimension=dimension,
        threshold=threshold,
    )
    return Parts(
        directory=directory,
        database=database,
        clock=options.clock,
        rememberer=rememberer,
        recaller=recaller,
        worker=IndexingWorker(indexer),
        patient=patient,
    )


def _index(options: Options, *, store_id: str, space_id: int) -> ChromaIndex:
    if options.chroma_url is not None:
        return ChromaIndex.server(options.chroma_url, store_id=store_id, space_id=space_id)
    return ChromaIndex.embedded(options.data_dir / "chroma", store_id=store_id, space_id=space_id)
