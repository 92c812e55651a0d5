"""Is the phone still there, and when is it asked?"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

_SPREAD: Final = 0.1
_STEPS: Final = 128
"""So many intervals there are within the spread: phones with the same one share it."""
_UNASKED_S: Final = 1.0
"""A phone that asks by itself gets a ping at most this often: answers to answers must not run in circles."""


class _Rhythm(NamedTuple):
    """Time between two pings, and for an answer."""

    every_s: float
    pong_s: float


@lru_cache(maxsize=8 * _STEPS)
def _rhythm(every_s: float, pong_s: float, step: int) -> _Rhythm:
    """Return one object for all who are asked as often, and spread alike."""
    return _Rhythm(every_s * (1 - _SPREAD + 2 * _SPREAD * step / _STEPS), pong_s)


class Heartbeat:
    """When pings leave, and whether the phone answered in time. Any frame counts as an answer.

    Args:
        every_s: Time between pings; each is spread by ± 10 % so that phones do not march in step.
        pong_s: How long after a ping the phone may stay silent.
        jitter: In [0, 1), one per connection.
    """

    __slots__ = ("_answered", "_asked_at", "_count", "_is_asked", "_rhythm", "_waiting_since")

    def __init__(self, now: float, *, every_s: float, pong_s: float, jitter: float) -> None:
        self._rhythm = _rhythm(every_s, pong_s, round(jitter * _STEPS))
        self._asked_at = now
        """When the newest ping left; before the first, when its time began."""
        self._is_asked = False
        """Whether the phone has asked for one since."""
        self._waiting_since: float | None = None
        self._count = 0
        self._answered = 0

    def heard(self) -> None:
        """Note that a frame came."""
        self._waiting_since = None

    def pong(self, nonce: str | None, now: float) -> float | None:
        """Note that a pong came; returns after how many seconds, when the newest ping is answered.

        One that no ping asked for is a question of its own: a ping answers soon.

        A phone whose network changed sends such a pong, and gives the connection 3 s to show a sign of life.
        """
        number = int(nonce) if nonce is not None and nonce.isascii() and nonce.isdecimal() else 0
        if self._answered < number <= self._count:
            self._answered = number
            return now - self._asked_at if number == self._count else None
        self._is_asked = True
        return None

    def due(self, now: float) -> bool:
        """Tell whether it is time for a ping."""
        return now >= self._due_at

    def ping(self, now: float) -> str:
        """Note that a ping leaves; returns its nonce."""
        self._asked_at, self._is_asked = now, False
        if self._waiting_since is None:
            self._waiting_since = now
        self._count += 1
        return str(self._count)

    def unsent(self, now: float) -> None:
        """Note that what was written has not left yet: the phone's time to answer begins when it has."""
        if self._waiting_since is not None:
            self._waiting_since = now

    def silent(self, now: float) -> bool:
        """Tell whether the phone has not answered in time."""
        return self._waiting_since is not None and now >= self._waiting_since + self._rhythm.pong_s

    @property
    def next_at(self) -> float:
        """When one of the above may change by time alone."""
        if self._waiting_since is None:
            return self._due_at
        return min(self._due_at, self._waiting_since + self._rhythm.pong_s)

    @property
    def _due_at(self) -> float:
        wait_s = self._rhythm.every_s
        if self._is_asked:
            wait_s = min(wait_s, _UNASKED_S if self._count else 0.0)
        return self._asked_at + wait_s
