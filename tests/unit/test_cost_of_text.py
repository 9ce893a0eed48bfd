"""No text costs more than linear time: the short form of `bench.cost_of_text`, over all expressions and stages."""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import pytest

from bench import cost_of_text
from bench.cost_of_text import BOUNDED, UNBOUNDED, expressions, modules, searched, seconds, stages, texts_of
from bench.hostile_text import RUNS, run_of, texts_against

#: Characters of the texts. A quadratic search of the longer one takes 200 ms or far more, a linear one 20 at most.
SHORT, LONG = 4_000, 16_000
#: CPU seconds under which nothing is measured again, and the ratio up to which time is linear: 4 where it is, else 16.
SOON, LINEAR = 0.06, 8.0
#: Expressions that are not made when a module is loaded, by module; `expressions` makes the same for these.
MADE_LATER = {
    "memory_engine.lexical.time_expressions": 1,
    "memory_engine.lexical.near_days": 6,
    "memory_engine.lexical.time_words": 2,
    "assistant.agents": 1,
}
#: Functions of `re` that read an expression.
READS = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")


def is_linear(work: Callable[[int], object]) -> bool:
    """Whether work on the long text takes no more than linear time; measured again where the first time is slow."""
    if seconds(partial(work, LONG)) <= SOON:
        return True
    ratios = [seconds(partial(work, LONG)) / max(seconds(partial(work, SHORT)), 1e-4) for _ in range(3)]
    return median(ratios) <= LINEAR


def test_every_expression_of_the_service_is_covered() -> None:
    found = Counter[str]()
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(function):
                    is_re = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                    if is_re and ast.unparse(call.func) in {f"re.{name}" for name in READS}:  # type: ignore[attr-defined]
                        found[module.__name__] += 1
    assert found == MADE_LATER, "give a module-level expression a name, or add it to cost_of_text.expressions"
    held = {module for module, _ in expressions()}
    assert held >= {*MADE_LATER, *BOUNDED, "memory_engine.consolidation.sentences", "memory_engine.redaction"}
    assert set(expressions()) >= UNBOUNDED
    assert len(expressions()) > 150


@pytest.mark.parametrize(
    "slow", [r"[.!?…]+[\"'”]*(?=\s)", r"позови\S*\s+(?:на)?\s*pm", r"<(?=\s*/?\s*think)", r"\w+@\w+"]
)
def test_a_slow_expression_is_found(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SHORT", 1_500), ("LONG", 6_000), ("SOON", 0.01)):
        monkeypatch.setitem(globals(), name, value)
    pattern = re.compile(slow)
    assert not all(is_linear(work) for work in searches(pattern, lambda length: texts_against(pattern, length)))


def searches(
    pattern: re.Pattern[Any], texts: Callable[[int], Iterator[str | bytes]]
) -> Iterator[Callable[[int], object]]:
    """Yield a function that searches a text of the length that it takes, for each kind of text."""
    made = {length: list(texts(length)) for length in (SHORT, LONG)}
    for number in range(len(made[LONG])):
        yield lambda length, number=number: searched(pattern, made[length][number])  # type: ignore[misc]


@pytest.mark.parametrize(("module", "text"), sorted(expressions()), ids=lambda value: str(value)[:40])
def test_an_expression_takes_linear_time(module: str, text: str) -> None:
    pattern: Any = expressions()[module, text]
    works = list(searches(pattern, lambda length: texts_of(module, pattern, length)))
    assert all(is_linear(work) for work in works)
    if module in BOUNDED and (module, text) not in UNBOUNDED:  # the two lengths are one
        assert max(median(seconds(partial(work, LONG)) for _ in range(3)) for work in works or [lambda _: None]) < SOON


@pytest.mark.parametrize("stage", sorted(stages()))
def test_a_stage_takes_linear_time(stage: str) -> None:
    work = stages()[stage]
    for piece in RUNS:
        assert is_linear(lambda length, piece=piece: work(run_of(piece, length))), piece  # type: ignore[misc]


def test_the_long_form_measures_waits_and_ratios(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost_of_text, "RUNS", ("a ", "."))
    monkeypatch.setattr(cost_of_text, "SMALL", 1_000)
    monkeypatch.setattr(cost_of_text, "LARGE", 10_000)
    monkeypatch.setattr(cost_of_text, "stages", lambda: {"sentences": stages()["sentences"]})
    monkeypatch.setattr(cost_of_text, "expressions", lambda: {("m", "a+"): re.compile("a+")})
    monkeypatch.setattr("sys.setswitchinterval", lambda _: None)
    assert cost_of_text.main() == 0
    assert "sentences" in capsys.readouterr().out
