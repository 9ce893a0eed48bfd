"""Retention policies: how they are read, and which rows go."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.errors import InvalidInput
from memory_engine.retention import DEFAULT_POLICY, Columns, Policy, Rows, Rule, going, parse_policy, read_policy

DAY = 24 * 3600 * 1_000_000
NOW = 1_000 * DAY


def rows(*ages: float, **columns: Any) -> Rows:
    """One row for each age in days, each of ten bytes."""
    read = Columns()
    for place, age in enumerate(ages):
        at = NOW - round(age * DAY)
        given = {"size": 10, "active_at": at, "used_at": at, "protected": False}
        given |= {name: values[place] for name, values in columns.items()}
        read.add(place, at=at, **given)
    return Rows.of(read)


def gone(rule: Rule, of: Rows) -> set[int]:
    return set(of.chosen(going(rule, of, NOW), but=set())[0])


def test_what_is_older_goes() -> None:
    assert gone(Rule(stratum="messages", older_than_days=30), rows(40, 29, 31, 30)) == {0, 2}


def test_the_newest_stay() -> None:
    assert gone(Rule(stratum="messages", keep_newest=2), rows(1, 4, 2, 3)) == {1, 3}
    assert gone(Rule(stratum="messages", keep_newest=0), rows(1, 4)) == {0, 1}


def test_the_newest_that_take_so_many_bytes_stay() -> None:
    assert gone(Rule(stratum="messages", keep_bytes=25), rows(1, 4, 2, 3)) == {1, 3}


def test_a_conversation_that_is_spoken_in_stays_whole() -> None:
    rule = Rule(stratum="messages", idle_days=10)
    assert gone(rule, rows(50, 40, 50, active_at=[NOW - 9 * DAY, NOW - 9 * DAY, NOW - 50 * DAY])) == {2}


def test_what_was_in_a_prompt_lately_stays() -> None:
    rule = Rule(stratum="messages", unless_recalled_days=10)
    assert gone(rule, rows(50, 50, used_at=[NOW - 3 * DAY, NOW - 11 * DAY])) == {1}


def test_a_row_goes_when_it_is_beyond_every_bound() -> None:
    rule = Rule(stratum="messages", older_than_days=10, keep_newest=2)
    assert gone(rule, rows(50, 40, 30, 5)) == {0, 1}
    assert gone(rule, rows(50, 4, 3, 2)) == {0}


@given(
    st.lists(st.tuples(st.integers(0, 99), st.booleans(), st.integers(0, 50)), max_size=20),
    st.integers(0, 60), st.integers(0, 20), st.integers(0, 400),
)  # fmt: skip
def test_what_is_protected_never_goes_and_a_looser_policy_takes_no_more(
    drawn: list[tuple[int, bool, int]], days: int, newest: int, size: int
) -> None:
    of = rows(*(age for age, _, _ in drawn), protected=[p for _, p, _ in drawn], size=[s for _, _, s in drawn])
    rule = Rule(stratum="messages", older_than_days=days, keep_newest=newest, keep_bytes=size)
    looser = Rule(stratum="messages", older_than_days=days + 1, keep_newest=newest + 1, keep_bytes=size + 1)
    assert not gone(rule, of) & {place for place, (_, protected, _) in enumerate(drawn) if protected}
    assert gone(looser, of) <= gone(rule, of)


def test_toml_and_json_of_one_shape_are_one_policy() -> None:
    toml = '[[rules]]\nstratum = "messages"\nolder_than_days = 365\nagent = "pm"\nkeep_summaries = true\n'
    text = (
        '{"rules": [{"stratum": "messages", "older_than_days": 365, "agent": "pm", "keep_summaries": true}]}'
    )  # fmt: skip
    written = parse_policy(toml, is_toml=True)
    read = read_policy(written)
    assert written == parse_policy(text, is_toml=False)
    assert read == read_policy(read.as_json())
    assert read.rules == (Rule(stratum="messages", older_than_days=365, agent="pm", keep_summaries=True),)
    assert read.restorable_days == 7


def test_the_default_policy_touches_nothing_that_was_said() -> None:
    assert {rule.stratum for rule in DEFAULT_POLICY.rules}.isdisjoint({"messages", "versions"})
    assert read_policy(DEFAULT_POLICY.as_json()) == DEFAULT_POLICY


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ([], "policy"),
        ({}, "policy.rules"),
        ({"rules": "all"}, "policy.rules"),
        ({"rules": [], "why": 1}, "policy.why"),
        ({"rules": [], "restorable_days": -1}, "policy.restorable_days"),
        ({"rules": [], "restorable_days": float("nan")}, "policy.restorable_days"),
        ({"rules": [7]}, "policy.rules[0]"),
        ({"rules": [{"stratum": "links", "older_than_days": 1}]}, "policy.rules[0].stratum"),
        ({"rules": [{"stratum": ["messages"], "older_than_days": 1}]}, "policy.rules[0].stratum"),
        ({"rules": [{"stratum": "messages"}]}, "policy.rules[0]"),
        ({"rules": [{"stratum": "messages", "age": 1}]}, "policy.rules[0].age"),
        ({"rules": [{"stratum": "messages", "older_than_days": -1}]}, "policy.rules[0].older_than_days"),
        ({"rules": [{"stratum": "messages", "older_than_days": True}]}, "policy.rules[0].older_than_days"),
        ({"rules": [{"stratum": "messages", "keep_newest": 1.5}]}, "policy.rules[0].keep_newest"),
        ({"rules": [{"stratum": "messages", "keep_newest": 10**400}]}, "policy.rules[0].keep_newest"),
        ({"rules": [{"stratum": "messages", "idle_days": 1, "agent": 7}]}, "policy.rules[0].agent"),
        ({"rules": [{"stratum": "messages", "idle_days": 1, "agent": " "}]}, "policy.rules[0].agent"),
        ({"rules": [{"stratum": "contexts", "idle_days": 1, "agent": "pm"}]}, "policy.rules[0].agent"),
        ({"rules": [{"stratum": "messages", "idle_days": 1, "keep_summaries": 1}]}, "policy.rules[0].keep_summaries"),
        (
            {"rules": [{"stratum": "versions", "idle_days": 1, "keep_summaries": True}]},
            "policy.rules[0].keep_summaries",
        ),
        ({"rules": [{"stratum": "messages", "idle_days": 1}] * 101}, "policy.rules"),
        (
            {
                "rules": [
                    {"stratum": "messages", "unless_recalled_days": 91},
                    {"stratum": "contexts", "older_than_days": 90},
                ]
            },
            "policy.rules[1]",
        ),
        (
            {
                "rules": [
                    {"stratum": "contexts", "keep_newest": 5},
                    {"stratum": "messages", "unless_recalled_days": 1},
                ]
            },
            "policy.rules[0]",
        ),
    ],
)
def test_a_wrong_policy_is_refused_in_one_sentence(raw: object, param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_policy(raw)
    assert refused.value.param == param
    assert str(refused.value).endswith(".")
    assert str(refused.value).count(". ") == 0


def test_prompts_that_are_kept_for_just_as_long_as_is_asked_will_do() -> None:
    read_policy(
        {"rules": [{"stratum": "messages", "unless_recalled_days": 90}, {"stratum": "contexts", "older_than_days": 90}]}
    )


@pytest.mark.parametrize(("text", "is_toml"), [("[[rules", True), ("{", False)])
def test_a_file_that_is_no_policy_is_refused(text: str, is_toml: bool) -> None:
    with pytest.raises(InvalidInput, match="The policy is no"):
        parse_policy(text, is_toml=is_toml)


def test_rows_stand_by_age_however_they_are_read() -> None:
    of = rows(1, 3, 2)
    assert list(of.ids) == [1, 2, 0]
    assert (np.diff(of.at) > 0).all()
    assert Policy(rules=()).restorable == 7 * DAY


_ODD = st.sampled_from([None, "", "30", True, [], {}, -1, -0.0, 0, 0.5, float("nan"), float("inf"), 10**400])
_BOUND = _ODD | st.integers(0, 60)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("older_than_days", "idle_days", "keep_newest", "keep_bytes"), _BOUND),
            "agent": st.sampled_from([None, "", " ", 7, "pm"]),
            "older_than": st.just(1),
        },
    )
)
def test_a_rule_takes_only_what_is_beyond_every_bound_that_it_names(written: dict[str, Any]) -> None:
    ages = (50, 40, 30, 20, 10)
    try:
        (rule,) = read_policy({"rules": [{"stratum": "messages", **written}]}).rules
    except InvalidInput:
        return
    bounds = {name: value for name, value in written.items() if name != "agent"}
    assert bounds, "a rule without a bound takes everything"
    assert all(type(value) in (int, float) and value >= 0 for value in bounds.values())
    assert rule.agent == written.get("agent")
    assert "agent" not in written or written["agent"] == "pm"
    beyond = {
        place
        for place, age in enumerate(ages)
        if age > max(bounds.get("older_than_days", 0), bounds.get("idle_days", 0))
        and len(ages) - place > bounds.get("keep_newest", 0)
        and 10 * (len(ages) - place) > bounds.get("keep_bytes", 0)
    }
    assert gone(rule, rows(*ages)) == beyond


@pytest.mark.parametrize(
    "bounds",
    [{}, {"older_than_days": -1}, {"keep_newest": -1}, {"keep_bytes": -5}, {"idle_days": float("nan")},
     {"older_than_days": float("-inf"), "keep_newest": 5}, {"keep_newest": 1.5}, {"keep_newest": True}],
)  # fmt: skip
def test_a_rule_made_in_python_needs_a_right_bound(bounds: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Rule(stratum="messages", **bounds)


def test_a_policy_file_that_names_a_field_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'older_than_days' is named twice"):
        parse_policy(
            '{"rules": [{"stratum": "messages", "older_than_days": 90, "older_than_days": 0}]}', is_toml=False
        )  # fmt: skip


def test_a_policy_without_a_window_takes_the_one_in_force() -> None:
    assert read_policy({"rules": []}, restorable_days=90).restorable_days == 90
    assert read_policy({"rules": [], "restorable_days": 3}, restorable_days=90).restorable_days == 3
    assert "restorable_days" not in parse_policy("rules = []", is_toml=True)
