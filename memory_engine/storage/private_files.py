"""Files that their owner alone can read, whatever the umask of the process and the mode of their folder."""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

#: Modes of a file and a folder that are made.
OWNER_ALONE_FILE, OWNER_ALONE = 0o600, 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_log = logging.getLogger(__name__)


def keep_private(path: Path) -> None:
    """Take the rights of group and others from a file or folder of ours; its owner keeps theirs.

    A file system that has no such rights, or a file of another user, is left as it is, with a warning.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:
        return
    except OSError as exc:
        _log.warning("%s may be readable by others: %s.", path, exc.strerror)


def create_private(path: Path) -> None:
    """Create an empty file, unless there is one. A path that cannot be written is left to its first writer to report.

    No file that exists is opened: closing it would end SQLite's locks on it, which belong to the process.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE_FILE))


def create_private_folder(path: Path) -> None:
    """Create a folder, and make one of ours that exists private. A path that cannot be used is left to its user."""
    with suppress(OSError):
        path.mkdir(mode=OWNER_ALONE, parents=True, exist_ok=True)
        keep_private(path)


def write_private(path: Path, content: str) -> None:
    """Write a text file in place of the one before.

    Raises:
        OSError: it cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ALONE_FILE), "w") as file:
        file.write(content)
    keep_private(path)
