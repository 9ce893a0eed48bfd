"""What was pruned and waits for its removal, as lines of JSON to be kept elsewhere before it goes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from memory_engine.models import Message, from_micros
from memory_engine.storage import messages, prunes, scopes
from memory_engine.storage.database import Database
from memory_engine.storage.prunes import Former, Mark

#: Messages that are read together.
_SLICE = 500


def lines(database: Database, namespace: str) -> Iterator[bytes]:
    """Each message of the namespace that waits for its removal, user by user in the order of saying, at one moment.

    A line's `message` has the shape in which messages are remembered; `versions` are what it said before its edits.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    with database.snapshot() as db:
        for user, key in scopes.of_namespace(db, namespace):
            marks = prunes.marks(db, key)
            seqs = list(marks)
            for start in range(0, len(seqs), _SLICE):
                some = seqs[start : start + _SLICE]
                found, former = messages.by_seqs(db, key, some), prunes.former(db, key, some)
                for seq in some:
                    told = _told(user, found[seq], former.get(seq, ()), marks[seq])
                    yield json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _told(user: str | None, message: Message, former: Sequence[Former], mark: Mark) -> dict[str, Any]:
    said = {
        "id": message.message_id, "role": message.role, "name": message.name, "created_at": _iso(message.created_at),
        "content": _content(message.text, message.parts), "metadata": dict(message.metadata),
        "tool_calls": None if message.tool_calls is None else list(message.tool_calls),
        "tool_call_id": message.tool_call_id,
    }  # fmt: skip
    return {
        "user": user or None,
        "conversation_id": message.conversation_id,
        "agent": message.agent,
        "message": {name: value for name, value in said.items() if value is not None},
        "versions": [
            {
                "content": _content(each.text, each.parts),
                "metadata": dict(each.metadata),
                "replaced_at": _iso(from_micros(each.replaced_at)),
            }
            for each in former
        ],
        "pruned_at": _iso(from_micros(mark.at)),
        "pruned_by": mark.by,
    }


def _content(text: str, parts: Sequence[Mapping[str, Any]] | None) -> str | list[Mapping[str, Any]]:
    return text if parts is None else list(parts)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
