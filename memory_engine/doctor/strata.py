"""The check that every message has its terms and its vector."""

from collections.abc import Sequence

from memory_engine.doctor.finding import REPAIR, Finding
from memory_engine.doctor.rules import PIECE
from memory_engine.generation import Generation
from memory_engine.models import ScopeKey, to_micros
from memory_engine.ports import Progress
from memory_engine.storage import embeddings, outbox, terms
from memory_engine.storage.database import Transaction


def derived_rows(generation: Generation, keys: Sequence[ScopeKey], repair: bool, progress: Progress) -> Finding:
    """Look for what is not there, and make it."""
    missing = repaired = 0
    for key in keys:
        with generation.database.read() as db:
            without_terms = terms.without_terms(db, key)
            missing += len(without_terms) + _late(db, generation, key)
        if not repair:
            continue
        for start in range(0, len(without_terms), PIECE):
            batch = without_terms[start : start + PIECE]
            remade = [(m, generation.rememberer.analysed(m, to_micros(m.created_at))) for m in batch]
            with generation.database.write() as db:
                terms.insert_terms(db, key, remade)
            progress("remaking terms", len(batch))
        repaired += max(len(without_terms), generation.rememberer.embed_lacking(key, progress=progress))
    detail = f"{missing} messages without terms or vector" if missing else "every message has terms and vector"
    advice = REPAIR if missing else ""
    return Finding(check="strata", problems=missing, detail=detail, repaired=repaired, advice=advice)


def _late(db: Transaction, generation: Generation, key: ScopeKey) -> int:
    """How many of the scope's messages have terms and no vector, though nothing waits to make it."""
    waiting = None if generation.rememberer.embeds_at_once else outbox.first_waiting(db, key)
    return embeddings.count_lacking(db, key, generation.space_id) if waiting is None else 0
