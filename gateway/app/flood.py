"""What becomes of log lines when thousands are the same, as when a node of phones is lost?

The first of a kind are written, the others counted, and one line says how many they were.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.edge.witness import PEER_CODES
from gateway.runtime.ports import Clock

WINDOW_S: Final = 10.0
LINES: Final = 50
"""So many lines of one kind are written in a window: a node's usual coming and going stays whole."""
KINDS_MAX: Final = 256
"""Kinds that are counted one by one; lines of others share one count while those last."""
_EVENT_CHARACTERS: Final = 200
_TELLER: Final = "gateway.suppressed"


class Kind(NamedTuple):
    """What makes lines equal: all but who and how much."""

    logger: str
    level: int
    event: str
    close_code: int | None = None
    """As metrics tell it apart: none for what clients make up, or each code had a bound of its own."""


_OTHERS: Final = Kind("", logging.WARNING, "lines of many kinds")


@dataclass(slots=True)
class _Window:
    until: float
    lines: int = 0


class FloodControl(logging.Filter):
    """Lets so many lines of a kind through in a window, and counts the rest.

    Invariants: what is counted is told, by the next line of any kind after the window's end or by
    :meth:`settle`; memory is bounded by :data:`KINDS_MAX`. Any thread may log.

    Args:
        now: Monotonic seconds.
        whole: The logger whose lines are all written: they are numbered, and none may be missing.
    """

    def __init__(self, now: Callable[[], float], whole: str) -> None:
        super().__init__()
        self._now = now
        self._whole: Final = frozenset((whole, _TELLER))
        self._windows: dict[Kind, _Window] = {}
        self._lock: Final = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record* is written."""
        if record.name in self._whole:
            return True
        with self._lock:
            is_written, over = self._count(_kind(record), self._now())
        _tell(over)
        return is_written

    def settle(self, *, at_once: bool = False) -> None:
        """Tell what was counted in windows that are over, or *at_once* in all."""
        with self._lock:
            over = self._over(float("inf") if at_once else self._now())
        _tell(over)

    @property
    def kinds(self) -> int:
        """How many kinds are counted now."""
        return len(self._windows)

    def _count(self, kind: Kind, now: float) -> tuple[bool, list[tuple[Kind, int]]]:
        over = self._over(now)
        if kind not in self._windows and len(self._windows) >= KINDS_MAX:
            kind = _OTHERS
        window = self._windows.setdefault(kind, _Window(now + WINDOW_S))
        window.lines += 1
        return window.lines <= LINES, over

    def _over(self, now: float) -> list[tuple[Kind, int]]:
        """Let go of windows that are over; returns how many lines of each were not written.

        Windows stand in the order in which they end, so those that go on are not looked at.
        """
        over: list[tuple[Kind, int]] = []
        while self._windows:
            kind = next(iter(self._windows))
            if self._windows[kind].until > now:
                break
            counted = self._windows.pop(kind).lines - LINES
            if counted > 0:
                over.append((kind, counted))
        return over


async def settling(flood: FloodControl, clock: Clock) -> None:
    """Tell what was counted also while nobody logs, until cancelled; then at once."""
    try:
        while True:
            await clock.sleep(WINDOW_S)
            flood.settle()
    finally:
        flood.settle(at_once=True)


def _kind(record: logging.LogRecord) -> Kind:
    """Return the kind of a line of structlog's, or of the standard library's by its template."""
    if not isinstance(record.msg, dict):
        return Kind(record.name, record.levelno, str(record.msg)[:_EVENT_CHARACTERS])
    event, code = str(record.msg.get("event"))[:_EVENT_CHARACTERS], record.msg.get("close_code")
    is_told = isinstance(code, int) and (record.msg.get("initiator") == "gateway" or code in PEER_CODES)
    return Kind(record.name, record.levelno, event, code if is_told else None)


def _tell(over: list[tuple[Kind, int]]) -> None:
    for kind, counted in over:
        extra: dict[str, object] = {"suppressed": counted, "of": kind.event, "window_s": WINDOW_S}
        if kind.close_code is not None:
            extra["close_code"] = kind.close_code
        logging.getLogger(_TELLER).log(kind.level, "lines suppressed", extra=extra)
