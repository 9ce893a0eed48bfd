"""The tests themselves prove that nothing here needs more than this machine."""

import os
import socket
import subprocess
import sys

import pytest

from tests.run_isolated import ISOLATION, ROOT

_TRY = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=20)"


@pytest.fixture(autouse=True)
def _isolated() -> None:
    if ISOLATION not in os.environ:
        if "CI" in os.environ:  # no assert: it would print the environment
            pytest.fail("in CI the tests run through tests/run_isolated.py")
        pytest.skip("pytest was called directly, not through tests/run_isolated.py")


def test_no_connection_leaves_the_machine() -> None:
    with pytest.raises(OSError, match=r"unreachable|do not reach"):
        socket.create_connection(("192.0.2.1", 80), timeout=20)


def test_child_processes_are_cut_off_too() -> None:
    child = subprocess.run([sys.executable, "-c", _TRY], capture_output=True, text=True, timeout=30)
    assert child.returncode == 1
    assert "unreachable" in child.stderr or "do not reach" in child.stderr


def test_the_guard_lets_loopback_through_and_nothing_else() -> None:
    guard = str(ROOT / "tests" / "network_guard")
    code = f"""
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
socket.create_connection(("localhost", server.getsockname()[1])).close()
try:
    {_TRY.removeprefix("import socket; ")}
except OSError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": guard}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=30)
    assert child.stdout.strip() == "tests do not reach 192.0.2.1", child.stderr


def test_the_guard_resolves_no_names_of_others() -> None:
    code = "import socket; socket.getaddrinfo('localhost', 80); socket.getaddrinfo('example.org', 80)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "network_guard")}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=30)
    assert child.returncode == 1
    assert child.stderr.rstrip().endswith("OSError: tests do not reach example.org")


def test_the_exit_code_is_that_of_pytest() -> None:
    nothing_collected = [str(ROOT / "tests" / "run_isolated.py"), "tests/fakes.py", "--collect-only"]
    child = subprocess.run([sys.executable, *nothing_collected], capture_output=True, text=True, timeout=60)
    assert child.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, child.stdout + child.stderr
