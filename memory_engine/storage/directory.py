"""The data directory and the lock that makes one process its owner."""

from pathlib import Path

from filelock import FileLock, Timeout

from memory_engine.errors import StoreInUse, StoreUnavailable
from memory_engine.storage.private_files import OWNER_ALONE, OWNER_ALONE_FILE, keep_private

_LOCK = "memory-engine.lock"
#: Files and folders of ours; the database's own are made private when it is opened.
_OURS = ("memory.sqlite3*", _LOCK, "service.json", "service.part", "chroma")


class DataDirectory:
    """A folder that this process owns until it closes it, or ends in whatever way."""

    def __init__(self, path: Path) -> None:
        """Take the folder, making it where there is none. A folder keeps its mode, but its files become private.

        Raises:
            StoreInUse: another process has it.
            StoreUnavailable: it cannot be made or written to.
        """
        self.path = path
        try:
            path.mkdir(mode=OWNER_ALONE, parents=True, exist_ok=True)
            self._lock = FileLock(path / _LOCK, mode=OWNER_ALONE_FILE)
            self._lock.acquire(timeout=0)
            for pattern in _OURS:
                for ours in path.glob(pattern):
                    keep_private(ours)
        except Timeout as exc:
            raise StoreInUse(f"The data directory {path} is in use by another process.") from exc
        except OSError as exc:
            raise StoreUnavailable(f"The data directory {path} cannot be used: {exc.strerror}.") from exc

    @property
    def chroma(self) -> Path:
        """Where the embedded Chroma keeps its files."""
        return self.path / "chroma"

    def close(self) -> None:
        """Let another process have it."""
        self._lock.release()
