"""Log lines of the gateway as dictionaries, before they are shaped and written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Line = dict[str, Any]
"""The fields of one line, with its ``event`` and ``log_level``."""
_BUILT_IN = vars(logging.makeLogRecord({})).keys() | {"message", "taskName"}


class _Captured(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
        self.lines.append({**fields, "event": record.getMessage(), "log_level": record.levelname.lower()})


@contextmanager
def capture_logs() -> Iterator[list[Line]]:
    """Return the lines of all levels while the block lasts; none of them is written."""
    log, captured = logging.getLogger("gateway"), _Captured()
    level, propagate = log.level, log.propagate
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(captured)
    try:
        yield captured.lines
    finally:
        log.removeHandler(captured)
        log.setLevel(level)
        log.propagate = propagate
