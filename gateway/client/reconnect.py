"""Reconnect policy: when, if at all, to connect again after a close.

The page's rules: the range of the close code gives the verdict; advised windows and
``Retry-After`` win over the back-off, which is full jitter (AWS Architecture Blog,
"Exponential Backoff And Jitter", 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from gateway.domain.errors import Verdict, verdict

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 20.0
STABLE_S: Final = 30.0
"""A connection that lasted so long ends a row of failures."""
HURRY_S: Final = 2.0
"""At most one try in this time comes from the foreground or the network."""
ADVISED_MAX_S: Final = 3600.0
"""No advice keeps a client away for longer."""
ABNORMAL: Final = 1006
"""RFC 6455 §7.4.1: the connection was lost without a close frame, or never came up."""


class Window(NamedTuple):
    """When to come back, as advised: a random instant from *min_s* to *max_s*."""

    min_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended, or why it never began."""

    code: int
    reason: str
    by: str | None = None
    window: Window | None = None


LOST: Final = Ending(ABNORMAL, "connection lost")


@dataclass(frozen=True, slots=True)
class Stop:
    """Do not come back."""


@dataclass(frozen=True, slots=True)
class Again:
    """Connect again with the same session."""

    in_s: float


@dataclass(frozen=True, slots=True)
class LogOnAgain:
    """Log on with what the device stores, then connect."""

    in_s: float


Step = Stop | Again | LogOnAgain


class Backoff:
    """How long to wait after each of a row of failures: ``rand(0, min(20 s, 0.5 s · 2^n))``."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    def failed(self, jitter: float) -> float:
        """Record a failure; returns seconds to wait. *jitter* is in [0, 1)."""
        doublings = min(self._failures, 10)
        self._failures += 1
        return jitter * min(BACKOFF_MAX_S, BACKOFF_FIRST_S * float(2**doublings))

    def lasted(self, seconds: float) -> None:
        """Record how long a connection was up; only a stable one ends the row of failures."""
        if seconds >= STABLE_S:
            self._failures = 0


class Reconnect:
    """Decides after each ending what comes next."""

    __slots__ = ("_backoff", "_hurried_at")

    def __init__(self) -> None:
        self._backoff = Backoff()
        self._hurried_at: float | None = None

    def after(self, ending: Ending, up_s: float, jitter: float) -> Step:
        """Return what to do after a connection that was up for *up_s* ended; *jitter* is in [0, 1)."""
        self._backoff.lasted(up_s)
        match verdict(ending.code):
            case Verdict.STOP:
                return Stop()
            case Verdict.BACK_OFF | Verdict.WINDOW:
                return Again(self.wait_s(ending.window, jitter))
            case Verdict.LOG_ON:
                return LogOnAgain(self.wait_s(ending.window, jitter))
            case other:
                assert_never(other)

    def wait_s(self, window: Window | None, jitter: float) -> float:
        """Return seconds until the next try: within *window* when there is one, else backed off."""
        backed_off_s = self._backoff.failed(jitter)
        if window is None:
            return backed_off_s
        low, high = (max(0.0, min(bound, ADVISED_MAX_S)) for bound in window)
        return low + jitter * max(0.0, high - low)

    def hurry(self, now: float) -> float:
        """Return seconds until a try because of the foreground or the network may be made; notes it."""
        if self._hurried_at is None or now >= self._hurried_at + HURRY_S:
            self._hurried_at = now
        elif now >= self._hurried_at:
            self._hurried_at += HURRY_S
        return self._hurried_at - now


def window_of(min_s: float | None, max_s: float | None) -> Window | None:
    """Return the window that a `bye` advises; None when it advises none."""
    if min_s is None and max_s is None:
        return None
    low = min_s or 0.0
    return Window(low, low if max_s is None else max_s)
