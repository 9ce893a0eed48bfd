"""Patterns and notes as they are asked for, and what people say of them."""

from memory_engine.checks import check_name, check_text
from memory_engine.errors import InvalidInput, NoteNotFound, PatternNotFound
from memory_engine.models import Note, Pattern, Scope, to_micros
from memory_engine.ports import Clock
from memory_engine.storage import notes, patterns, scopes
from memory_engine.storage.database import Database
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
        """What people stated of themselves last and nothing newer contradicts, at most so many."""
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = [] if key is None else patterns.in_scope(db, key, "statement", 4 * limit)
        return [pattern for pattern in found if pattern.stands][:limit]

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
        """The notes in force, by name; with an agent, those for every agent and for this one."""
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = [] if key is None else notes.in_force(db, key)
        return [note for note in found if agent is None or note.agent in (None, agent)]

    def get(self, scope: Scope, name: str, version: int | None = None) -> Note:
        """A note in force, or as it was at a version.

        Raises:
            NoteNotFound: there is none of that name, or no such version.
        """
        with self._database.read() as db:
            key = scopes.find_scope(db, scope)
            found = None if key is None else notes.find(db, key, name, version)
        if found is None:
            raise NoteNotFound(f"There is no note {name!r}{'' if version is None else f' of version {version}'}.")
        return found

    def put(self, scope: Scope, name: str, text: str, *, agent: str | None = None, by: str = "person") -> Note:
        """Write a note, or its next version.

        Raises:
            InvalidInput: the name or the text cannot be taken, or there are too many notes.
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
            others = [note for note in notes.in_force(db, key) if note.name != name]
            if len(others) >= MOST_NOTES:
                raise InvalidInput(f"There are {MOST_NOTES} notes already.", param="name")
            notes.write(db, key, NewNote(name=name, text=text, agent=agent, by=by), now)
        return self.get(scope, name)

    def remove(self, scope: Scope, name: str) -> None:
        """Remove a note with all its versions.

        Raises:
            NoteNotFound: there is none of that name.
        """
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            if key is None or not notes.remove(db, key, name):
                raise NoteNotFound(f"There is no note {name!r}.", param="name")
