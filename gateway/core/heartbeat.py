"""Is the phone still there, and when is it asked?"""

from __future__ import annotations

import math
from typing import Final

_SPREAD: Final = 0.1
_UNASKED_S: Final = 1.0
"""A phone that asks by itself gets a ping at most this often: answers to answers must not run in circles."""


class Heartbeat:
    """When pings leave, and whether the phone answered in time. Any frame counts as an answer.

    Args:
        every_s: Time between pings; each is spread by ± 10 % so that phones do not march in step.
        pong_s: How long after a ping the phone may stay silent.
        jitter: In [0, 1), one per connection.
    """

    __slots__ = ("_answered", "_asked_at", "_count", "_due_at", "_every_s", "_pong_s", "_waiting_since")

    def __init__(self, now: float, *, every_s: float, pong_s: float, jitter: float) -> None:
        self._every_s = every_s * (1 - _SPREAD + 2 * _SPREAD * jitter)
        self._pong_s = pong_s
        self._due_at = now + self._every_s
        self._waiting_since: float | None = None
        self._count = 0
        self._answered = 0
        self._asked_at = -math.inf

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
        self._due_at = min(self._due_at, max(now, self._asked_at + _UNASKED_S))
        return None

    def due(self, now: float) -> bool:
        """Tell whether it is time for a ping."""
        return now >= self._due_at

    def ping(self, now: float) -> str:
        """Note that a ping leaves; returns its nonce."""
        self._due_at, self._asked_at = now + self._every_s, now
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
        return self._waiting_since is not None and now >= self._waiting_since + self._pong_s

    @property
    def next_at(self) -> float:
        """When one of the above may change by time alone."""
        if self._waiting_since is None:
            return self._due_at
        return min(self._due_at, self._waiting_since + self._pong_s)
