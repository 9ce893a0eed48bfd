"""How much a store holds, and how its parts are."""

from dataclasses import dataclass

from memory_engine.errors import StoreError
from memory_engine.joining import Parts
from memory_engine.models import Stats
from memory_engine.storage import (
    changes,
    links,
    messages,
    migrations,
    outbox,
    patterns,
    receipts,
    scopes,
    set_aside,
    summaries,
)
from memory_engine.storage.database import Database
from memory_engine.storage.set_aside import SetAside

#: Items set aside that are named.
_SHOWN = 100
#: The number of a namespace that was never used.
_NONE = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class PartStatus:
    """How a part of the engine is."""

    ok: bool
    detail: str
    #: Whether requests can be served with it as it is.
    serves: bool = True
    #: Background work that was set aside, newest first, and how much there is of it.
    items: tuple[SetAside, ...] = ()
    count: int = 0


def stats(database: Database, namespace: str) -> Stats:
    """How much the namespace holds, by stratum."""
    with database.read() as db:
        found = scopes.find_namespace(db, namespace)
        namespace_id = _NONE if found is None else found
        return Stats(
            **messages.count_rows(db, namespace_id),
            summaries=summaries.count(db, namespace_id),
            links=links.count(db, namespace_id),
            patterns=patterns.count(db, namespace_id),
        )


def of_parts(parts: Parts, namespace: str | None = None) -> dict[str, PartStatus]:
    """How the parts are: database, vectors, embedder, outbox, and what else there is something to say of.

    Background threads that ended are started again. What was set aside is of a namespace, or of all.
    """
    try:
        parts.database.check_owned()
        with parts.database.read() as db:
            waiting, _ = outbox.lag(db)
            changed = changes.count(db)
    except StoreError as exc:
        return {"database": PartStatus(ok=False, detail=exc.message, serves=False)}
    dialect = "SQLite" if parts.database.is_sqlite else "PostgreSQL"
    problem, generation = parts.indexing.problem, parts.generation
    embedder, unread = f"{generation.embedder} ({generation.space.name})", generation.recaller.problem
    return (
        _summaries(parts)
        | _losses(parts.database)
        | _erasures(parts)
        | _pruning(parts)
        | _background(parts, namespace)
        | {
            "database": PartStatus(ok=True, detail=f"{dialect}, schema {migrations.HEAD}"),
            "vectors": _vectors(parts, changed),
            "embedder": PartStatus(ok=unread is None, detail=unread or embedder),
            "outbox": PartStatus(ok=problem is None, detail=f"{waiting} commits and {changed} changes waiting"),
        }
    )


def _vectors(parts: Parts, changed: int) -> PartStatus:
    """How the vector index is, compared with SQL."""
    generation = parts.generation
    shortfall, outage = generation.indexer.shortfall(), generation.index.outage
    if outage is not None:
        waits = f"{shortfall.behind:,} vectors and {changed:,} changes wait for it"
        detail = f"The Chroma server {outage}. Recall is exact from SQL; {waits}."
        return PartStatus(ok=False, detail=detail)
    if shortfall.scopes:
        parts.indexing.notify()  # rows may have been lost without an error
        what = f"{shortfall.behind:,} vectors behind SQL in {shortfall.scopes:,} scopes"
        detail = f"The vector index is {what}: it is being compared and filled. Recall is exact from SQL there."
        return PartStatus(ok=False, detail=detail)
    if (problem := parts.indexing.problem) is not None:
        return PartStatus(ok=False, detail=problem)
    detail = f"exact below {generation.threshold:,} messages in a scope, Chroma from there on"
    return PartStatus(ok=True, detail=detail)


def _summaries(parts: Parts) -> dict[str, PartStatus]:
    """What keeps summaries, links and patterns from being made, or how their writer is, where there is one."""
    if (problem := parts.consolidating.problem) is not None:
        return {"summaries": PartStatus(ok=False, detail=problem)}
    if (rewriter := parts.rewriter) is None:
        return {}
    refused = f"written in the background, {rewriter.refused} refused since the start"
    return {"summaries": PartStatus(ok=rewriter.problem is None, detail=rewriter.problem or refused)}


def _erasures(parts: Parts) -> dict[str, PartStatus]:
    """How many erasures are not proved yet, where there is one."""
    with parts.database.read() as db:
        waiting = receipts.count_pending(db)
    if not waiting:
        return {}
    problem = parts.proving.problem
    return {"erasures": PartStatus(ok=problem is None, detail=problem or f"{waiting} waiting to be proved")}


def _pruning(parts: Parts) -> dict[str, PartStatus]:
    """What keeps the day's pruning from being done, where there is such a thing."""
    problem = parts.pruning.problem
    return {} if problem is None else {"pruning": PartStatus(ok=False, detail=problem)}


def _background(parts: Parts, namespace: str | None) -> dict[str, PartStatus]:
    """Threads that cannot be started again, or else what was set aside, where there is such a thing."""
    if ended := parts.revive():
        detail = "; ".join(f"{name}: {problem}" for name, problem in ended.items())
        return {"background": PartStatus(ok=False, detail=f"Threads cannot be started: {detail}", serves=False)}
    with parts.database.read() as db:
        everywhere = set_aside.count(db)
        count = everywhere if namespace is None else set_aside.count(db, namespace)
        items = set_aside.listed(db, limit=_SHOWN, namespace=namespace) if count else []
    if not everywhere:
        return {}
    detail = f"{everywhere:,} items were set aside after repeated errors: see `memory-engine doctor`"
    return {"background": PartStatus(ok=False, detail=detail, items=tuple(items), count=count)}


def _losses(database: Database) -> dict[str, PartStatus]:
    """What was acknowledged and is gone, where there is such a thing."""
    if database.high_water is None or (lost := database.high_water.lost) is None:
        return {}
    return {"history": PartStatus(ok=False, detail=f"{lost}; `memory-engine doctor` says what to do")}
