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
