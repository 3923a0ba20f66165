"""How our processes log: a constant event name and fields, one line each, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        shown = " ".join(f"{name}={value}" for name, value in fields.items())
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = f"{stamp} {record.levelname.lower()} {record.getMessage()} {shown}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def to_stderr(level: int = logging.INFO) -> None:
    """Sends this process's log there; lost lines of a full disk or a closed pipe change nothing."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.raiseExceptions = False
    logging.basicConfig(level=level, handlers=[handler], force=True)
