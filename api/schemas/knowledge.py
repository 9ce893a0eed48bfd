"""Bodies of the routes on patterns and notes."""

from typing import Any, Literal

from pydantic import BaseModel, StrictStr

from api.schemas.memory import Body, Moment
from memory_engine import Note, Pattern


class CorrectionIn(Body):
    """What a pattern should say."""

    text: StrictStr


class NoteIn(Body):
    """A note to write."""

    text: StrictStr
    agent: StrictStr | None = None
    user: StrictStr | None = None


class ShownOut(BaseModel):
    """A message that shows a pattern."""

    message_id: str
    conversation_id: str
    text: str
    created_at: Moment


class PatternOut(BaseModel):
    """What repeats, or what a person states of themself."""

    object: Literal["pattern"] = "pattern"
    id: str
    kind: str
    text: str
    slot: str
    state: str
    support: int
    first_seen: Moment
    last_seen: Moment
    every_days: float | None
    superseded_by: str | None
    made_by: str
    detail: dict[str, Any]
    evidence: list[ShownOut]


class NoteOut(BaseModel):
    """A note."""

    object: Literal["note"] = "note"
    name: str
    text: str
    version: int
    agent: str | None
    written_by: str
    written_at: Moment


def pattern_out(pattern: Pattern) -> PatternOut:
    """A pattern as clients see it."""
    evidence = [
        ShownOut(
            message_id=each.message.message_id,
            conversation_id=each.message.conversation_id,
            text=each.text,
            created_at=each.message.created_at,
        )
        for each in pattern.evidence
    ]
    return PatternOut(
        id=pattern.pattern_id,
        kind=pattern.kind,
        text=pattern.text,
        slot=pattern.slot,
        state=pattern.state,
        support=pattern.support,
        first_seen=pattern.first_seen,
        last_seen=pattern.last_seen,
        every_days=pattern.every_days,
        superseded_by=pattern.superseded_by,
        made_by=pattern.made_by,
        detail=dict(pattern.detail),
        evidence=evidence,
    )


def note_out(note: Note) -> NoteOut:
    """A note as clients see it."""
    return NoteOut.model_validate(note, from_attributes=True)
