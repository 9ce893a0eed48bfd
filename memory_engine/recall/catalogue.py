"""What recall knows of a scope's messages without reading them: who, when, where, how long, and what is next to what.

Columns of one row a message, in the order of seq. A session is a span of activity on a branch of a conversation; an
idle gap ends it, and neighbours are neighbours within a session. The first message of a branch follows the one that it
forks from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

#: Idle microseconds that end a session: six hours.
SESSION_GAP = 6 * 3600 * 1_000_000

#: What is read from the store; the other columns follow from it.
_SAID = ("seq", "version", "conversation", "standing", "role", "name", "agent", "created_at", "words", "asks")
_COLUMNS = (*_SAID, "previous", "next", "session")
#: The last bit of a standing: the branch is abandoned.
_INACTIVE = 1
#: Bits of a lane that the branch takes; those above are the conversation's number.
_BRANCH_BITS = 24
#: Where each branch forks, by thread and number.
Forks = Mapping[tuple[str, int], int]
_NO_FORKS: Forks = {}


@dataclass(kw_only=True, slots=True)
class _Labels:
    """Numbers for texts, given in the order in which they are first met."""

    numbers: dict[str | None, int] = field(default_factory=dict)
    texts: list[str | None] = field(default_factory=list)

    def number(self, text: str | None) -> int:
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]

    def only(self, column: Ints) -> tuple[Ints, "_Labels"]:
        """The column with numbers as they are given when it is read alone, and the labels that it then has."""
        used, firsts, places = np.unique(column, return_index=True, return_inverse=True)
        order = np.argsort(firsts)
        numbers = np.argsort(order)  # of each used label, when it is first met
        texts = [self.texts[number] for number in used[order].tolist()]
        labels = _Labels(numbers={text: number for number, text in enumerate(texts)}, texts=texts)
        return numbers[places].astype(np.int64), labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How far a conversation reaches."""

    words: int
    #: Microseconds.
    first_at: int
    last_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Extents:
    """The extent of each conversation, by number; they grow.

    Lists of numbers: the collector of garbage would look at every object of a scope's thousands of conversations.
    """

    words: list[int] = field(default_factory=list)
    #: Microseconds.
    first_at: list[int] = field(default_factory=list)
    last_at: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, number: int) -> Extent:
        return Extent(words=self.words[number], first_at=self.first_at[number], last_at=self.last_at[number])

    def extend(self, number: int, words: int, at: int) -> None:
        """The conversation has a message more, of so many words at that time; a new one has the next number."""
        if number == len(self.words):
            self.words.append(0)
            self.first_at.append(at)
            self.last_at.append(at)
        self.words[number] += words
        self.first_at[number] = min(self.first_at[number], at)
        self.last_at[number] = max(self.last_at[number], at)


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueView:
    """The catalogue at one moment; later appends do not touch it."""

    #: Place in the order of the scope.
    seq: Ints
    #: A number that changes with each edit, and when its branch is abandoned or returned to.
    version: Ints
    conversation: Ints
    #: Twice the branch of its conversation, and one more where that branch is abandoned.
    standing: Ints
    role: Ints
    name: Ints
    agent: Ints
    #: Microseconds.
    created_at: Ints
    words: Ints
    #: 1 for a message that ends with a question, else 0.
    asks: Ints
    #: Position of the message before it in its session, or -1.
    previous: Ints
    #: Position of the message after it in its session, or -1; one that came after this view counts as none.
    next: Ints
    session: Ints
    #: For each column of texts, the numbers that stand for them; shared, and only ever added to.
    labels: dict[str, dict[str | None, int]]
    #: Conversation ids by number; shared likewise.
    conversations: Sequence[str | None]
    #: Shared likewise, so they may be ahead of the view.
    extents: Extents

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which messages are on a live branch."""
        live: NDArray[np.bool_] = (self.standing & _INACTIVE) == 0
        return live

    def part(self, positions: Ints) -> "CatalogueView":
        """The messages at these rising positions alone; a neighbour that is not among them counts as none."""
        place = np.full(len(self) + 1, -1, np.int64)  # the last is where -1 leads
        place[positions] = np.arange(len(positions))
        columns = {name: getattr(self, name)[positions] for name in _COLUMNS}
        columns["previous"] = place[columns["previous"]]
        columns["next"] = place[self.following(positions)]
        return replace(self, **columns)

    def with_neighbours(self, positions: Ints, reach: int) -> Ints:
        """These positions and those up to `reach` before and after in their sessions, rising."""
        around = [positions]
        for step in (self.preceding, self.following):
            reached = positions
            for _ in range(reach):
                reached = step(reached)
                reached = reached[reached >= 0]
                around.append(reached)
        return np.unique(np.concatenate(around))

    def number(self, column: str, text: str) -> int:
        """The number that stands for the text in that column, or -1 when it never occurs."""
        return self.labels[column].get(text, -1)

    @property
    def name_words(self) -> frozenset[str]:
        """The words of all the names in it."""
        return frozenset(word for name in self.labels["name"] if name is not None for word in name.split())

    def following(self, positions: Ints) -> Ints:
        """Positions of the messages after these in their sessions, -1 where there is none."""
        after = self.next[positions]
        return np.where(after < len(self), after, -1)

    def preceding(self, positions: Ints) -> Ints:
        """Positions of the messages before these in their sessions, -1 where there is none."""
        return self.previous[positions]

    def positions(self, seqs: Ints) -> Ints:
        """Where messages with these seqs stand; those that are not in the catalogue are left out."""
        at = np.searchsorted(self.seq, seqs)
        at = at[at < len(self.seq)]
        return at[np.isin(self.seq[at], seqs)]


class Catalogue:
    """The growing columns; one writer at a time, readers take a view."""

    def __init__(self) -> None:
        self._rows = 0
        self._buffers = {column: np.zeros(64, np.int64) for column in _COLUMNS}
        self._labels = {column: _Labels() for column in ("conversation", "role", "name", "agent")}
        self._extents = Extents()
        self._newest: dict[int, int] = {}  # position of the newest message of each lane
        #: Of the messages on branches, which are few, the place that their branch forks from.
        self._forks: dict[int, int] = {}
        self._sessions = 0

    @property
    def nbytes(self) -> int:
        """Bytes of its columns."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def append(self, rows: Sequence[Any], forks: Forks = _NO_FORKS) -> None:
        """Append messages, in order of seq.

        Args:
            rows: each with seq, version, thread_id, conversation_id, branch, active, role, name, agent, created_at
                (microseconds), words and asks.
            forks: where the branches that they are on fork.
        """
        self._make_room(self._rows + len(rows))
        for row in rows:
            at = self._rows
            values = {**self._values(row, forks), "next": -1}
            self._extents.extend(values["conversation"], row.words, row.created_at)
            lane = _lane(values["conversation"], values["standing"])
            values |= self._session(lane, row)
            for column, value in values.items():
                self._buffers[column][at] = value
            self._rows = at + 1
            if values["previous"] >= 0:
                self._follow(values["previous"], at)
            self._newest[lane] = at

    def changed(self, gone: Ints, rows: Iterable[Any], forks: Forks = _NO_FORKS) -> "Catalogue":
        """What this would be without the messages at the positions `gone` and with these rows, which are as above."""
        left = {seq for seq in self._buffers["seq"][gone].tolist() if seq in self._forks}
        came = [self._values(row, forks) for row in rows]
        columns = {
            name: np.concatenate([np.delete(self._buffers[name][: self._rows], gone), [one[name] for one in came]])
            for name in _SAID
        }
        order = np.argsort(columns["seq"])
        made = Catalogue()
        made._rows = len(order)
        back = {one["seq"] for one in came}
        made._forks = {seq: fork for seq, fork in self._forks.items() if seq not in left or seq in back}
        made._buffers |= {name: column[order].astype(np.int64) for name, column in columns.items()}
        for name, labels in self._labels.items():
            made._buffers[name], made._labels[name] = labels.only(made._buffers[name])
        made._settle()
        return made

    def _settle(self) -> None:
        """Work out from what was said what `append` works out message by message."""
        lanes, created_at = self._lanes(), self._buffers["created_at"]
        positions, order = np.arange(self._rows), np.argsort(lanes, kind="stable")
        starts = np.flatnonzero(np.diff(lanes[order], prepend=-1))
        follows = np.abs(np.diff(created_at[order], prepend=0)) <= SESSION_GAP
        follows[starts] = False
        at, before = order[follows], np.roll(order, 1)[follows]
        previous, following, session = (np.full(self._rows, -1) for _ in range(3))
        previous[at], following[before] = before, at
        forked = self._forked(order[starts])
        for one, other in forked.items():
            previous[one] = other
        first = previous < 0
        session[first] = np.arange(first.sum())
        # In the order of lanes each message has the session of the last that began one there.
        begins = np.maximum.accumulate(np.where(follows, 0, positions))
        session[order] = session[order][begins]
        self._buffers |= {"previous": previous, "next": following, "session": session}
        self._sessions = int(first.sum())
        for one, other in forked.items():  # rising, so that the session of what it forks from is settled
            session[order[begins == begins[order == one][0]]] = session[other]
            self._follow(other, one)
        self._newest = {int(lanes[order[end - 1]]): int(order[end - 1]) for end in [*starts[1:], self._rows] if end}
        self._settle_extents()

    def _settle_extents(self) -> None:
        conversation, created_at = self._buffers["conversation"], self._buffers["created_at"]
        order = np.argsort(conversation, kind="stable")
        starts = np.flatnonzero(np.diff(conversation[order], prepend=-1))
        if self._rows:
            self._extents = Extents(
                words=np.add.reduceat(self._buffers["words"][order], starts).tolist(),
                first_at=np.minimum.reduceat(created_at[order], starts).tolist(),
                last_at=np.maximum.reduceat(created_at[order], starts).tolist(),
            )

    def _lanes(self) -> Ints:
        """For each message the number of its conversation and branch together."""
        lanes: Ints = _lane(self._buffers["conversation"][: self._rows], self._buffers["standing"][: self._rows])
        return lanes

    def _forked(self, firsts: Ints) -> dict[int, int]:
        """Of the first messages of lanes, those whose branch forks from a message here, rising, and that message."""
        found: dict[int, int] = {}
        if not self._forks:
            return found
        for at in sorted(firsts.tolist()):
            before = self._before_fork(int(self._buffers["seq"][at]), int(self._buffers["created_at"][at]))
            if before >= 0:
                found[at] = before
        return found

    def _before_fork(self, seq: int, created_at: int) -> int:
        """The position that the first message of a branch follows, or -1."""
        fork = self._forks.get(seq, 0)
        seqs = self._buffers["seq"][: self._rows]
        at = int(np.searchsorted(seqs, fork))
        there = fork > 0 and at < self._rows and seqs[at] == fork
        return at if there and abs(created_at - int(self._buffers["created_at"][at])) <= SESSION_GAP else -1

    def _follow(self, before: int, at: int) -> None:
        """Make this message the next of the one at `before`, unless that has one of a live branch and this is not."""
        standing, following = self._buffers["standing"], self._buffers["next"]
        now = int(following[before])
        candidates = sorted({now, at} - {-1}, key=lambda each: (standing[each] & _INACTIVE == 0, each))
        following[before] = candidates[-1]

    def _values(self, row: Any, forks: Forks) -> dict[str, int]:
        if row.branch:
            self._forks[row.seq] = forks.get((row.thread_id, row.branch), 0)
        return {
            "seq": row.seq,
            "version": row.version,
            "conversation": self._labels["conversation"].number(row.conversation_id),
            "standing": 2 * row.branch + (0 if row.active else _INACTIVE),
            "role": self._labels["role"].number(row.role),
            "name": self._labels["name"].number(None if row.name is None else row.name.lower()),
            "agent": self._labels["agent"].number(row.agent),
            "created_at": row.created_at,
            "words": row.words,
            "asks": row.asks,
        }

    def view(self) -> CatalogueView:
        """The catalogue as it is now."""
        columns = {column: buffer[: self._rows] for column, buffer in self._buffers.items()}
        labels = {column: label.numbers for column, label in self._labels.items()}
        return CatalogueView(
            **columns, labels=labels, conversations=self._labels["conversation"].texts, extents=self._extents
        )

    def _session(self, lane: int, row: Any) -> dict[str, int]:
        previous = self._newest.get(lane, -1)
        if previous < 0:
            previous = self._before_fork(row.seq, row.created_at)
        if previous >= 0 and abs(row.created_at - int(self._buffers["created_at"][previous])) <= SESSION_GAP:
            return {"previous": previous, "session": int(self._buffers["session"][previous])}
        self._sessions += 1
        return {"previous": -1, "session": self._sessions - 1}

    def _make_room(self, rows: int) -> None:
        for column, buffer in self._buffers.items():
            if rows > len(buffer):
                grown = np.zeros(max(rows, 2 * len(buffer)), np.int64)
                grown[: self._rows] = buffer[: self._rows]
                self._buffers[column] = grown


def _lane(conversation: Any, standing: Any) -> Any:
    """The number of a conversation and a branch together."""
    return (conversation << _BRANCH_BITS) | (standing >> 1)
