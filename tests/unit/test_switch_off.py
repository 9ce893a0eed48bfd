"""Prices, names and switch-off dates of models: pure decisions, with a fixed day."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from assistant import load_settings
from assistant.agents import Agents
from assistant.costs import Usage, cost_of
from assistant.errors import SettingsInvalid
from assistant.known_models import KnownModel, Price, read_models
from assistant.model_names import name_to_call
from assistant.server_models import Listing
from assistant.switch_off import configured_models, switch_offs

TODAY = date(2026, 11, 27)


def reported(
    model: str, known: dict[str, KnownModel], listing: Listing | None = None, aliases: dict[str, str] | None = None
) -> list[tuple[str, date, bool]]:
    found = switch_offs({model: "DEFAULT_MODEL"}, aliases or {}, known, listing, TODAY)
    return [(each.model, each.day, each.is_past) for each in found]


@pytest.mark.parametrize(
    ("days", "is_reported", "is_past"),
    [(-400, True, True), (0, True, True), (1, True, False), (30, True, False), (31, False, False)],
)
def test_a_switch_off_is_reported_30_days_before(days: int, is_reported: bool, is_past: bool) -> None:
    day = TODAY + timedelta(days=days)
    expected = [("old", day, is_past)] if is_reported else []
    assert reported("old", {"old": KnownModel(shutdown=day)}) == expected


def test_the_date_of_the_server_comes_before_the_date_of_the_file() -> None:
    past, soon, far = TODAY - timedelta(days=9), TODAY + timedelta(days=9), TODAY + timedelta(days=99)
    known = {"old": KnownModel(shutdown=past)}
    assert reported("old", known, {"old": soon}) == [("old", soon, False)]
    assert reported("old", known, {"old": far}) == []
    assert reported("new", {}, {"new": past}) == [("new", past, True)]
    assert reported("old", known, {"old": None}) == [], "the server has the model still"
    assert reported("old", known, {"new": None}) == [("old", past, True)]
    assert reported("old", {"old": KnownModel(shutdown=soon)}, {"old": None}) == [("old", soon, False)]


def test_the_model_that_an_alias_names_is_reported() -> None:
    known = {"old": KnownModel(shutdown=TODAY)}
    assert reported("old", known, aliases={"old": "new"}) == []
    assert reported("mine", known, aliases={"mine": "old"}) == [("old", TODAY, True)]


def test_every_setting_and_agent_that_names_a_model_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cook.md").write_text('+++\nmodel = "a"\n+++\nCook.')
    settings = load_settings(default_model="a", fallback_model="b", summary_model="c", agents_dir=tmp_path)
    assert configured_models(settings, Agents(tmp_path).all().values()) == {
        "a": "DEFAULT_MODEL, agent cook", "b": "FALLBACK_MODEL", "c": "MEMORY_ENGINE_SUMMARY_MODEL"
    }  # fmt: skip


def test_the_sentence_names_the_setting_the_day_and_the_replacement() -> None:
    (found,) = switch_offs({"gpt-5-mini": "DEFAULT_MODEL"}, {}, read_models(), None, TODAY)
    expected = "The model gpt-5-mini (DEFAULT_MODEL) is switched off on 2026-12-11; gpt-6.1-terra replaces it."
    assert found.sentence == expected


@pytest.mark.parametrize(
    ("alias", "replacement", "listing", "called"),
    [
        ("mine", None, None, "mine"),
        ("mine", "built-in", None, "mine"),
        (None, "built-in", None, "old"),  # it waits until the server refuses the name
        ("mine", "built-in", {"old": None}, "old"),
        ("mine", "built-in", {"new": None}, "mine"),
        (None, "built-in", {"new": None}, "built-in"),
        (None, None, {"new": None}, "old"),
    ],
)
def test_an_alias_is_used_only_for_a_name_that_is_not_listed(
    alias: str | None, replacement: str | None, listing: Listing | None, called: str
) -> None:
    assert name_to_call("old", alias=alias, replacement=replacement, listing=listing) == called


def test_the_shipped_file_has_the_published_prices() -> None:
    known = read_models()
    assert known["gpt-6.1-terra"].price == Price(
        input=1.0, cached_input=0.05, output=5.0, long_from=272_000, long_input=2, long_output=1.5
    )
    assert (known["gpt-4o"].shutdown, known["gpt-4o"].replacement) == (date(2027, 1, 14), "gpt-6-luna")
    for name, model in known.items():
        assert model.replacement is None or known[model.replacement].price is not None, name
    settings = load_settings()
    assert all(settings.price_of(name) for name in (settings.default_model, settings.fallback_model))


@pytest.mark.parametrize(
    ("usage", "micros"),
    [
        ((1000, 0, 100), 1000 * 1.0 + 100 * 5.0),
        ((1000, 800, 100), 200 * 1.0 + 800 * 0.05 + 100 * 5.0),
        ((272_000, 0, 10), 272_000 + 10 * 5.0),
        ((300_000, 100_000, 10), 2 * (200_000 + 100_000 * 0.05) + 1.5 * 10 * 5.0),
    ],
)
def test_a_call_costs_by_input_cached_input_and_output(usage: tuple[int, int, int], micros: float) -> None:
    prompt, cached, completion = usage
    used = Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)
    assert cost_of(load_settings(), "gpt-6.1-terra", used) == round(micros)


def test_settings_and_a_file_stand_in_place_of_the_shipped_entries(tmp_path: Path) -> None:
    own = tmp_path / "models.toml"
    own.write_text('[models.mine]\ninput = 3\noutput = 4\n[models."gpt-6-luna"]\nshutdown = 2030-01-01\n')
    settings = load_settings(models_file=own, prices={"two": (1.0, 2.0), "three": (1.0, 0.1, 2.0)})
    assert settings.price_of("mine") == Price(input=3, output=4)
    assert settings.price_of("two") == Price(input=1, output=2)
    assert settings.price_of("three") == Price(input=1, cached_input=0.1, output=2)
    assert settings.price_of("gpt-6-luna") is None, "an entry is replaced as a whole"
    assert settings.price_of("gpt-6.1-sol") is not None


@pytest.mark.parametrize(
    "text",
    ["", "[models", "[models.a]\ninput = -1\noutput = 1", "[models.a]\ninput = 1", "[models.a]\ntypo = 1",
     "models = 3", "[models]\na = 3", '[models.a]\nshutdown = "soon"'],
)  # fmt: skip
def test_a_file_of_models_that_is_wrong_is_refused_by_its_setting(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(SettingsInvalid, match="MEMORY_ENGINE_MODELS_FILE"):
        load_settings(MEMORY_ENGINE_MODELS_FILE=str(tmp_path / "models.toml"))


def test_a_model_without_a_price_cannot_stand_in(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"UNPRICED.*'nobody' is neither refuse nor free"):
        load_settings(MEMORY_ENGINE_UNPRICED="nobody")
    with pytest.raises(SettingsInvalid, match="MODELS_FILE"):
        load_settings(MEMORY_ENGINE_MODELS_FILE=str(tmp_path / "missing.toml"))
