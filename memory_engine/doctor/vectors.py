"""The check of the vector index: each vector is found by its own query."""

from collections.abc import Sequence

from memory_engine.doctor.finding import REPAIR, Finding
from memory_engine.errors import IndexUnavailable
from memory_engine.generation import Generation
from memory_engine.models import ScopeKey
from memory_engine.ports import Progress
from memory_engine.storage import embeddings, outbox, scopes

_BATCH = 500


def index(generation: Generation, keys: Sequence[ScopeKey], repair: bool, progress: Progress) -> Finding:
    """Ask for every vector; what cannot be opened or is incomplete is made anew from SQL."""
    large = [key for key in keys if _is_indexed(generation, key)]
    try:
        missing = {key: _unreachable(generation, key, progress) for key in large}
    except IndexUnavailable as exc:
        return _unusable(generation, large, repair, progress, exc)
    lost = sum(missing.values())
    if repair and lost:
        try:
            for key in large:
                if missing[key]:
                    generation.indexer.rebuild(key, progress)
        except IndexUnavailable as exc:
            return _unusable(generation, large, repair, progress, exc)
    detail = f"{lost} vectors not found by their own query" if lost else f"{len(large)} collections complete"
    repaired = lost if repair else 0
    return Finding(check="vectors", problems=lost, detail=detail, repaired=repaired, advice=REPAIR if lost else "")


def _unusable(
    generation: Generation, keys: Sequence[ScopeKey], repair: bool, progress: Progress, problem: IndexUnavailable
) -> Finding:
    """Chroma's files are broken, or its server is away: recall goes on by SQL until it is there again."""
    if not repair:
        return Finding(check="vectors", problems=1, detail=problem.message, advice=REPAIR)
    try:
        generation.index.begin_anew()
        for key in keys:
            generation.indexer.rebuild(key, progress)
    except IndexUnavailable as exc:
        advice = "See to the Chroma server, or stop the service, remove the folder chroma, and start it again."
        return Finding(check="vectors", problems=1, detail=exc.message, advice=advice)
    return Finding(check="vectors", problems=1, detail=f"made anew: {problem.message}", repaired=1)


def _is_indexed(generation: Generation, key: ScopeKey) -> bool:
    with generation.database.read() as db:
        if scopes.marks(db, key)[0] < generation.threshold:
            return False  # as many messages were never said; one of several chunks has several vectors
        return embeddings.count_vectors(db, key, generation.space_id) >= generation.threshold


def _unreachable(generation: Generation, key: ScopeKey, progress: Progress) -> int:
    """How many of the scope's vectors the index does not find when asked for just them.

    Those that the outbox still has to bring there are not looked for.
    """
    with generation.database.read() as db:
        waiting = outbox.first_waiting(db, key)
    missing, after = 0, 0
    while True:
        with generation.database.read() as db:
            seqs, rows = embeddings.vectors_after(db, key, generation.space_id, after, _BATCH)
        if not len(seqs):
            return missing
        vectors = embeddings.unpack(rows, generation.space.dimension)
        for seq, vector in zip(seqs.tolist(), vectors, strict=True):
            due = waiting is None or seq < waiting
            missing += due and seq not in generation.index.nearest(key, vector, 20)
        after = int(seqs[-1])
        progress("asking the vector index for each vector", len(seqs))
