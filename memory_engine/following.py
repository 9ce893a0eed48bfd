"""Follows a client that sends its history: stores what is new where it belongs, and finds what is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from memory_engine.alignment import WALKS, Alignment, Key, Path, align, key_of
from memory_engine.branching import HistoryMoved, Where
from memory_engine.checks import check_name
from memory_engine.errors import StoreConflict
from memory_engine.history import DEFAULT_SCOPE
from memory_engine.joining import Parts
from memory_engine.models import MAX_MESSAGES, Message, NewMessage, RecallHit, Scope
from memory_engine.storage import branches, messages, quarantines, threads
from memory_engine.storage.branches import Span

#: Whose history counts: the client's, the stored one, or, with None, whatever the client sends tells.
Whose = Literal["client", "stored"] | None
#: Writers that may be faster before a client is not followed.
_ATTEMPTS = 5
#: Stored messages that are looked at for each of the client's, and besides; more only where nothing is found in these.
_FOR_EACH, _BESIDES, _MOST = 4, 200, 20_000
#: Branches that are looked at, those spoken on last; fewer in a long conversation, so that all take this many steps.
_BRANCHES, _STEPS = 32, 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """What came of a client's messages."""

    #: The last message of a user among them, as it is stored; None where there is none.
    said: Message | None
    #: The id of the message that the answer comes after; None where nothing was stored.
    last: str | None
    #: Stored turns that stand before the client's first message and that it did not send, where it sent a window.
    before: tuple[Message, ...]
    conversation_id: str
    spans: tuple[Span, ...]

    def may_show(self, hit: RecallHit) -> bool:
        """Whether a hit may stand in the prompt: of this conversation, only what is on the client's own branch."""
        if hit.conversation_id != self.conversation_id:
            return True
        return any(span.branch == hit.branch and hit.seq <= span.until for span in self.spans)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    """What is stored of a conversation, as far as it is looked at."""

    rows: Sequence[Message]
    #: The rows of each branch that is looked at, that which was spoken on last first.
    paths: Sequence[Sequence[Message]]
    #: Whether nothing stands before the first row.
    is_whole: bool

    @property
    def newest(self) -> int:
        return self.rows[-1].seq if self.rows else 0


class Following:
    """Follows the clients of one store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def follow(
        self, conversation_id: str, sent: Sequence[NewMessage], *, whose: Whose = None, scope: Scope = DEFAULT_SCOPE
    ) -> Followed:
        """Store what is new of a client's messages, where it belongs.

        Args:
            conversation_id: the application's name for the conversation, opened on first use.
            sent: the client's messages but its instructions, one at least.
            whose: whose history counts.
            scope: whose memory it is.

        Raises:
            InvalidInput: the conversation's id is not valid.
            ConversationNotFound: the conversation belongs to another user of the namespace.
            StoreConflict: others wrote in it all the while.
            StoreError: the store does not answer.
        """
        check_name(conversation_id, "conversation_id")
        rememberer = self._parts.serving().rememberer
        sent = [rememberer.as_kept(message) for message in sent]
        for _ in range(_ATTEMPTS):
            stored = self._stored(conversation_id, len(sent), scope)
            found = _aligned(sent, stored, whose)
            if not found.alignment.new:
                return self._followed(conversation_id, sent, found, stored, whose, [], scope)
            after = found.path[found.alignment.after].message_id if found.alignment.after >= 0 else None
            try:
                ids = self._store(conversation_id, sent, found, Where(after=after, newest=stored.newest), scope)
            except HistoryMoved:
                continue
            return self._followed(conversation_id, sent, found, stored, whose, ids, scope)
        raise StoreConflict

    def answer(
        self,
        conversation_id: str,
        alternatives: Sequence[NewMessage],
        *,
        after: str | None,
        scope: Scope = DEFAULT_SCOPE,
    ) -> None:
        """Store the answers to a message; the first is live, and the others are branches that it takes the place of.

        Raises:
            MessageNotFound: the message is not there any more.
            StoreError: the store does not answer.
        """
        rememberer = self._parts.serving().rememberer
        # Alternatives are branches that leave the same message: after none, there is one answer.
        for answer in reversed(alternatives if after is not None else alternatives[:1]):
            rememberer.remember(scope, conversation_id, [answer], None, Where(after=after))
        self._parts.notify()

    def _store(
        self, conversation_id: str, sent: Sequence[NewMessage], found: "_Found", where: Where, scope: Scope
    ) -> list[str]:
        rememberer, ids = self._parts.serving().rememberer, list[str]()
        new = [sent[number] for number in found.alignment.new]
        for start in range(0, len(new), MAX_MESSAGES):
            some = new[start : start + MAX_MESSAGES]
            ids += rememberer.remember(scope, conversation_id, some, None, where).message_ids
            where = Where(after=ids[-1])
        self._parts.notify()
        return ids

    def _stored(self, conversation_id: str, count: int, scope: Scope) -> _Stored:
        with self._parts.eraser.told(scope), self._parts.database.read() as db:
            thread = threads.find_in(db, scope, conversation_id)
            if thread is None:
                return _Stored(rows=[], paths=[[]], is_whole=True)
            most = min(_MOST, _FOR_EACH * count + _BESIDES)
            rows = messages.newest_of_all_branches(db, thread, most)
            known = branches.of_thread(db, thread)
        if not known:
            return _Stored(rows=rows, paths=[rows], is_whole=len(rows) < most)
        numbers = dict.fromkeys([thread.head, *(row.branch for row in reversed(rows))])
        looked_at = list(numbers)[: min(_BRANCHES, 1 + _STEPS // (len(rows) + WALKS * count))]
        paths = [_on(branches.path(known, number), rows) for number in looked_at]
        return _Stored(rows=rows, paths=paths, is_whole=len(rows) < most)

    def _followed(  # noqa: PLR0913  (each is another thing that is known of the client's messages)
        self, conversation_id: str, sent: Sequence[NewMessage], found: "_Found", stored: _Stored, whose: Whose,
        ids: Sequence[str], scope: Scope,
    ) -> Followed:  # fmt: skip
        alignment, path = found.alignment, found.path
        of_sent = {number: path[at].message_id for number, at in alignment.matched.items()}
        of_sent |= dict(zip(alignment.new, ids, strict=True))
        asked = next((n for n in reversed(range(len(sent))) if sent[n].role == "user" and n in of_sent), None)
        last = ids[-1] if ids else (path[alignment.after].message_id if alignment.after >= 0 else None)
        before = _before(sent, found, stored, whose)
        with self._parts.eraser.told(scope), self._parts.database.read() as db:
            thread = threads.find_in(db, scope, conversation_id)
            if thread is None:
                return Followed(said=None, last=None, before=(), conversation_id=conversation_id, spans=())
            named = [of_sent[asked]] if asked is not None else []
            rows = messages.find_by_ids(db, thread.key.namespace_id, [*named, *([last] if last else [])])
            said = rows[named[0]][1] if named and named[0] in rows else None
            end = rows[last][1] if last in rows else said
            spans = [] if end is None else branches.path(branches.of_thread(db, thread), end.branch, end.seq)
            shown = quarantines.with_those_they_repeat(db, thread.key, [row for row in before if not row.pruned])
        return Followed(said=said, last=last, before=tuple(shown), conversation_id=conversation_id, spans=tuple(spans))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """The branch that the client's messages fit best, and how."""

    path: Sequence[Message]
    alignment: Alignment


def _on(spans: Sequence[Span], rows: Sequence[Message]) -> list[Message]:
    until = {span.branch: span.until for span in spans}
    return [row for row in rows if row.seq <= until.get(row.branch, 0)]


def _aligned(sent: Sequence[NewMessage], stored: _Stored, whose: Whose) -> _Found:
    """The branch that the client's messages fit best; among equals, the one that was spoken on last."""
    keys, users = [key_of(message) for message in sent], [message.role == "user" for message in sent]
    of_rows = {row.seq: key_of(row) for row in stored.rows}
    found = []
    for rows in stored.paths:
        path = Path.of([of_rows[row.seq] for row in rows], [row.role == "user" for row in rows])
        if len(sent) == 1 and users[0] and not _repeats(keys[0], path, whose, is_whole=stored.is_whole):
            end = Alignment(matched={}, new=(0,), after=len(rows) - 1)
            return _Found(path=rows, alignment=end)
        found.append(_Found(path=rows, alignment=align(keys, users, path)))
    return max(found, key=lambda each: len(each.alignment.matched))


def _repeats(key: Key, path: Path, whose: Whose, *, is_whole: bool) -> bool:
    """Whether a single message is one that is stored, asked again, rather than the next in the conversation.

    It is where nothing came after it. With an answer to it, it may be the whole history of a client that wants another
    answer to its first message, as long as that is all that was said.
    """
    if not path.keys or path.keys[-1] == key:
        return True
    is_first = is_whole and path.keys[path.next_user[0] :][:1] == [key]
    if whose is not None:
        return whose == "client" and is_first
    return is_first and sum(path.users) == 1


def _before(sent: Sequence[NewMessage], found: _Found, stored: _Stored, whose: Whose) -> list[Message]:
    """The stored turns that the client's messages go on from and that it did not send."""
    alignment, path = found.alignment, found.path
    first = next(iter(alignment.matched.items()), None)
    is_window = first is not None and first[0] == 0
    is_single = sum(message.role == "user" for message in sent) == 1
    if whose == "client" or not (is_window or is_single or whose == "stored"):
        return []
    return list(path[: first[1]] if first is not None else path[: alignment.after + 1])
