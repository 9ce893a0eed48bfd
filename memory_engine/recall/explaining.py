"""Why a message was recalled, or at which stage it fell out, and by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_engine.models import Fate, Held
from memory_engine.recall.filters import Filters
from memory_engine.recall.ranking import Ranking, score


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where one message stands in a ranking."""

    at: int
    found: Ranking
    #: The filters that keep it out.
    refusing: Sequence[str]
    #: Positions of what passed the floor, best first.
    passed: NDArray[np.int64]
    floor: float
    #: The relevance under which the asker wants nothing.
    least: float
    wanted: int
    #: Whether it would have been ranked had nobody asked what became of it.
    was_candidate: bool


def parts_of(found: Ranking, positions: NDArray[np.int64]) -> list[dict[str, Any]]:
    """What each ingredient adds to the relevance of each of these messages, and the relevance."""
    columns = {**found.parts, "relevance": found.relevance}
    rows = np.round(np.stack([values[positions] for values in columns.values()], axis=1), 4).tolist()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def funnel(filters: Filters, *, above_floor: int, returned: int) -> dict[str, int]:
    """How many messages were left at each stage."""
    return {
        "messages": len(filters.allowed),
        "passed_filters": int(filters.allowed.sum()),
        "above_floor": above_floor,
        "returned": returned,
    }


def quarantined(held: Held) -> Fate:
    """The fate of a message that is quarantined, or whose conversation is."""
    figures = {"since": held.since.isoformat(), "reason": held.reason}
    return Fate(stage="quarantined", detail="It is kept out of recall.", figures=figures, why={})


def not_indexed() -> Fate:
    """The fate of a message that recall does not look for: an empty one, a tool's, a system's."""
    return Fate(stage="not_indexed", detail="Recall does not look for messages of this kind.", figures={}, why={})


def fate(standing: Standing, why: Mapping[str, Any]) -> Fate:
    """What became of a message, in the order of the stages."""
    if standing.refusing:
        detail = f"Kept out by {', '.join(standing.refusing)}."
        return Fate(stage="filter", detail=detail, figures={"filters": list(standing.refusing)}, why={})
    if not standing.was_candidate:
        detail = "Neither its words nor the vector index named it, so it was not ranked."
        shown = _shown(float(standing.found.relevance[standing.at]))
        return Fate(stage="candidate", detail=detail, figures={"score": shown}, why=why)
    substance = float(standing.found.substance[standing.at])
    if substance < standing.floor:
        return _under_the_floor(standing, substance, why)
    relevance = float(standing.found.relevance[standing.at])
    if relevance < standing.least:
        figures = _gap("score", _shown(relevance), "min_score", _shown(standing.least))
        return Fate(stage="floor", detail="Its score is under min_score.", figures=figures, why=why)
    place = int(np.flatnonzero(standing.passed == standing.at)[0]) + 1
    figures = {"rank": place, "k": standing.wanted, "score": _shown(relevance), "above_floor": len(standing.passed)}
    if place <= standing.wanted:
        return Fate(stage="returned", detail=f"It is hit {place}.", figures=figures, why=why)
    last = float(standing.found.relevance[standing.passed[standing.wanted - 1]])
    figures |= {"last_score": _shown(last), "by": round(last - relevance, 4)}
    return Fate(stage="rank", detail=f"It is number {place} of the {standing.wanted} asked.", figures=figures, why=why)


def _under_the_floor(standing: Standing, substance: float, why: Mapping[str, Any]) -> Fate:
    figures = _gap("substance", substance, "floor", standing.floor)
    return Fate(stage="floor", detail="It has too little to do with the query.", figures=figures, why=why)


def _gap(name: str, value: float, bound_name: str, bound: float) -> dict[str, Any]:
    return {name: round(value, 4), bound_name: round(bound, 4), "by": round(bound - value, 4)}


def _shown(relevance: float) -> float:
    return round(float(score(np.array([relevance]))[0]), 6)
