"""Checks that the store is sound and that what is derived matches the messages, and mends it while others write."""

from collections.abc import Callable
from functools import partial

from memory_engine.attempts import described
from memory_engine.doctor import links, queues, rules, store, strata, vectors
from memory_engine.doctor.finding import Finding
from memory_engine.errors import blames_item
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
    with database.read() as db:
        keys = scopes.all_scopes(db)
    stale = stale_derived(generation.space_id, generation.space.dimension)
    of_rules = [
        (rule.name, partial(rules.examine, database, [rule], now=now, repair=repair, progress=progress))
        for rule in [*stale, *RULES]
    ]
    checks: list[tuple[str, Callable[[], Finding | list[Finding]]]] = [
        ("schema", partial(store.schema, database)),
        ("database", partial(store.file, database)),
        ("room", partial(store.room, database)),
        ("writable", partial(store.writable, database)),
        ("history", partial(store.losses, database, repair)),
        ("references", partial(store.references, database, repair)),
        ("spaces", partial(store.spaces, generation)),
        *of_rules,
        ("links", partial(links.evidence, database, repair, progress)),
        ("strata", partial(strata.derived_rows, generation, keys, repair, progress)),
        ("vectors", partial(vectors.index, generation, keys, repair, progress)),
        ("outbox", partial(queues.waiting, generation, now, repair)),
        # The last, so that what is mended is done at the next attempt.
        ("set-aside", partial(queues.set_aside_work, database, repair)),
    ]
    found = [finding for name, check in checks for finding in _made(name, check)]
    if repair:
        generation.residents.forget()
    return found


def _made(name: str, check: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """What a check found; rows that it cannot read are found too, and keep no other check from being made."""
    try:
        found = check()
    except Exception as exc:  # a damaged row raises anything
        if not blames_item(exc):
            raise
        advice = "A row that the check reads is damaged: mend it by SQL, or restore a backup."
        return [Finding(check=name, problems=1, detail=f"the check failed: {described(exc)}", advice=advice)]
    return found if isinstance(found, list) else [found]
