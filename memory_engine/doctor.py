"""Checks that what is derived matches the messages, and mends it: derived rows are remade, indexes rebuilt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory_engine.errors import IndexUnavailable
from memory_engine.indexing import Indexer
from memory_engine.models import Message, NewMessage, ScopeKey, to_micros
from memory_engine.recall.resident import ResidentScopes
from memory_engine.remembering import Rememberer
from memory_engine.storage import embeddings, outbox, scopes, terms
from memory_engine.storage.database import Database
from memory_engine.storage.messages import Derived, Entry
from memory_engine.vectors.chroma import ChromaIndex

#: Told what is being done and how many rows of it were done since.
Progress = Callable[[str, int], None]

_BATCH = 500


def no_progress(_what: str, _done: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """The parts of an engine that can be examined."""

    database: Database
    index: ChromaIndex
    indexer: Indexer
    rememberer: Rememberer
    residents: ResidentScopes
    space_id: int
    dimension: int
    threshold: int


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


def examine(patient: Patient, *, repair: bool, progress: Progress = no_progress) -> list[Finding]:
    """Run every check, mending what can be mended when asked to.

    Raises:
        StoreError: the store does not answer.
    """
    with patient.database.read() as db:
        keys = scopes.all_scopes(db)
    findings = [_file(patient), _spaces(patient)]
    findings.append(_derived_rows(patient, keys, repair, progress))
    findings.append(_vector_index(patient, keys, repair, progress))
    findings.append(_outbox(patient, repair))
    if repair:
        patient.residents.forget()
    return findings


def _file(patient: Patient) -> Finding:
    problems = patient.database.integrity_problems()
    detail = "; ".join(problems[:3]) or "the database file is sound"
    return Finding(check="database", problems=len(problems), detail=detail)


def _spaces(patient: Patient) -> Finding:
    with patient.database.read() as db:
        others = embeddings.other_spaces(db, patient.space_id)
    detail = f"also has vectors of {', '.join(others)}" if others else "all vectors are of one space"
    return Finding(check="spaces", problems=0, detail=detail)


def _derived_rows(patient: Patient, keys: Sequence[ScopeKey], repair: bool, progress: Progress) -> Finding:
    missing = repaired = 0
    for key in keys:
        with patient.database.read() as db:
            found = {message.seq: message for message in terms.without_terms(db, key)}
            found |= {m.seq: m for m in embeddings.without_vectors(db, key, patient.space_id)}
        missing += len(found)
        if not repair:
            continue
        lacking = [found[seq] for seq in sorted(found)]
        for start in range(0, len(lacking), _BATCH):
            batch = lacking[start : start + _BATCH]
            _remake(patient, key, batch)
            repaired += len(batch)
            progress("remaking terms and vectors", len(batch))
    detail = f"{missing} messages without terms or vector" if missing else "every message has terms and vector"
    return Finding(check="strata", problems=missing, detail=detail, repaired=repaired)


def _remake(patient: Patient, key: ScopeKey, lacking: Sequence[Message]) -> None:
    entries = patient.rememberer.derive([_entry(message) for message in lacking])
    remade: list[tuple[int, Derived]] = [
        (message.seq, entry.derived)
        for message, entry in zip(lacking, entries, strict=True)
        if entry.derived is not None
    ]
    with patient.database.write() as db:
        terms.insert_terms(db, key, remade)
        vectors = [(seq, derived.vectors) for seq, derived in remade]
        embeddings.insert_vectors(db, key, patient.space_id, vectors)


def _entry(message: Message) -> Entry:
    new = NewMessage(role=message.role, text=message.text, name=message.name)
    return Entry(message_id=message.message_id, message=new, created_at=to_micros(message.created_at), derived=None)


def _vector_index(patient: Patient, keys: Sequence[ScopeKey], repair: bool, progress: Progress) -> Finding:
    lost = repaired = looked_at = 0
    for key in keys:
        with patient.database.read() as db:
            rows = embeddings.count_vectors(db, key, patient.space_id)
        if rows < patient.threshold:
            continue
        looked_at += 1
        try:
            missing = _unreachable(patient, key, progress)
        except IndexUnavailable as exc:
            return Finding(check="vectors", problems=1, detail=exc.message)
        lost += missing
        if missing and repair:
            patient.index.drop(key)
            patient.indexer.catch_up(key, lambda done: progress("rebuilding the vector index", done))
            repaired += missing
    detail = f"{lost} vectors not found by their own query" if lost else f"{looked_at} collections complete"
    return Finding(check="vectors", problems=lost, detail=detail, repaired=repaired)


def _unreachable(patient: Patient, key: ScopeKey, progress: Progress) -> int:
    """How many of the scope's vectors the index does not find when asked for just them."""
    missing, after = 0, 0
    while True:
        with patient.database.read() as db:
            seqs, rows = embeddings.vectors_after(db, key, patient.space_id, after, _BATCH)
        if not len(seqs):
            return missing
        vectors = embeddings.unpack(rows, patient.dimension)
        for seq, vector in zip(seqs.tolist(), vectors, strict=True):
            missing += seq not in patient.index.nearest(key, vector, 20)
        after = int(seqs[-1])
        progress("asking the vector index for each vector", len(seqs))


def _outbox(patient: Patient, repair: bool) -> Finding:
    with patient.database.read() as db:
        waiting, _ = outbox.lag(db)
    done = patient.indexer.drain() if repair and waiting else 0
    return Finding(check="outbox", problems=0, detail=f"{waiting} waiting", repaired=done)
