"""What goes into a prompt within a budget: pure functions from parts to messages and a manifest.

The system prompt and the newest user message are always in. Recent turns and recalled evidence share the rest; what
does not fit is skipped, and packing goes on with what does. Recalled text enters as one delimited block of data.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.errors import BudgetTooSmall
from assistant.recalled_block import CLOSE, Item, heading_line, item_lines, of_hit, recalled_block
from assistant.token_counter import count_messages
from assistant.units import Unit
from memory_engine import Fate, RecallHit
from memory_engine.ports import TokenCounter

#: The part of the room that recent turns may take before recalled evidence has had its turn.
RECENT_SHARE = 0.4
#: Estimated tokens of what is around the lines of the block.
_BLOCK_TOKENS = 48
#: Estimated tokens of a heading over notes, patterns or a summary.
_TITLE_TOKENS = 16
#: A hit of more bytes than these must be worth its room: its score counts the less, by this power, the more it has.
_LONG_BYTES, _THRIFT = 600, 0.5
#: Under so many tokens nothing worth having fits.
_CRUMBS = 12
#: What stands at the end of a tool's answer that had no room.
_CUT = "\n[cut: no room in the budget]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """What stands in a prompt beside what was recalled: a note, a pattern, a summary."""

    kind: str
    #: As it stands in the block.
    item: Item
    message_ids: tuple[str, ...]
    why: str
    #: The part of the room that everything of its kind may take together.
    share: float
    #: Whether it stands in place of history, and is wanted only when that has no room.
    for_history: bool = False
    #: The id of a note that was made of messages.
    note_id: str | None = None
    #: Whether it quotes another conversation or another person, and no person confirmed it.
    is_foreign: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """All that a prompt could hold."""

    system: str | None
    #: Oldest first; when `message` is None the newest user message among them must be kept.
    history: Sequence[Unit]
    #: Best first.
    hits: Sequence[RecallHit]
    message: str | None
    #: Its id, where it is kept already.
    message_id: str | None = None
    #: The most important of each kind first.
    background: Sequence[Background] = ()
    #: What of the history cannot be sent at all: (message ids, reason).
    unusable: Sequence[tuple[list[str], str]] = ()
    #: What came after the newest message in the same turn, in the shape of Chat Completions: calls and their answers.
    after: Sequence[dict[str, Any]] = ()
    #: The ids of these messages.
    after_ids: Sequence[str] = ()
    #: Whether the history is taken without gaps, so that roles alternate.
    without_gaps: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Where the block of recalled text stands."""

    #: Which of the messages it is in.
    message: int
    #: Characters of the message's text, or of its first part.
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A prompt within its budget, and the account of what is in it and what is not."""

    messages: list[dict[str, Any]]
    tokens: int
    #: None where nothing recalled is in it.
    block: Block | None
    items: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    choice: "Choice"


@dataclass(kw_only=True, slots=True)
class Choice:
    """What of the parts is in a prompt, by number."""

    units: list[int] = field(default_factory=list)
    hits: list[int] = field(default_factory=list)
    background: list[int] = field(default_factory=list)


def pack(parts: Parts, budget: int, counter: TokenCounter, before: Choice | None = None) -> Packed:
    """Choose and arrange what fits; the count of the result never exceeds the budget.

    Args:
        parts: what the prompt could hold.
        budget: tokens.
        counter: counts them.
        before: what an earlier prompt of the same turn, of the same parts, holds. Its block stays as it is, so that
            what a model's server has read of a prompt it need not read again; where it has no room, it is chosen again.

    Raises:
        BudgetTooSmall: not even the system prompt and the newest user message fit.
    """
    kept = _newest_user(parts)
    fixed = Choice() if before is None else Choice(hits=[*before.hits], background=[*before.background])
    roomy = _with_room(parts, kept, fixed, budget, counter)
    necessary = count_messages(counter, _arranged(roomy, fixed, kept))
    if necessary > budget:
        if before is not None:
            return pack(parts, budget, counter)
        text = f"The system prompt and the newest message take {necessary} tokens; the budget is {budget}."
        raise BudgetTooSmall(text, param="token_budget")
    if before is None:
        choice = _chosen(roomy, kept, budget - necessary, counter)
    else:
        choice = _chosen(replace(roomy, hits=(), background=()), kept, budget - necessary, counter)
        choice.hits, choice.background = fixed.hits, fixed.background
    return _packed(roomy, choice, kept, budget, counter)


def _packed(parts: Parts, choice: Choice, kept: int | None, budget: int, counter: TokenCounter) -> Packed:
    messages = _arranged(parts, choice, kept)
    tokens = count_messages(counter, messages)
    while tokens > budget:  # the estimates were too low: give back the least relevant first, then the oldest
        (choice.hits or choice.units or choice.background).pop()
        messages = _arranged(parts, choice, kept)
        tokens = count_messages(counter, messages)
    return Packed(
        messages=messages,
        tokens=tokens,
        block=_block_of(messages, len(_before_newest(parts, choice, kept)))
        if choice.hits or choice.background
        else None,
        items=_items(parts, choice, kept, counter),
        left_out=_left_out(parts, choice, kept),
        choice=choice,
    )


def _block_of(messages: Sequence[dict[str, Any]], number: int) -> Block:
    """Where the block stands in a message that begins with it: nothing within the block can be taken for its end."""
    content = messages[number]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return Block(message=number, start=0, end=text.index(CLOSE) + len(CLOSE))


def _with_room(parts: Parts, kept: int | None, fixed: Choice, budget: int, counter: TokenCounter) -> Parts:
    """The parts with the longest answers of tools cut until what is necessary fits, or none is worth cutting."""
    while True:
        over = count_messages(counter, _arranged(parts, fixed, kept)) - budget
        answers = [n for n, chat in enumerate(parts.after) if chat["role"] == "tool"]
        longest = max(answers, key=lambda n: len(parts.after[n]["content"]), default=None)
        if over <= 0 or longest is None or len(parts.after[longest]["content"]) <= len(_CUT) + 1:
            return parts
        content = parts.after[longest]["content"].removesuffix(_CUT)
        cut = {**parts.after[longest], "content": content[: len(content) // 2] + _CUT}
        parts = replace(parts, after=[*parts.after[:longest], cut, *parts.after[longest + 1 :]])


def _newest_user(parts: Parts) -> int | None:
    """Which unit of the history is the newest user message, when the prompt has none of its own."""
    if parts.message is not None:
        return None
    users = [n for n, unit in enumerate(parts.history) if unit.messages[0].role == "user"]
    return users[-1] if users else None


def _chosen(parts: Parts, kept: int | None, room: int, counter: TokenCounter) -> Choice:
    choice = Choice()
    newest_first = [n for n in reversed(range(len(parts.history))) if n != kept]
    costs = _UnitCosts(parts.history, counter)
    used = _take_background(parts, room, counter, choice, for_history=False)
    if not costs.fit(newest_first, room - used):
        used += _take_background(parts, room - used, counter, choice, for_history=True)
    share = int((room - used) * RECENT_SHARE) if parts.hits else room - used
    used += _take_units(newest_first, costs, share, choice, without_gaps=parts.without_gaps)
    used += _take_hits(parts, kept, room - used, counter, choice)
    rest = [n for n in newest_first if n not in choice.units]
    _take_units(rest, costs, room - used, choice, without_gaps=parts.without_gaps)
    choice.units.sort(reverse=True)
    return choice


class _UnitCosts:
    """Tokens of the units of a history, each counted once and only when asked."""

    def __init__(self, history: Sequence[Unit], counter: TokenCounter) -> None:
        self._history = history
        self._counter = counter
        self._known: dict[int, int] = {}

    def __getitem__(self, number: int) -> int:
        if number not in self._known:
            self._known[number] = count_messages(self._counter, self._history[number].as_chat())
        return self._known[number]

    def fit(self, numbers: Sequence[int], room: int) -> bool:
        """Whether all of these units have room; no more of them are counted than tell."""
        total = 0
        for number in numbers:
            total += self[number]
            if total > room:
                return False
        return True


def _take_units(numbers: Sequence[int], costs: _UnitCosts, room: int, choice: Choice, *, without_gaps: bool) -> int:
    used = 0
    for number in numbers:
        if room - used < _CRUMBS:
            break
        if used + costs[number] <= room:
            choice.units.append(number)
            used += costs[number]
        elif without_gaps:
            break
    return used


def _take_background(parts: Parts, room: int, counter: TokenCounter, choice: Choice, *, for_history: bool) -> int:
    spent: dict[str, int] = {}
    for number, each in enumerate(parts.background):
        if each.for_history != for_history:
            continue
        cost = _line_tokens(item_lines(each.item), counter) + (0 if each.kind in spent else _TITLE_TOKENS)
        if spent.get(each.kind, 0) + cost <= each.share * room:
            choice.background.append(number)
            spent[each.kind] = spent.get(each.kind, 0) + cost
    return sum(spent.values()) + (_BLOCK_TOKENS if spent else 0)


def _take_hits(parts: Parts, kept: int | None, room: int, counter: TokenCounter, choice: Choice) -> int:
    shown = {name for n in (*choice.units, kept) if n is not None for name in parts.history[n].ids}
    texts: set[str] = set()
    headings: set[str] = set()
    used = _BLOCK_TOKENS
    for number in _by_worth(parts.hits):
        if room - used < _CRUMBS:
            break
        hit, item = parts.hits[number], of_hit(parts.hits[number])
        if hit.message_id in shown or hit.text in texts:
            continue
        cost = _line_tokens(item_lines(item), counter)
        cost += 0 if item.heading in headings else _line_tokens(heading_line(item), counter)
        if used + cost <= room:
            choice.hits.append(number)
            texts.add(hit.text)
            headings.add(item.heading)
            used += cost
    return used if choice.hits else 0


def _by_worth(hits: Sequence[RecallHit]) -> list[int]:
    """The numbers of the hits, the most worth their room first; by bytes, because counting tokens takes long."""

    def worth(number: int) -> float:
        size = len(hits[number].text.encode("utf-8", "surrogatepass"))
        return hits[number].score / float(max(size / _LONG_BYTES, 1.0) ** _THRIFT)

    return sorted(range(len(hits)), key=worth, reverse=True)


def _line_tokens(line: str, counter: TokenCounter) -> int:
    return counter.count(json.dumps(line + "\n", ensure_ascii=False)) - 1


def _arranged(parts: Parts, choice: Choice, kept: int | None) -> list[dict[str, Any]]:
    """System prompt, older turns, the newest user message with the block at its start, and what came after it."""
    messages = _before_newest(parts, choice, kept)
    newest: list[dict[str, Any]] = []
    if parts.message is not None:
        newest = [{"role": "user", "content": parts.message}]
    elif kept is not None:
        newest = parts.history[kept].as_chat()
    if choice.hits or choice.background:
        block = recalled_block(_block_items(parts, choice))
        newest = [with_block(newest[0], block), *newest[1:]] if newest else [{"role": "user", "content": block}]
    messages += newest
    if kept is not None:
        messages += _turns(parts, [number for number in choice.units if number > kept])
    return [*messages, *parts.after]


def with_block(message: Mapping[str, Any], block: str) -> dict[str, Any]:
    """A user's message in the shape of Chat Completions, with a block of recalled text before what the user says.

    Chat templates refuse two user messages in a row, so the block is no message of its own.
    """
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": f"{block}\n\n{content}"}
    return {**message, "content": [{"type": "text", "text": block}, *(content or ())]}


def _before_newest(parts: Parts, choice: Choice, kept: int | None) -> list[dict[str, Any]]:
    messages = [] if parts.system is None else [{"role": "system", "content": parts.system}]
    return messages + _turns(parts, [number for number in choice.units if kept is None or number < kept])


def _turns(parts: Parts, numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [chat for number in sorted(numbers) for chat in parts.history[number].as_chat()]


def _block_items(parts: Parts, choice: Choice) -> list[Item]:
    """What stands in the block: background first, then messages by time."""
    hits = sorted((parts.hits[number] for number in choice.hits), key=lambda hit: (hit.created_at, hit.seq))
    return [parts.background[number].item for number in choice.background] + [of_hit(hit) for hit in hits]


def _items(parts: Parts, choice: Choice, kept: int | None, counter: TokenCounter) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if parts.system is not None:
        items.append(_item("system", [], count_messages(counter, [{"content": parts.system}]), "the agent's prompt"))
    for number in sorted(choice.units):
        unit = parts.history[number]
        items.append(_item("recent", unit.ids, count_messages(counter, unit.as_chat()), "recent turn"))
    for number in choice.background:
        each = parts.background[number]
        of_note = {} if each.note_id is None else {"note_id": each.note_id}
        items.append(_item(each.kind, each.message_ids, counter.count(item_lines(each.item)), each.why) | of_note)
    for number in sorted(choice.hits):
        hit = parts.hits[number]
        why = {"rank": number + 1, "score": hit.score, **hit.why}
        items.append(_item("recalled", [hit.message_id], counter.count(item_lines(of_hit(hit))), why))
    if parts.message is not None:
        ids = [] if parts.message_id is None else [parts.message_id]
        items.append(_item("user", ids, counter.count(parts.message), "the newest message"))
    elif kept is not None:
        unit = parts.history[kept]
        items.append(_item("user", unit.ids, count_messages(counter, unit.as_chat()), "the newest message"))
    if parts.after:
        items.append(_item("recent", parts.after_ids, count_messages(counter, parts.after), "calls of this turn"))
    return items


def _item(kind: str, ids: Sequence[str], tokens: int, why: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "message_ids": list(ids), "tokens": tokens, "why": why}


def _left_out(parts: Parts, choice: Choice, kept: int | None) -> list[dict[str, Any]]:
    shown = {name for n in (*choice.units, kept) if n is not None for name in parts.history[n].ids}
    packed = {parts.hits[number].message_id for number in choice.hits}
    texts = {parts.hits[number].text for number in choice.hits}
    left = [{"kind": "recent", "message_ids": ids, "reason": reason} for ids, reason in parts.unusable]
    for unit in parts.history:
        if not shown.issuperset(unit.ids) and not packed.issuperset(unit.ids):
            left.append({"kind": "recent", "message_ids": unit.ids, "reason": "no room in the budget"})
    for number, each in enumerate(parts.background):
        if number not in choice.background and not each.for_history:
            ids, reason = list(each.message_ids), "no room in its share of the budget"
            left.append({"kind": each.kind, "message_ids": ids, "reason": reason})
    for hit in parts.hits:
        if hit.message_id in packed or hit.message_id in shown:
            continue
        reason = "the same text is in already" if hit.text in texts else "no room in the budget"
        left.append({"kind": "recalled", "message_ids": [hit.message_id], "reason": reason})
    return left


def within_budget(hits: Sequence[RecallHit], budget: int, counter: TokenCounter) -> list[RecallHit]:
    """Those of the hits, best first, whose texts fit the budget together, each text once; the rest is skipped."""
    return [hit for hit, fate in budget_fates(hits, budget, counter) if fate is None]


def budget_fates(
    hits: Sequence[RecallHit], budget: int, counter: TokenCounter
) -> Iterator[tuple[RecallHit, Fate | None]]:
    """Each hit with what keeps it out of a budget: a text that was taken before, or too many tokens; None if taken."""
    taken, used = set(), 0
    for hit in hits:
        cost = counter.count(hit.text)
        if hit.text in taken:
            yield hit, Fate(stage="duplicate", detail="A better hit says the same.", figures={}, why=hit.why)
        elif used + cost > budget:
            figures = {"tokens": cost, "left": budget - used, "token_budget": budget, "by": used + cost - budget}
            yield hit, Fate(stage="budget", detail="It does not fit what is left.", figures=figures, why=hit.why)
        else:
            taken.add(hit.text)
            used += cost
            yield hit, None
