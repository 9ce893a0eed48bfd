"""Checks that what is derived matches the messages, and mends it: derived rows are remade, indexes rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass

from memory_engine.errors import IndexUnavailable
from memory_engine.generation import Generation
from memory_engine.models import ScopeKey, to_micros
from memory_engine.ports import Progress, no_progress
from memory_engine.storage import embeddings, outbox, scopes, terms
from memory_engine.storage.database import Transaction

_BATCH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    #: How many things are wrong; 0 is healthy.
    problems: int
    detail: str
    #: How many of them were mended.
    repaired: int = 0

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong any more."""
        return self.repaired >= self.problems


def examine(generation: Generation, *, repair: bool, progress: Progress = no_progress) -> list[Finding]:
    """Run every check, mending what can be mended when asked to.

    Raises:
        StoreError: the store does not answer.
    """
    with generation.database.read() as db:
        keys = scopes.all_scopes(db)
    findings = [_file(generation), _spaces(generation)]
    findings.append(_derived_rows(generation, keys, repair, progress))
    findings.append(_vector_index(generation, keys, repair, progress))
    findings.append(_outbox(generation, repair))
    if repair:
        generation.residents.forget()
    return findings


def _file(generation: Generation) -> Finding:
    problems = generation.database.integrity_problems()
    detail = "; ".join(problems[:3]) or "the database file is sound"
    return Finding(check="database", problems=len(problems), detail=detail)


def _spaces(generation: Generation) -> Finding:
    with generation.database.read() as db:
        others = embeddings.other_spaces(db, generation.space_id)
    detail = f"also has vectors of {', '.join(others)}" if others else "all vectors are of one space"
    return Finding(check="spaces", problems=0, detail=detail)


def _derived_rows(generation: Generation, keys: Sequence[ScopeKey], repair: bool, progress: Progress) -> Finding:
    missing = repaired = 0
    for key in keys:
        with generation.database.read() as db:
            without_terms = terms.without_terms(db, key)
            missing += len(without_terms) + _late(db, generation, key)
        if not repair:
            continue
        for start in range(0, len(without_terms), _BATCH):
            batch = without_terms[start : start + _BATCH]
            remade = [(m, generation.rememberer.analysed(m, to_micros(m.created_at))) for m in batch]
            with generation.database.write() as db:
                terms.insert_terms(db, key, remade)
            progress("remaking terms", len(batch))
        repaired += max(len(without_terms), generation.rememberer.embed_lacking(key, progress=progress))
    detail = f"{missing} messages without terms or vector" if missing else "every message has terms and vector"
    return Finding(check="strata", problems=missing, detail=detail, repaired=repaired)


def _late(db: Transaction, generation: Generation, key: ScopeKey) -> int:
    """How many of the scope's messages have terms and no vector, though nothing waits to make it."""
    waiting = None if generation.rememberer.embeds_at_once else outbox.first_waiting(db, key)
    return embeddings.count_lacking(db, key, generation.space_id) if waiting is None else 0


def _vector_index(generation: Generation, keys: Sequence[ScopeKey], repair: bool, progress: Progress) -> Finding:
    lost = repaired = looked_at = 0
    for key in keys:
        with generation.database.read() as db:
            rows = embeddings.count_vectors(db, key, generation.space_id)
        if rows < generation.threshold:
            continue
        looked_at += 1
        try:
            missing = _unreachable(generation, key, progress)
        except IndexUnavailable as exc:
            return Finding(check="vectors", problems=1, detail=exc.message)
        lost += missing
        if missing and repair:
            generation.indexer.rebuild(key, progress)
            repaired += missing
    detail = f"{lost} vectors not found by their own query" if lost else f"{looked_at} collections complete"
    return Finding(check="vectors", problems=lost, detail=detail, repaired=repaired)


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


def _outbox(generation: Generation, repair: bool) -> Finding:
    with generation.database.read() as db:
        waiting, _ = outbox.lag(db)
    done = generation.indexer.drain() if repair and waiting else 0
    return Finding(check="outbox", problems=0, detail=f"{waiting} waiting", repaired=done)
