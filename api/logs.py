"""What the service logs: lines on stderr, without secrets."""

import logging
import logging.config
import sys
from typing import Any

import structlog

from memory_engine.redaction import redact

_LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "api.logs.RedactingFormatter", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback included, and redacts what it gives."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        return redact(super().format(record))


def set_up_logs() -> None:
    """Let every logger of this process, libraries' among them, write redacted lines to stderr."""
    logging.config.dictConfig(_LOGS)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
            _redacted,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _redacted(_logger: object, _method: str, line: Any) -> str:
    return redact(line)
