"""Checks that the store is sound and that what is derived matches the messages, and mends it while others write."""

from memory_engine.doctor import links, queues, rules, store, strata, vectors
from memory_engine.doctor.finding import Finding
from memory_engine.generation import Generation
from memory_engine.ports import Progress, no_progress
from memory_engine.storage import scopes
from memory_engine.storage.invariants import RULES, stale_derived

__all__ = ["Finding", "examine"]


def examine(generation: Generation, *, now: int, repair: bool, progress: Progress = no_progress) -> list[Finding]:
    """Run every check, mending what can be mended when asked to; `now` in microseconds.

    Raises:
        StoreError: the store does not answer; what was mended stays so.
    """
    database = generation.database
    checks = [store.schema(database), store.file(database), store.room(database), store.writable(database)]
    checks += [store.losses(database, repair), store.references(database, repair), store.spaces(generation)]
    stale = stale_derived(generation.space_id, generation.space.dimension)
    checks += rules.examine(database, [*stale, *RULES], now=now, repair=repair, progress=progress)
    with database.read() as db:
        keys = scopes.all_scopes(db)
    checks.append(links.evidence(database, repair, progress))
    checks.append(strata.derived_rows(generation, keys, repair, progress))
    checks.append(vectors.index(generation, keys, repair, progress))
    checks += queues.waiting(generation, now, repair)
    if repair:
        generation.residents.forget()
    return checks
