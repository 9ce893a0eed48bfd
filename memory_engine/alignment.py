"""Aligns a client's messages with those that are stored: which are known, which are new, and where they go.

Clients send their history with every request, and rarely word for word: white space is trimmed, reasoning removed, line
endings are changed, replies are translated or left out, the beginning is cut or summed up. Messages of users decide;
what an assistant said in between may differ. All functions here are pure, and take time linear in what they are given.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memory_engine.models import Message, NewMessage
from memory_engine.normal_form import normal_form

#: What tells two messages apart.
Key = tuple[Any, ...]
#: Tags that reasoning stands in, where a server sends it within the text.
_REASONING = ("think", "thinking", "reasoning", "thought")
#: Places at which the client's first known message may stand that are tried: the first and the last ones.
_FIRST, _LAST = 4, 8
WALKS = _FIRST + _LAST
#: Messages of the client that are looked at ahead, in one walk, for each of its messages.
_AHEAD = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """Where the client's messages stand in a path of stored ones."""

    #: Position in the path of each client's message that is stored, by its number; rising.
    matched: Mapping[int, int]
    #: Numbers of the client's messages that are to be stored, in order.
    new: tuple[int, ...] = ()
    #: Position in the path that the new ones, or the answer, come after; -1 for before all.
    after: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """The stored messages of one branch in order, ready to be looked up."""

    keys: Sequence[Key]
    users: Sequence[bool]
    #: Where each key stands.
    places: Mapping[Key, list[int]] = field(default_factory=dict)
    #: For each position, and the one after the last, that of the first user message from there on.
    next_user: Sequence[int] = ()

    @classmethod
    def of(cls, keys: Sequence[Key], users: Sequence[bool]) -> "Path":
        """Prepare a path."""
        places: dict[Key, list[int]] = defaultdict(list)
        for position, key in enumerate(keys):
            places[key].append(position)
        following = [len(keys)] * (len(keys) + 1)
        for position in reversed(range(len(keys))):
            following[position] = position if users[position] else following[position + 1]
        return cls(keys=keys, users=users, places=dict(places), next_user=following)

    def find(self, key: Key, start: int) -> int | None:
        """The first position of a key from `start` on."""
        places = self.places.get(key, [])
        at = bisect_left(places, start)
        return places[at] if at < len(places) else None

    def is_near(self, position: int, start: int) -> bool:
        """Whether no user message stands between `start` and the position."""
        return position <= self.next_user[start]


def key_of(message: Message | NewMessage) -> Key:
    """What tells a message apart, whatever clients do to white space, line endings and reasoning."""
    if message.role == "tool":
        return ("tool", message.tool_call_id or plain(message.text))
    if message.role == "assistant":
        return ("assistant", plain(without_reasoning(message.text)), _calls(message.tool_calls))
    media = sum(1 for part in message.parts or () if "text" not in part)
    return (message.role, plain(message.text), media)


def plain(text: str) -> str:
    """A text with one blank for each run of white space, in composed characters."""
    return " ".join(normal_form("NFC", text).split())


def without_reasoning(text: str) -> str:
    """A reply without the reasoning that stands in tags at its beginning."""
    rest = text.lstrip()
    for name in _REASONING:
        before, found, after = rest.partition(f"</{name}>")
        # Some servers leave the opening tag to the prompt.
        if found and after.strip() and (before.startswith(f"<{name}>") or f"<{name}>" not in before):
            return after
    return text


def _calls(calls: Sequence[Mapping[str, Any]] | None) -> tuple[Any, ...]:
    functions = [call.get("function") or call.get("custom") or {} for call in calls or ()]
    named = [function if isinstance(function, Mapping) else {} for function in functions]
    return tuple((str(each.get("name")), plain(str(each.get("arguments", each.get("input"))))) for each in named)


def align(sent: Sequence[Key], users: Sequence[bool], path: Path) -> Alignment:
    """Where a client's messages stand in a path, and which of them are new.

    Args:
        sent: the keys of the client's messages.
        users: which of them a user said.
        path: what is stored of a branch.
    """
    matched = _matched(sent, users, path)
    if not matched:
        if not path.keys:
            return Alignment(matched={}, new=tuple(range(len(sent))))
        # The client has summed up its past: only what is asked now is new.
        asked = max((number for number, is_user in enumerate(users) if is_user), default=0)
        return Alignment(matched={}, new=tuple(range(asked, len(sent))), after=len(path.keys) - 1)
    return _with_tail(sent, users, path, matched)


def _matched(sent: Sequence[Key], users: Sequence[bool], path: Path) -> dict[int, int]:
    """The best of the walks from the places at which the first known message stands."""
    anchor = next((number for number, key in enumerate(sent) if key in path.places), None)
    if anchor is None:
        return {}
    places = path.places[sent[anchor]]
    starts = dict.fromkeys([*places[:_FIRST], *places[-_LAST:]])
    walks = [_walk(sent, users, path, anchor, start) for start in starts]
    return max(walks, key=lambda walk: (len(walk), max(walk.values())))


def _walk(sent: Sequence[Key], users: Sequence[bool], path: Path, anchor: int, start: int) -> dict[int, int]:
    """Follow the client's messages from a place on; turns may be left out where what follows them fits again."""
    matched = {anchor: start}
    at = start + 1
    steps = iter(range(_AHEAD * len(sent)))
    for number in range(anchor + 1, len(sent)):
        position = path.find(sent[number], at)
        if position is None:
            continue
        if path.is_near(position, at) or _goes_on(
            sent, users, path, zip(range(number + 1, len(sent)), steps, strict=False), position
        ):
            matched[number] = position
            at = position + 1
    return matched


def _goes_on(
    sent: Sequence[Key], users: Sequence[bool], path: Path, ahead: Iterable[tuple[int, int]], position: int
) -> bool:
    """Whether what the client sends ahead fits what is stored after that position.

    Looking ahead ends with the next message of a user, or with the steps of this walk.
    """
    for following, _ in ahead:
        found = path.find(sent[following], position + 1)
        if found is not None and path.is_near(found, position + 1):
            return True
        if users[following]:
            return False
    return False


def _with_tail(sent: Sequence[Key], users: Sequence[bool], path: Path, matched: dict[int, int]) -> Alignment:
    """Add what is new: what stands after the last known message, without replies in other words."""
    last, position = next(reversed(matched.items()))
    end = path.next_user[position + 1] - 1  # the last that is stored of the same turn
    answered = any(path.keys[at][0] == "assistant" for at in range(position + 1, end + 1))
    tail = list(range(last + 1, len(sent)))
    asked = next((number for number in tail if users[number]), None)
    replies = tail if asked is None else [number for number in tail if number < asked]
    in_other_words = answered and all(sent[number][0] == "assistant" for number in replies)
    if replies and not in_other_words and asked is None:
        return Alignment(matched=matched, new=tuple(tail), after=position)
    if replies and not answered:
        return Alignment(matched=matched, new=tuple(tail), after=end)
    if asked is None:
        return Alignment(matched=matched, after=end if replies else position)
    return Alignment(matched=matched, new=tuple(tail[len(replies) :]), after=end)
