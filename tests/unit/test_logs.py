"""Logs: what they say, and what they do not."""

import subprocess
import sys

PROGRAM = """
import logging, structlog
from api.logs import set_up_logs
set_up_logs()
key = "sk-" + "aB3dE5gH7jK9mN1pQ2rS4tU6"
logging.getLogger("uvicorn.error").warning("asked with %s", key)
structlog.get_logger().warning("tool_failed", error=f"401 for {key}")
try:
    raise ValueError(f"postgresql://me:hunter2@db refused")
except ValueError:
    logging.getLogger("uvicorn.error").exception("it failed")
    structlog.get_logger().exception("it failed")
"""


def test_no_log_line_and_no_traceback_shows_a_secret() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "aB3dE5" not in done.stderr
    assert "hunter2" not in done.stderr.replace('f"postgresql://me:hunter2@db', "")
    assert done.stderr.count("[redacted: api key]") == 2
    assert done.stderr.count("ValueError: postgresql://me:[redacted: password]@db refused") == 2
