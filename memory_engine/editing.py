"""An edit: the next version of a message, with the one before it kept, and all that is derived made anew."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from memory_engine.checks import check_values
from memory_engine.erasure import Eraser
from memory_engine.errors import MessageNotFound, StoreConflict
from memory_engine.models import Message, NewMessage, Scope, to_micros
from memory_engine.parsing import parse_message
from memory_engine.ports import Clock
from memory_engine.remembering import Rememberer
from memory_engine.storage import changes, messages, scopes
from memory_engine.storage.database import Database
from memory_engine.storage.messages import Entry

#: Writers that may be faster before an edit gives up.
_ATTEMPTS = 5


class Editor:
    """Edits messages of one store."""

    def __init__(self, database: Database, clock: Clock, eraser: Eraser) -> None:
        self._database = database
        self._clock = clock
        self._eraser = eraser

    def edit(self, scope: Scope, message_id: str, changed: Mapping[str, Any], rememberer: Rememberer) -> Message:
        """Give a message another content or other metadata, and return it as it is then.

        Raises:
            MessageNotFound: there is none of that id in this scope.
            InvalidInput: the content or the metadata cannot be taken; nothing was changed.
            StoreConflict: others edited it all the while.
        """
        for _ in range(_ATTEMPTS):
            kept = self._kept(scope, message_id)
            new = rememberer.as_kept(_edited(kept, changed))
            if (new.text, new.parts, dict(new.metadata)) == (kept.text, kept.parts, dict(kept.metadata)):
                return kept
            if self._write(scope, kept, new, rememberer):
                return self._kept(scope, message_id)
        raise StoreConflict

    def _kept(self, scope: Scope, message_id: str) -> Message:
        with self._eraser.told(scope), self._database.read() as db:
            key = scopes.find_scope(db, scope)
            message = messages.find_in_scope(db, key, message_id)
            if key is None or message is None:
                raise MessageNotFound.of(message_id)
            return messages.with_parents(db, key, [message])[0]

    def _write(self, scope: Scope, kept: Message, new: NewMessage, rememberer: Rememberer) -> bool:
        now = to_micros(self._clock.now())
        said = Entry(message_id=kept.message_id, message=new, created_at=to_micros(kept.created_at), derived=None)
        (entry,) = rememberer.derive([said])
        values = {
            "content": new.text,
            "parts": None if new.parts is None else list(new.parts),
            "metadata": dict(new.metadata),
        }
        with self._database.write() as db:
            key = scopes.find_scope(db, scope)
            assert key is not None  # the message is in it
            changes.note(db, key, [kept.seq], now)  # locks the scope first, as every writer does
            if not changes.write_version(db, key, kept.seq, version=kept.version, now=now, values=values):
                return False
            derived = entry.derived if messages.versions_in_recall(db, key, [kept.seq], or_pruned=True) else None
            changes.replace_derived(db, key, kept.seq, kept.version + 1, derived)
        return True


def _edited(kept: Message, changed: Mapping[str, Any]) -> NewMessage:
    for name, value in changed.items():
        # A text that is edited is refused where it cannot be stored as it is, not changed.
        check_values(value, f"message.{name}")
    raw = {
        "role": kept.role,
        "content": changed.get("content", kept.content),
        "name": kept.name,
        "tool_calls": None if kept.tool_calls is None else list(kept.tool_calls),
        "tool_call_id": kept.tool_call_id,
        "metadata": changed.get("metadata", kept.metadata),
    }
    return replace(parse_message(raw), created_at=kept.created_at, recallable=kept.recallable)
