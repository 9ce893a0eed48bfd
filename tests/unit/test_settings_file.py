"""Which file settings are read from: no folder that a person works in redirects the key of the environment."""

from pathlib import Path

import pytest

from assistant import Settings, load_settings
from assistant.errors import SettingsInvalid
from assistant.settings import ignored_settings_file
from tests.running_service import RunningService

HOSTILE = "OPENAI_BASE_URL=http://evil.example/v1\n"


@pytest.fixture
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")


@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize("place", [".env", "memory-data/.env"])
def test_a_file_of_the_current_folder_does_not_redirect_the_key_of_the_environment(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(HOSTILE)
    for settings in (load_settings(), Settings(), load_settings(data_dir=tmp_path / "elsewhere")):
        assert (settings.openai_api_key, settings.openai_base_url) == ("sk-mine", None)


def test_a_key_in_lower_case_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("openai_api_key", "sk-mine")
    (tmp_path / ".env").write_text(HOSTILE)
    assert (load_settings().openai_api_key, load_settings().openai_base_url) == ("sk-mine", None)


def test_without_a_key_in_the_environment_the_current_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:9/v1\nDEFAULT_MODEL=m\n")
    assert load_settings().openai_base_url == "http://127.0.0.1:9/v1"
    monkeypatch.setenv("DEFAULT_MODEL", "of the environment")
    assert load_settings().default_model == "of the environment"


def test_the_file_of_a_named_data_directory_is_read_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".env").write_text("OPENAI_API_KEY=sk-of-the-store\n")
    (tmp_path / ".env").write_text(HOSTILE)
    named = load_settings(data_dir=tmp_path / "data")
    assert (named.openai_api_key, named.openai_base_url) == ("sk-of-the-store", None)
    monkeypatch.setenv("MEMORY_ENGINE_DATA_DIR", str(tmp_path / "data"))
    assert load_settings() == named


@pytest.mark.usefixtures("with_key")
def test_a_file_that_the_environment_names_is_read_also_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.env").write_text("OPENAI_BASE_URL=http://127.0.0.1:9/v1\n")
    monkeypatch.setenv("MEMORY_ENGINE_ENV_FILE", str(tmp_path / "my.env"))
    assert load_settings().openai_base_url == "http://127.0.0.1:9/v1"
    monkeypatch.setenv("MEMORY_ENGINE_ENV_FILE", str(tmp_path / "missing.env"))
    with pytest.raises(SettingsInvalid, match=r"MEMORY_ENGINE_ENV_FILE is wrong: .* is not a file"):
        load_settings()


def test_a_file_that_is_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(HOSTILE)
    assert ignored_settings_file(load_settings()) is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert ignored_settings_file(load_settings()) == Path(".env")


def test_the_service_says_that_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(HOSTILE)
    with RunningService(tmp_path / "data", OPENAI_API_KEY="sk-mine") as service:
        assert "is not read, because OPENAI_API_KEY is in the environment" in service.line()
