"""What is slow to import waits until it is needed."""

import json
import subprocess
import sys
from pathlib import Path

from tests.running_service import clean_environment, command

_READY = """
import asyncio, json, sys
from pathlib import Path
from api.bootstrap import load_samples, open_services
from api.app import create_app
from assistant import load_settings
import httpx2

services = open_services(load_settings(data_dir=Path(sys.argv[1])))
load_samples(services.engine, lambda name: None)

async def ready():
    transport = httpx2.ASGITransport(app=create_app(services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return (await http.get("/ready")).json()

print(json.dumps({"status": asyncio.run(ready())["status"], "modules": sorted(sys.modules)}))
services.close()
"""


def modules_after(code: str, *args: str) -> tuple[str, set[str]]:
    child = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=clean_environment(), timeout=60
    )
    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    return told["status"], set(told["modules"])


def test_heavy_packages_are_not_imported_before_ready(tmp_path: Path) -> None:
    heavy = {"openai", "networkx", "chromadb", "wordllama", "tiktoken"}
    first, second = (modules_after(_READY, str(tmp_path / "data")) for _ in range(2))
    assert first[0] == second[0] == "ok"
    assert first[1].isdisjoint(heavy), "the store is made and the samples are loaded"
    assert second[1].isdisjoint(heavy | {"alembic", "lingua"}), "the samples are there already"


def test_help_imports_nothing_heavy() -> None:
    code = """
import io, json, sys
from contextlib import redirect_stdout
import api.cli

sys.argv = ["memory-engine", "--help"]
try:
    with redirect_stdout(io.StringIO()) as said:
        api.cli.main()
except SystemExit as ended:
    assert not ended.code and "serve" in said.getvalue()
print(json.dumps({"status": "ok", "modules": sorted(sys.modules)}))
"""
    _, modules = modules_after(code)
    heavy = {
        "numpy",
        "sqlalchemy",
        "fastapi",
        "uvicorn",
        "httpx2",
        "alembic",
        "openai",
        "chromadb",
        "networkx",
        "lingua",
    }
    assert modules.isdisjoint(heavy | {"pydantic"})
    child = subprocess.run(command("--help"), capture_output=True, text=True, env=clean_environment(), timeout=30)
    assert child.returncode == 0
    for name in ("serve", "chat", "recall", "context", "db", "doctor"):
        assert name in child.stdout
