"""Retention policies: which rows of a stratum may go, decided without touching any of them.

A policy is a list of rules. A rule speaks of one stratum and has one bound at least; a row goes when it is beyond
every bound of some rule. What is pinned or on hold never goes.
"""

import json
import tomllib
from array import array
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_engine.checks import check_name, fields_once
from memory_engine.errors import InvalidInput

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: The stratum whose rows are marked first and can be brought back; those of the others go at once.
MESSAGES = "messages"
#: What a policy can speak of. The assistant keeps the last three.
STRATA = (MESSAGES, "versions", "summaries", "contexts", "tool_calls", "model_calls")
#: The bounds of a rule, and the strata that have one of an agent.
_BOUNDS = ("older_than_days", "idle_days", "keep_newest", "keep_bytes", "unless_recalled_days")
_OF_AGENTS = (MESSAGES, "versions", "tool_calls", "model_calls")
_OF_MESSAGES = ("unless_recalled_days", "keep_summaries")
MAX_RULES = 100
#: Days for which what was pruned can be brought back, where no policy says otherwise.
RESTORABLE_DAYS = 7
#: No bound is as large: a thousand years of days, and more bytes than a disk has.
_MOST = {"keep_newest": 2**53, "keep_bytes": 2**53}
_MOST_DAYS = 365_000
_DAY = 24 * 3600 * 1_000_000


def _number(value: object, name: str, param: str) -> float:
    counts = name in _MOST
    most = _MOST.get(name, _MOST_DAYS)
    if isinstance(value, int if counts else int | float) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    kind = "a whole number" if counts else "a number of days"
    raise InvalidInput(f"{name} is {kind} from 0 to {most:,}.", param=f"{param}.{name}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What goes of one stratum: what is beyond all the bounds that are given.

    Raises:
        InvalidInput: it has no bound, which would take everything, or a bound that is not a number from 0.
    """

    stratum: str
    #: Only what this agent said or did; None for everyone's.
    agent: str | None = None
    #: It is older than so many days.
    older_than_days: float | None = None
    #: Its conversation has been silent for so many days.
    idle_days: float | None = None
    #: It is not among so many newest of its user.
    keep_newest: int | None = None
    #: It is not among the newest of its user that take so many bytes together.
    keep_bytes: int | None = None
    #: It was neither said nor in a prompt within so many days.
    unless_recalled_days: float | None = None
    #: Whether summaries outlive the messages that they rest on.
    keep_summaries: bool = False

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in _BOUNDS if getattr(self, name) is not None}
        if not given:
            raise InvalidInput(f"A rule needs a bound, one of {', '.join(_BOUNDS)}.", param="rule")
        for name, value in given.items():
            _number(value, name, "rule")

    @property
    def text(self) -> str:
        """The rule in one line, for a report."""
        bounds = [f"{name} {getattr(self, name):g}" for name in _BOUNDS if getattr(self, name) is not None]
        return ", ".join([*bounds, *([f"agent {self.agent}"] if self.agent else [])])

    def as_json(self) -> dict[str, Any]:
        """As it is written: what is not given is left out."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None and value is not False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a namespace keeps, and for how long."""

    rules: tuple[Rule, ...]
    #: Days for which messages that were pruned can be brought back.
    restorable_days: float = RESTORABLE_DAYS

    def as_json(self) -> dict[str, Any]:
        """In the shape in which policies are written."""
        return {"restorable_days": self.restorable_days, "rules": [rule.as_json() for rule in self.rules]}

    @property
    def restorable(self) -> int:
        """The window of a restore in microseconds."""
        return round(self.restorable_days * _DAY)


#: In force where nobody wrote another: what was said stays, and what is kept of how it was used goes by age.
DEFAULT_POLICY = Policy(
    rules=(
        Rule(stratum="contexts", older_than_days=90),
        Rule(stratum="tool_calls", older_than_days=180),
        Rule(stratum="model_calls", older_than_days=180),
        Rule(stratum="summaries", older_than_days=365),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows of one stratum and scope, oldest first; columns of one value a row, times in microseconds."""

    #: What names each row to its stratum.
    ids: Sequence[Any]
    #: When it was said or done.
    at: Ints
    #: Bytes of its texts.
    size: Ints
    #: When its conversation was last spoken in.
    active_at: Ints
    #: When it was said or last stood in a prompt.
    used_at: Ints
    #: Pinned, or in a conversation on hold.
    protected: Mask

    @classmethod
    def of(cls, columns: "Columns") -> "Rows":
        """From columns whose rows stand in any order."""
        order = np.argsort(np.frombuffer(columns.at, np.int64), kind="stable")
        sorted_ = {
            name: np.frombuffer(getattr(columns, name), np.int64)[order]
            for name in ("at", "size", "active_at", "used_at")
        }
        protected = np.frombuffer(columns.protected, np.int64)[order].astype(bool)
        return cls(ids=[columns.ids[place] for place in order.tolist()], protected=protected, **sorted_)

    @classmethod
    def of_none(cls) -> "Rows":
        """No rows."""
        return cls.of(Columns())

    def chosen(self, mask: Mask, *, but: Set[Any]) -> tuple[list[Any], int]:
        """The ids of the rows that the mask names, without these, and the bytes that they take."""
        places = [place for place in np.flatnonzero(mask).tolist() if self.ids[place] not in but]
        return [self.ids[place] for place in places], int(self.size[places].sum())


class Columns:
    """Rows as they are read, one after the other: a million of them take little room."""

    def __init__(self) -> None:
        self.ids: list[Any] = []
        self.at, self.size, self.active_at, self.used_at, self.protected = (array("q") for _ in range(5))

    def add(self, row_id: object, *, at: int, size: int, active_at: int, used_at: int, protected: bool) -> None:
        """One more row; times in microseconds."""
        self.ids.append(row_id)
        self.at.append(at)
        self.size.append(size)
        self.active_at.append(active_at)
        self.used_at.append(used_at)
        self.protected.append(protected)


def going(rule: Rule, rows: Rows, now: int) -> Mask:
    """Which rows go by the rule; `now` in microseconds."""
    beyond = ~rows.protected
    for days, since in (
        (rule.older_than_days, rows.at), (rule.idle_days, rows.active_at), (rule.unless_recalled_days, rows.used_at),
    ):  # fmt: skip
        if days is not None:
            beyond = beyond & (since < now - round(days * _DAY))
    if rule.keep_newest is not None:
        beyond = beyond & (np.arange(len(rows.at), 0, -1) > rule.keep_newest)
    if rule.keep_bytes is not None:
        beyond = beyond & (np.cumsum(rows.size[::-1])[::-1] > rule.keep_bytes)
    return beyond


def read_policy(raw: object, param: str = "policy", *, restorable_days: float = RESTORABLE_DAYS) -> Policy:
    """A policy as it is written in JSON, or in TOML once that was parsed.

    Args:
        raw: the policy.
        param: what errors call it.
        restorable_days: the window of a policy that names none.

    Raises:
        InvalidInput: something in it is unknown, missing or wrong; one sentence says what, and nothing was changed.
    """
    if not isinstance(raw, Mapping):
        raise InvalidInput("A policy is a table with rules.", param=param)
    _check_known(raw, ("rules", "restorable_days"), param)
    rules = raw.get("rules")
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        raise InvalidInput("A policy needs a list of rules, which may be empty.", param=f"{param}.rules")
    if len(rules) > MAX_RULES:
        raise InvalidInput(f"A policy has at most {MAX_RULES} rules.", param=f"{param}.rules")
    days = _number(raw.get("restorable_days", restorable_days), "restorable_days", param)
    read = tuple(_read_rule(rule, f"{param}.rules[{number}]") for number, rule in enumerate(rules))
    _check_memory_of_recalls(read, param)
    return Policy(rules=read, restorable_days=days)


def parse_policy(text: str, *, is_toml: bool) -> dict[str, Any]:
    """A policy from the text of a file, checked, and as it is written there.

    Raises:
        InvalidInput: the text is no TOML or JSON, or no policy.
    """
    try:
        raw = tomllib.loads(text) if is_toml else json.loads(text, object_pairs_hook=fields_once)
    except ValueError as exc:
        raise InvalidInput(f"The policy is no {'TOML' if is_toml else 'JSON'}: {exc}.", param="policy") from exc
    read_policy(raw)
    checked: dict[str, Any] = raw
    return checked


def _read_rule(raw: object, param: str) -> Rule:
    if not isinstance(raw, Mapping):
        raise InvalidInput("A rule is a table with a stratum and a bound.", param=param)
    _check_known(raw, [field.name for field in fields(Rule)], param)
    stratum = raw.get("stratum")
    if stratum not in STRATA:
        raise InvalidInput(f"A rule's stratum is one of {', '.join(STRATA)}.", param=f"{param}.stratum")
    # A row goes when it is beyond every bound, and of any agent where none is named: a null would take more rows.
    if empty := next((name for name, value in raw.items() if value is None), None):
        raise InvalidInput(f"{empty} is null. Give it a value or leave it out.", param=f"{param}.{empty}")
    bounds = {name: _number(raw[name], name, param) for name in _BOUNDS if name in raw}
    if not bounds:
        raise InvalidInput(f"A rule needs a bound, one of {', '.join(_BOUNDS)}.", param=param)
    keep = raw.get("keep_summaries", False)
    if not isinstance(keep, bool):
        raise InvalidInput("keep_summaries is true or false.", param=f"{param}.keep_summaries")
    if stratum != MESSAGES and (wrong := next((name for name in _OF_MESSAGES if raw.get(name)), None)):
        raise InvalidInput(f"{wrong} is for the stratum messages.", param=f"{param}.{wrong}")
    agent = _read_agent(raw.get("agent"), stratum, f"{param}.agent")
    return Rule(stratum=stratum, agent=agent, keep_summaries=keep, **bounds)  # type: ignore[arg-type]


def _read_agent(agent: object, stratum: str, param: str) -> str | None:
    if agent is None:
        return None
    if not isinstance(agent, str):
        raise InvalidInput("An agent is named by a text.", param=param)
    if stratum not in _OF_AGENTS:
        raise InvalidInput(f"Rows of the stratum {stratum} name no agent.", param=param)
    return check_name(agent, param)


def _check_known(raw: Mapping[Any, Any], known: Sequence[str], param: str) -> None:
    if unknown := [name for name in raw if name not in known]:
        raise InvalidInput(f"Unknown field {unknown[0]!r}.", param=f"{param}.{unknown[0]}")


def _check_memory_of_recalls(rules: Sequence[Rule], param: str) -> None:
    """See that the prompts are kept for as long as a rule asks whether a message was in one."""
    asked = max((rule.unless_recalled_days or 0 for rule in rules), default=0)
    if not asked:
        return
    for number, rule in enumerate(rules):
        days = rule.older_than_days
        if rule.stratum == "contexts" and (days is None or days < asked):
            text = f"Contexts tell what was recalled, and have to be kept for the {asked:g} days that a rule asks for"
            raise InvalidInput(f"{text} by unless_recalled_days.", param=f"{param}.rules[{number}]")
