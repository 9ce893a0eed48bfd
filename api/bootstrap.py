"""Joins the parts: from settings to services, and tells the command line where the service runs."""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

from api.keys import ApiKeys
from api.limits import Meter
from api.services import Services
from assistant import CustomAssistant, Settings
from assistant.bootstrap import open_engine
from memory_engine import MemoryEngine, Scope
from memory_engine.storage.database import Database
from memory_engine.storage.directory import DataDirectory

_SERVICE_FILE = "service.json"


def open_services(settings: Settings, *, any_embedder: bool = False) -> Services:
    """Open the memory and the assistant.

    Args:
        settings: where they are and what they use.
        any_embedder: take the embedder that the store has, whatever the settings say.

    Raises:
        MemoryEngineError: the store or the embedder cannot be had.
    """
    engine = open_engine(settings, any_embedder=any_embedder)
    assistant = CustomAssistant(engine, settings=settings)
    token = "run_" + secrets.token_urlsafe(24)
    keys = ApiKeys(engine.database, engine.clock)
    return Services(settings=settings, engine=engine, assistant=assistant, run_token=token, keys=keys, meter=Meter())


def load_samples(engine: MemoryEngine, progress: Callable[[str], None]) -> int:
    """Bring in the sample conversations when the store is empty, and return how many there were."""
    if engine.stats().messages:
        return 0
    paths = sorted((p for p in files("api.samples").iterdir() if p.name.endswith(".json")), key=lambda p: p.name)
    for path in paths:
        sample = json.loads(path.read_text(encoding="utf-8"))
        name = sample["conversation_id"]
        # An id of its own makes loading safe to repeat after a start that was cut off.
        said = [{**m, "id": f"msg_sample_{name}_{n}"} for n, m in enumerate(sample["messages"])]
        engine.remember(name, said, scope=Scope(), agent=sample["agent"])
        progress(name)
    return len(paths)


def write_service_file(data_dir: Path, address: str, token: str) -> None:
    """Tell the command line where this directory's service is; readable by its owner alone."""
    path = data_dir / _SERVICE_FILE
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"address": address, "pid": os.getpid(), "token": token}, file)
    part.replace(path)


def read_service_file(data_dir: Path) -> dict[str, str] | None:
    """What the directory's service last told of itself, or None."""
    try:
        found: dict[str, str] = json.loads((data_dir / _SERVICE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return found


def remove_service_file(data_dir: Path) -> None:
    """The service has ended."""
    (data_dir / _SERVICE_FILE).unlink(missing_ok=True)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database alone, for schema commands; its directory is ours meanwhile.

    Raises:
        StoreInUse: another process owns the directory.
        StoreUnavailable: the directory or the database's URL cannot be used.
    """
    if settings.database_url is not None:
        with closing(Database(settings.database_url)) as database:
            yield database
        return
    with (
        closing(DataDirectory(settings.data_dir)) as directory,
        closing(Database(Database.url_in(directory.path))) as database,
    ):
        yield database
