"""Patterns and notes as they are asked for, and what people say of them."""

from memory_engine.checks import check_name, check_text
from memory_engine.errors import InvalidInput, MessageNotFound, NoteNotFound, PatternNotFound
from memory_engine.models import NO_SOURCES, Note, NoteSources, Pattern, Scope, ScopeKey, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import notes, patterns, scopes
from memory_engine.storage.database import Database, Transaction
from memory_engine.storage.notes import NewNote

#: How many messages, or conversations for topics, show a pattern before it is one.
LEAST_SUPPORT = {
    "statement": 1, "question": 2, "topic": 3, "tool_sequence": 2, "tool_argument": 3, "tool_failure": 1,
}  # fmt: skip
#: Characters of a note or of a correction, and notes of one scope.
LONGEST_NOTE, MOST_NOTES = 4_000, 32


class Patterns:
    """What a store learned."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, scope: Scope, kind: str | None = None, *, everything: bool = False) -> list[Pattern]:
        """The patterns that stand, those seen last first; with `everything` also superseded and dismissed ones.

        Raises:
            InvalidInput: there is no such kind.
        """
        if kind is not None and kind not in LEAST_SUPPORT:
            raise InvalidInput(f"The kind must be one of {', '.join(LEAST_SUPPORT)}.", param="kind")
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = [] if key is None else patterns.in_scope(db, key, kind)
        shown = [pattern for pattern in found if pattern.support >= LEAST_SUPPORT.get(pattern.kind, 1)]
        return [pattern for pattern in shown if everything or pattern.stands]

    def in_force(self, scope: Scope, limit: int) -> list[Pattern]:
        """Return the newest statements in force, `limit` at most.

        A statement is in force when nothing newer contradicts it and it does not wait for a person to confirm it.
        """
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            return [] if key is None else patterns.in_force(db, key, "statement", limit)

    def judge(self, scope: Scope, pattern_id: str, state: str, correction: str | None = None) -> Pattern:
        """Note that a person confirms, dismisses or corrects a pattern.

        Raises:
            PatternNotFound: there is none of that id in this scope.
            InvalidInput: the correction is empty or too long.
        """
        if correction is not None and not 0 < len(check_text(correction, "text").strip()) <= LONGEST_NOTE:
            raise InvalidInput(f"A correction has 1 to {LONGEST_NOTE:,} characters.", param="text")
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            if key is None or not patterns.set_state(db, key, pattern_id, state, correction):
                raise PatternNotFound(f"There is no pattern {pattern_id!r}.", param="pattern_id")
            found = patterns.find(db, key, pattern_id)
        assert found is not None  # it was just written
        return found


class Notes:
    """Small texts that always stand in the prompt."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, scope: Scope, agent: str | None = None) -> list[Note]:
        """Return the notes in force, by name; with an agent, those for every agent and for this one.

        A version that was made of a quarantined message is held: the newest version that is not held is in force.
        """
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = [] if key is None else notes.in_force(db, key)
        return [note for note in found if agent is None or note.agent in (None, agent)]

    def get(self, scope: Scope, name: str, version: int | None = None) -> Note:
        """A note in force, or as it was at a version.

        Raises:
            NoteNotFound: there is none of that name, or no such version, or it is held.
        """
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = None if key is None else notes.find(db, key, name, version)
        if found is None:
            raise NoteNotFound(f"There is no note {name!r}{'' if version is None else f' of version {version}'}.")
        return found

    def put(
        self,
        scope: Scope,
        name: str,
        text: str,
        *,
        agent: str | None = None,
        by: str = "person",
        sources: NoteSources = NO_SOURCES,
    ) -> Note:
        """Write a note, or its next version.

        Args:
            scope: whose note it is.
            name: what it is about.
            text: 1 to 4,000 characters.
            agent: the agent in whose prompts it is; None for every agent.
            by: who writes it.
            sources: what it was made of; nothing for what a person writes.

        Raises:
            InvalidInput: the name or the text is invalid, or there are too many notes.
            MessageNotFound: a message that it was made of is not in this scope; nothing was written.
            NoteNotFound: a note that it was made of is gone; nothing was written.
        """
        check_name(name, "name")
        if agent is not None:
            check_name(agent, "agent")
        if not 0 < len(check_text(text, "text").strip()) <= LONGEST_NOTE:
            raise InvalidInput(f"A note has 1 to {LONGEST_NOTE:,} characters.", param="text")
        now = to_micros(self._clock.now())
        with self._database.write() as db:
            key = scopes.ensure_scope(db, scope, now)
            scopes.take_changes(db, key, 0)  # locks the scope: two versions do not take one number
            if len(notes.names(db, key) - {name}) >= MOST_NOTES:
                raise InvalidInput(f"There are {MOST_NOTES} notes already.", param="name")
            seqs = _seqs_of(db, key, sources)
            if sources.written_in is not None:
                notes.let_quote(db, key, sources.written_in, seqs)
            return notes.write(db, key, NewNote(name=name, text=text, agent=agent, by=by, seqs=seqs), now)

    def remove(self, scope: Scope, name: str) -> None:
        """Remove a note with all its versions.

        Raises:
            NoteNotFound: there is none of that name.
        """
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            if key is None or not notes.remove(db, key, name):
                raise NoteNotFound(f"There is no note {name!r}.", param="name")


def _seqs_of(db: Transaction, key: ScopeKey, sources: NoteSources) -> list[int]:
    """The places of what a note was made of; what is gone since it was read must not live on in a note."""
    seqs = notes.seqs_of_sources(db, key, sources.message_ids)
    if missing := [name for name in sources.message_ids if name not in seqs]:
        raise MessageNotFound.of_several(missing)
    of_notes = notes.seqs_of_notes(db, key, sources.note_ids)
    if set(of_notes) != set(sources.note_ids):
        raise NoteNotFound("A note that this one was made of is gone.", param="sources")
    return sorted({*seqs.values(), *(seq for some in of_notes.values() for seq in some)})
