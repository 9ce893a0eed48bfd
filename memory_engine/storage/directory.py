"""The data directory and the lock that makes one process its owner."""

from pathlib import Path

from filelock import FileLock, Timeout

from memory_engine.errors import StoreInUse, StoreUnavailable

_LOCK = "memory-engine.lock"
#: The mode of a folder that is made; one that is there keeps its own.
OWNER_ALONE = 0o700


class DataDirectory:
    """A folder that this process owns until it closes it, or ends in whatever way."""

    def __init__(self, path: Path) -> None:
        """Take the folder, making it where there is none.

        Raises:
            StoreInUse: another process has it.
            StoreUnavailable: it cannot be made or written to.
        """
        self.path = path
        try:
            path.mkdir(mode=OWNER_ALONE, parents=True, exist_ok=True)
            self._lock = FileLock(path / _LOCK)
            self._lock.acquire(timeout=0)
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
