"""/v1/memory/patterns and /notes: what was learned, and what always stands in the prompt."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.deps import NamespaceDep, ScopeDep, ServicesDep
from api.exact import EXACT_OF_USER
from api.lanes import LaneRoute
from api.schemas.knowledge import CorrectionIn, NoteIn, NoteOut, PatternOut, note_out, pattern_out
from api.schemas.memory import LARGEST
from memory_engine import Scope

router = APIRouter(prefix="/v1/memory", tags=["knowledge"], route_class=LaneRoute)


@router.get("/patterns")
def patterns(
    services: ServicesDep,
    scope: ScopeDep,
    kind: Annotated[str | None, Query()] = None,
    everything: Annotated[bool, Query(description="Also what was superseded or dismissed.")] = False,
) -> dict[str, Any]:
    """What repeats, and what people state of themselves, those seen last first, with the messages that show it."""
    found = services.engine.patterns.of(scope, kind, everything=everything)
    return _listed([pattern_out(pattern).model_dump(mode="json") for pattern in found], "id")


@router.post("/patterns/{pattern_id}/confirm")
def confirm(pattern_id: str, services: ServicesDep, scope: ScopeDep) -> PatternOut:
    """Say that a pattern is right. A rule that was learned is in no prompt until then."""
    return pattern_out(services.engine.patterns.judge(scope, pattern_id, "confirmed"))


@router.post("/patterns/{pattern_id}/dismiss", dependencies=[EXACT_OF_USER])
def dismiss(pattern_id: str, services: ServicesDep, scope: ScopeDep) -> PatternOut:
    """Say that a pattern is none: it is shown no more, and not learned again."""
    return pattern_out(services.engine.patterns.judge(scope, pattern_id, "dismissed"))


@router.post("/patterns/{pattern_id}/correct")
def correct(pattern_id: str, body: CorrectionIn, services: ServicesDep, scope: ScopeDep) -> PatternOut:
    """Say what a pattern should say."""
    return pattern_out(services.engine.patterns.judge(scope, pattern_id, "corrected", body.text))


@router.get("/notes")
def notes(services: ServicesDep, scope: ScopeDep, agent: Annotated[str | None, Query()] = None) -> dict[str, Any]:
    """The notes in force, by name; with an agent, those that stand in its prompt."""
    found = services.engine.notes.of(scope, agent)
    return _listed([note_out(note).model_dump(mode="json") for note in found], "name")


@router.get("/notes/{name}")
def note(
    name: str, services: ServicesDep, scope: ScopeDep, version: Annotated[int | None, Query(ge=1, le=LARGEST)] = None
) -> NoteOut:
    """A note, or as it was at a version."""
    return note_out(services.engine.notes.get(scope, name, version))


@router.put("/notes/{name}")
def write_note(name: str, body: NoteIn, services: ServicesDep, namespace: NamespaceDep) -> NoteOut:
    """Write a note, or its next version."""
    scope = Scope(namespace=namespace, user=body.user)
    return note_out(services.engine.notes.put(scope, name, body.text, agent=body.agent))


@router.delete("/notes/{name}", status_code=204, dependencies=[EXACT_OF_USER])
def remove_note(name: str, services: ServicesDep, scope: ScopeDep) -> Response:
    """Remove a note with all its versions."""
    services.engine.notes.remove(scope, name)
    return Response(status_code=204)


def _listed(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    ids = [row[key] for row in rows]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": rows, **ends, "has_more": False}
