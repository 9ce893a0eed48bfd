"""What stands in a prompt beside recalled text: notes, what people said of themselves, a summary of history."""

from assistant.lookalikes import claims_role
from assistant.packing import Background
from assistant.prompt_request import PromptRequest
from assistant.recalled_block import Item, speaker
from memory_engine import MemoryEngine, Note, Pattern, Scope

#: The part of the room that each kind may take.
_NOTES_SHARE, _PATTERNS_SHARE, _SUMMARY_SHARE = 0.25, 0.08, 0.15
#: Statements that are considered, those made last.
_STATEMENTS = 6


def background_of(engine: MemoryEngine, request: PromptRequest, scope: Scope) -> list[Background]:
    """The background of a prompt; a prompt of an earlier time has none, because all of it is of now."""
    if request.as_of is not None:
        return []
    notes = [_note(note) for note in engine.notes.of(scope, request.agent)]
    patterns = [_pattern(pattern, request) for pattern in engine.patterns.in_force(scope, _STATEMENTS)]
    return [*notes, *patterns, *_summary(engine, request.conversation_id, scope)]


def _note(note: Note) -> Background:
    source = f"{note.name} (note)" if claims_role(note.name) else note.name
    return Background(
        kind="note", item=Item(heading="notes", source=source, text=note.text), message_ids=(),
        why=f"note {note.name!r}, version {note.version}, written by {note.written_by}", share=_NOTES_SHARE,
        note_id=note.note_id,
    )  # fmt: skip


def _pattern(pattern: Pattern, request: PromptRequest) -> Background:
    shown = pattern.evidence[0].message
    said = Item(
        heading="what people said of themselves",
        source=f"{shown.created_at.date().isoformat()}, {speaker(shown)}",
        text=pattern.text,
    )
    is_own = shown.conversation_id == request.conversation_id and shown.name is None
    why = f"{pattern.pattern_id}: {pattern.kind} about {pattern.slot}, {pattern.state}, shown {pattern.support} times"
    return Background(
        kind="pattern", item=said, message_ids=(shown.message_id,),
        why=why, share=_PATTERNS_SHARE,
        is_foreign=pattern.state == "learned" and not is_own,
    )  # fmt: skip


def _summary(engine: MemoryEngine, conversation_id: str, scope: Scope) -> list[Background]:
    summary = engine.history.summary(conversation_id, scope=scope)
    return [] if summary is None else [
        Background(
            kind="summary", item=Item(heading="earlier in this conversation", source="summary", text=sentence.text),
            message_ids=tuple(citation.message_id for citation in sentence.citations),
            why=f"{summary.summary_id}: part of the history has no room; made by {summary.made_by}",
            share=_SUMMARY_SHARE, for_history=True,
        )
        for sentence in summary.sentences
    ]  # fmt: skip
