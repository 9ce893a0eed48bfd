"""Where the memory's parts are joined: the only place that names the real ones."""

import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from memory_engine import suppression
from memory_engine.attempts import Attempts
from memory_engine.canaries import Hasher
from memory_engine.consolidation.consolidator import Consolidator
from memory_engine.consolidation.quoting import Quoter
from memory_engine.consolidation.rewriter import Rewriter
from memory_engine.digests import Digests
from memory_engine.embedding import DEFAULT_EMBEDDER, EmbedderOptions, open_embedder
from memory_engine.erasure import Eraser
from memory_engine.errors import EmbedderMismatch
from memory_engine.generation import Generation
from memory_engine.indexing import BackgroundWorker, Indexer
from memory_engine.lexical.analysis import ANALYSER_VERSION
from memory_engine.links.connections import Connections
from memory_engine.links.grouper import Grouper
from memory_engine.links.linker import Linker
from memory_engine.patterns.learner import Learner
from memory_engine.ports import Clock, Embedder, SummaryWriter
from memory_engine.proving import Files, Prover
from memory_engine.pruning import Pruner
from memory_engine.recall.candidates import Candidates
from memory_engine.recall.question import QuestionReader
from memory_engine.recall.recaller import Recaller
from memory_engine.recall.resident import ResidentScopes
from memory_engine.remembering import Rememberer
from memory_engine.storage import embeddings, migrations, scopes, store_settings
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.derivation_queue import Stage
from memory_engine.storage.directory import DataDirectory
from memory_engine.vectors.chroma import Chroma, ChromaIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a memory is opened with; `MemoryEngine.open` says what each means."""

    data_dir: Path
    database_url: str | None
    chroma_url: str | None
    embedder: str | None
    embedder_options: EmbedderOptions
    clock: Clock
    index_threshold: int
    summary_writer: SummaryWriter | None
    redact_secrets: bool
    pool_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Store:
    """What the generations of a store share."""

    options: Options
    database: Database
    chroma: Chroma
    store_id: str
    term_key: bytes
    #: Makes the hashes of what was erased.
    erasure_key: bytes
    #: Counts how often items of background work failed.
    attempts: Attempts
    #: Set when the store is to be closed: whoever works through a queue begins nothing else of it.
    closing: threading.Event = field(default_factory=threading.Event)


class Parts:
    """The parts of an open memory. Its generation can be replaced while it is in use."""

    def __init__(self, directory: DataDirectory | None, store: _Store, generation: Generation) -> None:
        #: Owned by this process; None when everything is on servers.
        self._directory = directory
        self._store = store
        self.database = store.database
        self.clock = store.options.clock
        self.generation = generation
        self._moving = threading.Lock()
        #: Counts how often items of background work failed.
        self.attempts = attempts = store.attempts
        clock = store.options.clock
        self._join_stages(store, clock)
        hasher = Hasher.of(store.erasure_key)
        self.eraser = Eraser(store.database, clock, Digests(store.erasure_key), hasher)
        self.connections = Connections(store.database, clock, attempts, self.eraser.told)
        files = Files(
            database=store.database, folder=None if directory is None else directory.path, chroma=store.chroma,
            serving=self.serving,
        )  # fmt: skip
        self.pruner = Pruner(
            database=store.database, clock=clock, indexer=lambda: self.generation.indexer,
            eraser=self.eraser, attempts=attempts, closing=store.closing,
        )  # fmt: skip
        self.prover = Prover(files, self.eraser, hasher, clock, attempts=attempts, closing=store.closing)
        # Each has a thread of its own, so that none waits for another: messages get their vectors while summaries are
        # made, proofs look through every file once for all that was erased meanwhile, pruning gives way to writers for
        # as long as it works, and the one above waits for its writer.
        self.indexing = self._worker(lambda: self.generation.indexer.work(), at_once=True)
        store.chroma.on_failure = self.pruner.on_waiting = self.indexing.notify
        self.consolidating = self._worker(self.consolidate)
        self.proving = self._worker(lambda: self.prover.work())
        self.pruning = self._worker(self.pruner.work)

    def _join_stages(self, store: _Store, clock: Clock) -> None:
        """Join the stages that derive summaries, links and patterns."""
        # Sentences are compared by the embedder that needs nothing, whichever makes the messages' vectors.
        sentences = open_embedder(DEFAULT_EMBEDDER)
        quoter = Quoter(sentences, store.options.clock, key=store.term_key)
        attempts = self.attempts
        stages: list[Stage] = ["links", "patterns"]
        self.rewriter: Rewriter | None = None
        self.writing: BackgroundWorker | None = None
        if (writer := store.options.summary_writer) is not None:
            stages.append("writing")
            self.rewriter = rewriter = Rewriter(store.database, clock, attempts, writer)
            self.writing = self._worker(lambda: rewriter.work(store.closing.is_set))
        self.consolidator = Consolidator(
            store.database, quoter, clock, embedder=sentences, attempts=attempts, stages=stages
        )
        self.linker = Linker(
            store.database, clock, attempts, lambda: (self.generation.recaller, self.generation.residents),
            embedder=sentences, term_key=store.term_key,
        )  # fmt: skip
        self.grouper = Grouper(store.database, quoter, clock, attempts)
        self.learner = Learner(
            store.database, clock, attempts, lambda: self.generation.residents, term_key=store.term_key
        )

    def _worker(self, work: Callable[[], object], *, at_once: bool = False) -> BackgroundWorker:
        """A worker that, before each round, starts the others again where they ended."""

        def watch_and_work() -> None:
            self.revive()
            work()

        return BackgroundWorker(watch_and_work, at_once=at_once, are_waiting=self.attempts.are_waiting)

    def consolidate(self, *, all_that_wait: bool = False) -> int:
        """Bring what is derived up with what was said, where it is due or, if asked, everywhere.

        Returns:
            How many conversations were summed up anew.

        Raises:
            MemoryEngineError: the store does not answer; what is done stays done.
        """
        store_closes = self._store.closing.is_set
        until = store_closes if all_that_wait else (lambda: store_closes() or self.pruner.at_work)
        done = self.consolidator.finish(until) if all_that_wait else self.consolidator.work(until)
        if done and self.writing is not None:
            self.writing.notify()
        self.connections.work()
        for stage in (self.linker, self.grouper, self.learner):
            stage.work(until)
        return done

    def revive(self) -> dict[str, str]:
        """Start each background thread again that ended; returns what cannot be started, with what ended it."""
        return {name: worker.problem or "" for name, worker in self._workers.items() if not worker.revive()}

    def serving(self) -> Generation:
        """The generation in use; where another process has moved the store to a new one, that.

        Raises:
            EmbedderUnavailable: the store has moved to an embedder that cannot be had here.
        """
        if self._directory is not None:  # nobody else can move it
            return self.generation
        with self.database.read() as db:
            name = store_settings.setting(db, "embedder")
        with self._moving:
            if name is not None and name != self.generation.embedder:
                self.generation = self.open_generation(name)
            return self.generation

    def open_generation(self, embedder: str) -> Generation:
        """The parts for this embedder's space, beside those in use.

        Raises:
            EmbedderUnavailable: the embedder cannot be had.
        """
        with self.database.read() as db:
            opened = _open_embedder(db, embedder, self._store.options)
        with self.database.write_alone() as db:
            space_id = embeddings.ensure_space(db, opened.space)
        return _generation(self._store, embedder, opened, space_id)

    def start(self) -> None:
        """Begin to work in the background."""
        for worker in self._workers.values():
            worker.start()

    def notify(self) -> None:
        """Something was committed."""
        self.indexing.notify()
        self.consolidating.notify()
        if self.writing is not None:
            self.writing.notify()

    def try_again(self) -> None:
        """Have the background look at what was set aside and is queued again."""
        self.attempts.look_again()
        for worker in self._workers.values():
            worker.notify()

    def stop_background(self) -> None:
        """Finish the round at hand of each kind of background work, and begin no other."""
        if self._store.options.summary_writer is not None:
            self._store.options.summary_writer.stop()
        for worker in self._workers.values():
            worker.stop()

    @property
    def _workers(self) -> dict[str, BackgroundWorker]:
        workers = {
            "indexing": self.indexing, "consolidation": self.consolidating, "proofs of erasures": self.proving,
            "pruning": self.pruning,
        }  # fmt: skip
        return workers if self.writing is None else {**workers, "writing": self.writing}

    def close(self) -> None:
        """Break the background work off where it can go on, close the database, and let go of the folder."""
        self._store.closing.set()
        self.stop_background()
        self._store.chroma.close()
        self.database.close()
        if self._directory is not None:
            self._directory.close()


def join(options: Options) -> Parts:
    """Open what the options name, migrate the database, and begin to work in the background.

    Raises:
        StoreInUse: another process owns the folder, or serves the PostgreSQL database.
        StoreUnavailable: the folder or the database cannot be used.
        SchemaMismatch: a later version of the program wrote the database.
        EmbedderMismatch: the store's vectors are another embedder's than the one that was asked for.
        EmbedderUnavailable: the embedder cannot be had.
    """
    with ExitStack() as opened:
        directory = None
        if options.database_url is None or options.chroma_url is None:
            directory = opened.enter_context(closing(DataDirectory(options.data_dir)))
        url = options.database_url or Database.url_in(options.data_dir)
        database = opened.enter_context(closing(Database(url, pool_size=options.pool_size)))
        database.own()
        migrations.upgrade(database)
        _look_for_losses(database)
        parts = _joined(options, directory, database)
        opened.pop_all()  # from here on the parts close themselves
    parts.start()
    return parts


def _look_for_losses(database: Database) -> None:
    if database.high_water is None:
        return
    with database.read() as db:
        counters = scopes.counters(db)
    database.high_water.compare(counters)


def _joined(options: Options, directory: DataDirectory | None, database: Database) -> Parts:
    with database.read() as db:
        name = _chosen(store_settings.setting(db, "embedder"), options.embedder)
        embedder = _open_embedder(db, name, options)
    with database.write_alone() as db:
        # Another process may have chosen meanwhile.
        _chosen(store_settings.set_once(db, "embedder", name), name)
        space_id = embeddings.ensure_space(db, embedder.space)
        store_settings.set_once(db, "analyser", str(ANALYSER_VERSION))
        store = _Store(
            options=options,
            database=database,
            chroma=_chroma(options),
            store_id=store_settings.set_once(db, "store_id", secrets.token_hex(4)),
            term_key=bytes.fromhex(store_settings.set_once(db, "term_key", secrets.token_hex(16))),
            erasure_key=bytes.fromhex(store_settings.set_once(db, suppression.KEY, secrets.token_hex(32))),
            attempts=Attempts(database, options.clock),
        )
    return Parts(directory, store, _generation(store, name, embedder, space_id))


def _chosen(kept: str | None, wanted: str | None) -> str:
    if kept is not None and wanted is not None and kept != wanted:
        text = f"The vectors of this store are made by {kept!r}, not by {wanted!r}"
        raise EmbedderMismatch(f"{text}: `memory-engine reindex --embedder {wanted}` makes them anew.")
    return kept or wanted or DEFAULT_EMBEDDER


def _open_embedder(db: Transaction, name: str, options: Options) -> Embedder:
    return open_embedder(name, options.embedder_options, known_dimension=embeddings.known_dimension(db, name))


def _generation(store: _Store, name: str, embedder: Embedder, space_id: int) -> Generation:
    database, space, threshold = store.database, embedder.space, store.options.index_threshold
    index = ChromaIndex(store.chroma, store_id=store.store_id, space_id=space_id)
    residents = ResidentScopes(database, space_id=space_id, dimension=space.dimension, embeds_at_once=embedder.is_local)
    recaller = Recaller(
        database, residents, Candidates(residents, index, threshold), QuestionReader(embedder, store.term_key),
        store.options.clock, space_id=space_id,
    )  # fmt: skip
    rememberer = Rememberer(
        database, embedder, store.options.clock,
        term_key=store.term_key, space_id=space_id, redacts=store.options.redact_secrets,
    )  # fmt: skip
    indexer = Indexer(
        database, index, rememberer, residents,
        attempts=store.attempts, space_id=space_id, threshold=threshold, closing=store.closing,
    )  # fmt: skip
    return Generation(
        database=database,
        embedder=name,
        space=space,
        space_id=space_id,
        threshold=threshold,
        index=index,
        residents=residents,
        recaller=recaller,
        rememberer=rememberer,
        indexer=indexer,
    )


def _chroma(options: Options) -> Chroma:
    if options.chroma_url is not None:
        return Chroma.server(options.chroma_url, options.clock)
    return Chroma.embedded(options.data_dir / "chroma")
