"""What the README shows works as it is written."""

import re
import subprocess
import sys
from pathlib import Path

from tests.http.conftest import Api
from tests.running_service import clean_environment

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=clean_environment(), timeout=60
    )
    assert child.returncode == 0, child.stderr
    assert "I moved to Lyon in March." in child.stdout


def test_the_requests_are_answered(api: Api) -> None:
    calls = re.findall(r"curl -s localhost:8000(\S+) .*?-d '(.*?)'", README, re.DOTALL)
    assert [path for path, _ in calls] == ["/v1/memory/messages", "/v1/memory/recall", "/v1/memory/context"]
    for path, body in calls:
        answer = api.post_raw(path, body.encode())
        assert answer.status_code in (200, 201), answer.text
    assert "I moved to Lyon in March." in answer.text
    assert api.recall("when did I move?")


def test_every_setting_named_is_one() -> None:
    from assistant.settings import Settings

    known = {str(field.validation_alias or name).upper() for name, field in Settings.model_fields.items()}
    section = README.partition("## Settings")[2].partition("## More")[0]
    named = set(re.findall(r"`([A-Z_]{6,})`", section))
    assert named <= known
    assert {name for name in known if name.startswith("MEMORY_ENGINE_")} <= named
