"""How long a backup and a restore of a store take: `python -m bench.backup DATA_DIR [--postgresql URL]`.

The store is backed up from SQLite, restored into a new SQLite file and, where an empty PostgreSQL database is named,
into that, backed up from there, and compared. Nothing is changed in the data directory.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from memory_engine import backup, restoring
from memory_engine.backup import Manifest
from memory_engine.clock import SystemClock
from memory_engine.storage.database import Database


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.1f} s")


def make(url: str, file: Path) -> Manifest:
    """Back the database up into the file."""
    with closing(Database(url)) as database, timed(f"backup of {url.partition(':')[0]}"), file.open("wb") as out:
        out.writelines(backup.stream(database, SystemClock().now()))
    with timed("check"):
        return restoring.check(file)


def bring_back(url: str, file: Path) -> None:
    """Restore the file into an empty database."""
    with closing(Database(url)) as database, timed(f"restore into {url.partition(':')[0]}"):
        restoring.restore(database, file, SystemClock(), {}, replace=False)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data_dir", type=Path)
    arguments.add_argument("--postgresql", default=None, help="the URL of an empty database")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = make(Database.url_in(asked.data_dir), folder / "first")
        sizes = [(asked.data_dir / "memory.sqlite3").stat().st_size, (folder / "first").stat().st_size]
        print(f"{first.rows('chat_messages'):,} messages, {sizes[0] / 1e6:.0f} MB, backup {sizes[1] / 1e6:.0f} MB")
        bring_back(f"sqlite:///{folder / 'second.sqlite3'}", folder / "first")
        if asked.postgresql is not None:
            bring_back(asked.postgresql, folder / "first")
            last = make(asked.postgresql, folder / "last")
            same = all(last.rows(table) == entry.rows for table, entry in first.tables.items() if table != "outbox")
            print("rows are the same" if same else "rows differ")


if __name__ == "__main__":
    main()
