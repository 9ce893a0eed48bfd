"""Runs pytest cut off from the network: in a namespace with loopback alone where permitted, else behind a guard.

Usage: python tests/run_isolated.py [pytest arguments]. The exit code is pytest's.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Tells the tests how they are cut off: "namespace" or "guard".
ISOLATION = "TESTS_ISOLATION"
_INSIDE = "--inside"
#: All of them, in two processes: much of what tests do is waiting. A file's tests share what they start.
_ALL = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


def main() -> int:
    """Cut the process off and run pytest."""
    arguments = sys.argv[1:]
    if arguments[:1] == [_INSIDE]:
        _raise_loopback()
        return _pytest(arguments[1:], {ISOLATION: "namespace"})
    if _may_unshare():
        command = ["unshare", "-n", sys.executable, __file__, _INSIDE, *arguments]
        return subprocess.run(command, check=False).returncode
    guard = str(Path(__file__).parent / "network_guard")
    path = os.pathsep.join(filter(None, (guard, os.environ.get("PYTHONPATH"))))
    return _pytest(arguments, {ISOLATION: "guard", "PYTHONPATH": path})


def _may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0


def _raise_loopback() -> None:
    """What `ip link set lo up` does, where there may be no `ip`."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"\0" * 14)
        flags = struct.unpack("16sH14s", fcntl.ioctl(control, get_flags, request))[1]
        fcntl.ioctl(control, set_flags, struct.pack("16sH14s", b"lo", flags | up, b"\0" * 14))


def _pytest(arguments: list[str], environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *(arguments or _ALL)]
    return subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, **environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
