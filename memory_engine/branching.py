"""Where in a conversation new messages go: on at its end, on a branch of their own, or on a branch that was left.

A branch is left when another takes its place: a regenerated reply, or an edited message with the answers to it. Where
people said unrelated things after a fork, as two devices do, both branches stay live.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memory_engine.lexical.analysis import analyse_query
from memory_engine.models import NewMessage
from memory_engine.storage import branches, changes, messages
from memory_engine.storage.branches import Branch, Placed, Span
from memory_engine.storage.database import Transaction
from memory_engine.storage.threads import Thread

#: The share of the words of the shorter of two messages that the other has, from which on one is an edit of the other.
_ALIKE = 0.5
#: Characters of a message that are compared.
_READ = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where new messages go."""

    #: The id of the message that they come after; None for the end of the branch that was spoken on last.
    after: str | None = None
    #: The place of the conversation's newest message when this was decided; None where that does not matter.
    newest: int | None = None


#: The end of the branch that was spoken on last.
AT_THE_END = Where()


class HistoryMoved(Exception):
    """Something was said in the conversation since it was decided where new messages go."""


def alike(one: str, other: str) -> bool:
    """Whether one message may be an edit of the other: most words of the shorter are in both."""
    words, others = _words(one), _words(other)
    if not words or not others:
        words, others = _trigrams(one), _trigrams(other)
    return len(words & others) >= _ALIKE * max(1, min(len(words), len(others)))


def _words(text: str) -> set[object]:
    return {term.stems for term in analyse_query(text[:_READ])}


def _trigrams(text: str) -> set[object]:
    padded = f"  {' '.join(text[:_READ].lower().split())} "
    return {padded[at : at + 3] for at in range(len(padded) - 2)}


def settle(db: Transaction, thread: Thread, after: int, new: Sequence[NewMessage], now: int) -> Thread:
    """Make the branch on which messages after this place go the thread's head, and leave those that it replaces.

    Args:
        db: a transaction that has locked the scope.
        thread: the conversation.
        after: the place of the message that they come after.
        new: what is going to be said there.
        now: microseconds.

    Returns:
        The thread with its new head.
    """
    known = branches.of_thread(db, thread)
    rows = branches.placed(db, thread)
    target = next(row.branch for row in rows if row.seq == after)
    if any(row.branch == target and row.seq > after for row in rows):
        target = branches.open_branch(db, thread, parent=target, fork_seq=after)
        parent = next(row.branch for row in rows if row.seq == after)
        known |= {target: Branch(number=target, parent=parent, fork_seq=after)}
    elif target == thread.head:
        return thread
    spans = branches.path(known, target)
    back = [row.seq for row in rows if _is_on(spans, row) and not row.is_active]
    left = _left(db, thread, _sides(rows, known, spans), [row for row in rows if _is_on(spans, row)], new)
    branches.mark(db, thread.key, back, None)
    branches.mark(db, thread.key, left, now)
    if back or left:
        changes.note(db, thread.key, sorted([*back, *left]), now)
    branches.set_head(db, thread, target)
    return replace(thread, head=target, branches=len(known))


def _is_on(spans: Sequence[Span], row: Placed) -> bool:
    return any(span.branch == row.branch and row.seq <= span.until for span in spans)


def _sides(
    rows: Sequence[Placed], known: dict[int, Branch], spans: Sequence[Span]
) -> dict[tuple[int, int], list[Placed]]:
    """The live messages that are not on the path, by where their branch leaves it and which branch that is."""
    until = {span.branch: span.until for span in spans}
    sides: dict[tuple[int, int], list[Placed]] = {}
    for row in rows:
        if row.is_active and not _is_on(spans, row):
            sides.setdefault(_leaving(row.branch, known, until), []).append(row)
    return sides


def _leaving(number: int, known: dict[int, Branch], until: dict[int, int]) -> tuple[int, int]:
    """Where a branch leaves the path, and the branch that does so: (place, number)."""
    while number not in until:
        branch = known[number]
        if branch.parent in until and branch.fork_seq <= until[branch.parent]:
            return branch.fork_seq, number
        number = branch.parent
    return until[number], number


def _left(
    db: Transaction, thread: Thread, sides: dict[tuple[int, int], list[Placed]], on: Sequence[Placed],
    new: Sequence[NewMessage],
) -> list[int]:  # fmt: skip
    """The places of the messages whose branch the path takes the place of."""
    left: list[int] = []
    for (fork, _), side in sides.items():
        asked = next((row.seq for row in side if row.role == "user"), None)
        instead = next((row.seq for row in on if row.seq > fork and row.role == "user"), None)
        found = messages.by_seqs(db, thread.key, [seq for seq in (asked, instead) if seq is not None])
        said = found[instead].text if instead in found else next((m.text for m in new if m.role == "user"), None)
        if asked is None or said is None or alike(found[asked].text, said):
            left += [row.seq for row in side]
    return left
