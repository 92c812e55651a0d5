"""Liveness: detect that the gateway is gone."""

from __future__ import annotations

from typing import Final

GRACE_S: Final = 10.0
"""How much longer than `ping_s` a gateway may be silent."""
PROBE_S: Final = 3.0
"""How long a gateway may be silent after the network changed."""


class Liveness:
    """When a silent connection is given up. Any frame counts as a sign of life.

    Args:
        now: Monotonic seconds, here and below.
        ping_s: How often the gateway pings.
    """

    __slots__ = ("_heard_at", "_ping_s", "_probe_by")

    def __init__(self, now: float, ping_s: float) -> None:
        self._heard_at = now
        self._ping_s = ping_s
        self._probe_by: float | None = None

    def heard(self, now: float) -> None:
        """Note that a frame came."""
        self._heard_at = now
        self._probe_by = None

    def pings_every(self, ping_s: float) -> None:
        """Take over what `welcome` says."""
        self._ping_s = ping_s

    def probe(self, now: float) -> None:
        """Note that the network changed: something must be heard soon."""
        self._probe_by = now + PROBE_S

    @property
    def over_at(self) -> float:
        """When the connection is given up unless something is heard before."""
        silent_until = self._heard_at + self._ping_s + GRACE_S
        return silent_until if self._probe_by is None else min(silent_until, self._probe_by)
