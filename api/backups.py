"""Backups as files: written by a command, and restored into a store that nobody uses."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from api import new_file
from api.bootstrap import open_database
from assistant import Settings
from assistant.copies import Copies
from memory_engine import restoring
from memory_engine.backup import Manifest
from memory_engine.clock import SystemClock
from memory_engine.ports import Progress
from memory_engine.redaction import redact
from memory_engine.restoring import Restored
from memory_engine.storage.directory import DataDirectory


def write(path: Path, pieces: Iterator[bytes], progress: Progress) -> Manifest:
    """Write a backup to a new file, and check it.

    Raises:
        ServiceError: the file is there already, or cannot be written; nothing is left of it.
        StoreError: the store does not answer.
    """
    return new_file.write(path, pieces, lambda part: restoring.check(part, progress))


def place_of(settings: Settings) -> str:
    """Return the name of the store that the settings mean, without a password."""
    if settings.database_url is None:
        return f"the store in {settings.data_dir.absolute()}"
    return f"the database {redact(settings.database_url)}"


def restore(settings: Settings, path: Path, *, replace: bool, progress: Progress) -> Restored:
    """Put a backup into the store that the settings name, which nobody else may use meanwhile.

    Raises:
        StoreInUse: a service runs on the store.
        StoreError: the file is not whole, or the store is not empty; nothing was changed.
    """
    with ExitStack() as opened:
        if settings.database_url is not None and settings.chroma_url is None:
            opened.enter_context(closing(DataDirectory(settings.data_dir)))
        database = opened.enter_context(open_database(settings))
        clock = SystemClock()
        keepers = {"assistant": Copies(clock)}
        restored = restoring.restore(database, path, clock, keepers, replace=replace, progress=progress)
        if settings.chroma_url is None:
            shutil.rmtree(settings.data_dir / "chroma", ignore_errors=True)  # what was there is of other rows
    return restored
