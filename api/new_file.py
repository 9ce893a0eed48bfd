"""Files that commands write: new, readable by their owner alone, and under their name only once they are whole."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from api.client import ServiceError

Checked = TypeVar("Checked")


def write(path: Path, pieces: Iterable[bytes], check: Callable[[Path], Checked]) -> Checked:
    """Write the pieces to a new file; the check may refuse it by an error, and what it returns is returned.

    Raises:
        ServiceError: the file is there already, or cannot be written; nothing is left of it.
    """
    if path.exists():
        raise ServiceError(f"{path} is there already; choose a new name.")
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        checked = check(part)
        part.rename(path)
    except OSError as exc:
        raise ServiceError(f"{path} cannot be written: {exc.strerror}.") from exc
    finally:
        part.unlink(missing_ok=True)
    return checked
