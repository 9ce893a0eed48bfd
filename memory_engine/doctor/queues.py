"""Checks of what waits: the outbox, and edits and erasures that the vector index has still to follow."""

from memory_engine.doctor.finding import REPAIR, Finding
from memory_engine.errors import MemoryEngineError
from memory_engine.generation import Generation
from memory_engine.storage import changes, outbox, set_aside
from memory_engine.storage.database import Database
from memory_engine.storage.set_aside import SetAside

#: Microseconds after which what waits in the outbox should have been done, in a batch of the slowest embedder too.
_LATE = 15 * 60 * 1_000_000
#: Items set aside that are named.
_NAMED = 100
#: Changes that wait beyond what a burst leaves.
_MANY = 1_000


def waiting(generation: Generation, now: int, repair: bool) -> list[Finding]:
    """How much waits, and whether it waits too long; `now` in microseconds."""
    problem = _work(generation) if repair else ""
    with generation.database.read() as db:
        rows, since = outbox.lag(db)
        to_follow = len(changes.waiting(db, _MANY))
    late = rows if since is not None and now - since > _LATE else 0
    minutes = 0 if since is None else max(0, now - since) // 60_000_000
    detail = f"{rows:,} waiting" + (f", the oldest for {minutes:,} minutes" if late else "")
    advice = f"{problem or REPAIR}" if late or problem else ""
    return [
        Finding(check="outbox", problems=late, detail=detail, advice=advice),
        Finding(
            check="changes",
            problems=to_follow if to_follow >= _MANY else 0,
            detail=f"{to_follow:,} edits and erasures wait for the vector index",
            advice=advice if to_follow >= _MANY else "",
        ),
    ]


def _work(generation: Generation) -> str:
    try:
        generation.indexer.work()
    except MemoryEngineError as exc:
        return exc.message
    return ""


def set_aside_work(database: Database, repair: bool) -> Finding:
    """Name the background work that failed too often; a repair queues it again."""
    with database.read() as db:
        count = set_aside.count(db)
        named = "; ".join(_named(item) for item in set_aside.listed(db, limit=_NAMED))
    queued = 0
    if repair and count:
        with database.write() as db:
            queued = set_aside.requeue(db)
    more = f"; and {count - _NAMED:,} more" if count > _NAMED else ""
    detail = f"{count:,} items were set aside: {named}{more}" if count else "no background work was set aside"
    advice = "`memory-engine doctor --repair` queues them again." if count else ""
    return Finding(check="set-aside", problems=count, detail=detail, repaired=min(count, queued), advice=advice)


def _named(item: SetAside) -> str:
    of = f"conversation {item.conversation_id!r} ({item.thread_id})" if item.conversation_id else f"item {item.item!r}"
    whose = "" if item.namespace is None else f" of {item.namespace}/{item.user or 'the default user'}"
    return f"{item.stage} of {of}{whose}, {item.attempts} attempts, {item.error}"
