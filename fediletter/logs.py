"""Logs: JSON lines when nobody watches, short lines on a terminal; never an address or a token.

Events are fixed texts with fields. Whatever slips into them is scrubbed here once more (PR-3).
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
_LINKS = re.compile(r"/(account|confirm|data|preferences|setup|stay|unsubscribe)/[\w-]+")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def scrub(text: str) -> str:
    """The text without addresses and tokens of people."""
    return _ADDRESS.sub("[address]", _LINKS.sub(r"/\1/[token]", text))


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return scrub(json.dumps(line, ensure_ascii=False, default=str))


class ShortLines(logging.Formatter):
    """For people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(
            f"{name}={value}" for name, value in record.__dict__.items() if name not in _STANDARD
        )
        text = f"{record.levelname.lower():8}{record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return scrub(text)


def set_up_logs(level: str) -> None:
    """Log to stderr; libraries only what is worth a warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShortLines() if sys.stderr.isatty() else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("httpx", "apscheduler", "alembic", "uvicorn", "asyncio", "markdown_it"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
