"""A PostgreSQL cluster of the tests' own, from Debian's packages."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def postgres_binaries() -> Path | None:
    """Where initdb and pg_ctl are, or None when PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs."""

    #: Without a database's name.
    url: str
    #: Stops it at once, as a machine that goes down does, and starts it again.
    restart: Callable[[], None]


@contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """Start a cluster in a folder of its own; yields the URL without a database's name."""
    with running_cluster(binaries) as running:
        yield running.url


@contextmanager
def running_cluster(binaries: Path) -> Iterator[Cluster]:
    """Start a cluster in a folder of its own, which can be restarted."""
    folder = Path(tempfile.mkdtemp(prefix="memory-engine-pg-"))
    # initdb refuses root: then the package's own user does it, in a folder that it may enter.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        folder.chmod(0o700)
    data = folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *args: str) -> None:
        command = [*as_user, str(binaries / program), *args]
        subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)

    run("initdb", "-D", str(data), "-U", "tests", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"

    def start() -> None:
        run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")

    def restart() -> None:
        run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
        start()

    start()
    try:
        yield Cluster(f"postgresql+psycopg://tests@127.0.0.1:{port}", restart)
    finally:
        run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server_url: str) -> str:
    """Make an empty database and return its URL."""
    import psycopg

    name = f"t_{secrets.token_hex(6)}"
    plain = server_url.replace("+psycopg", "") + "/postgres"
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server_url}/{name}"
