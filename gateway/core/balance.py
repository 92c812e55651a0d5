"""Balance: how many phones a node sends on to other nodes, when it has far more of them.

Pure. *now* is monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

BEGIN: Final = 1.3
"""A node begins above this multiple of the mean of all nodes."""
END: Final = 1.2
"""It ends at this multiple, and never sends a phone on below it."""
EXCESS_MIN: Final = 10
"""Phones above :data:`END` times the mean that are worth beginning for."""
SETTLED_S: Final = 60.0
"""For how long the same nodes must have taken phones: during a rolling restart nothing is balanced."""
SHARE: Final = 0.1
"""The part of the rate of log-ons and links that may be used: each phone may take its user's link along."""
UNSEEN_S: Final = 10.0
"""Within this a phone that was sent on is counted elsewhere; until then as one of no node."""
ROUND_S: Final = 60.0
"""After so long the effect is judged."""
FUTILE: Final = 0.25
"""Of the phones that were sent on in a round, the part that must have gone from here to other nodes."""
PAUSE_S: Final = 600.0
"""For how long nothing is sent on after a round without effect; doubled for each further one."""
PAUSE_MAX_S: Final = 24 * 3600.0


class Balance:
    """Decides how many phones one node sends on.

    Invariants: none while another set of nodes took phones within :data:`SETTLED_S`; none that would leave
    this node with fewer than :data:`END` times the mean; no more in any time than the rate allows in it, and
    one; none during the pause after a round in which the phones came back here.

    Args:
        now: When the node starts.
    """

    def __init__(self, now: float) -> None:
        self.is_active = False
        """Whether this node has too many phones, and sends some on."""
        self._nodes: frozenset[str] = frozenset()
        self._since = now
        self._looked_at = now
        self._allowed = 0.0
        self._sent: list[tuple[float, int]] = []
        """When how many were sent on, within :data:`UNSEEN_S`."""
        self._round_at = now
        self._round_phones = (0, 0)
        """How many there were when the round began, here and elsewhere."""
        self._round_sent = 0
        self._pause_s = PAUSE_S
        self.paused_until = -math.inf
        """Until when nothing is sent on, as the last round had no effect."""

    def look(self, now: float, phones: int, others: Mapping[str, int], log_ons_per_s: float) -> int:
        """Return how many phones to send on now.

        Args:
            now: The time.
            phones: How many are connected here, without those that were sent on.
            others: The phones of each other node that takes phones, by its life. Empty: none does, or
                which do is not known, or some node leaves.
            log_ons_per_s: How many log-ons and links the sites take in a second.
        """
        self._allow(now, log_ons_per_s)
        if not self._is_settled(now, others) or now < self.paused_until:
            self.is_active = False
            return 0
        elsewhere = sum(others.values())
        mean = (phones + elsewhere) / (len(others) + 1)
        excess = phones - END * mean
        if self.is_active and self._is_futile(now, phones, elsewhere):
            return 0
        if not self.is_active and not self._begins(phones, mean, excess):
            return 0
        if not self.is_active:
            self._round_at, self._round_phones, self._round_sent = now, (phones, elsewhere), 0
        self.is_active = excess >= 1
        excess -= END * self._unseen(now) / (len(others) + 1)  # they may be counted elsewhere, or not yet
        return self._take(now, max(0, math.floor(min(self._allowed, excess))))

    def sent(self, now: float, fewer: int) -> None:
        """Record that *fewer* phones were sent on than the last look allowed: no others could be."""
        if fewer:
            self._allowed += fewer
            self._round_sent -= fewer
            self._sent.append((now, -fewer))

    def _allow(self, now: float, log_ons_per_s: float) -> None:
        per_s = SHARE * log_ons_per_s
        passed_s, self._looked_at = now - self._looked_at, now
        self._allowed = min(self._allowed + per_s * passed_s, max(1.0, per_s * UNSEEN_S / 2))

    def _is_settled(self, now: float, others: Mapping[str, int]) -> bool:
        nodes = frozenset(others)
        if nodes != self._nodes:
            self._nodes, self._since = nodes, now
        return bool(nodes) and now - self._since >= SETTLED_S

    def _begins(self, phones: int, mean: float, excess: float) -> bool:
        return phones > BEGIN * mean and excess >= EXCESS_MIN

    def _is_futile(self, now: float, phones: int, elsewhere: int) -> bool:
        """Judge a round that is over; without effect a pause begins, as the balancer sends phones back."""
        if now - self._round_at < ROUND_S:
            return False
        sent, (phones_before, elsewhere_before) = self._round_sent, self._round_phones
        moved = min(phones_before - phones, elsewhere - elsewhere_before)
        self._round_at, self._round_phones, self._round_sent = now, (phones, elsewhere), 0
        if sent == 0 or moved >= FUTILE * sent:
            self._pause_s = PAUSE_S
            return False
        self.is_active = False
        self.paused_until = now + self._pause_s
        self._pause_s = min(PAUSE_MAX_S, 2 * self._pause_s)
        return True

    def _unseen(self, now: float) -> int:
        self._sent = [(at, count) for at, count in self._sent if now - at < UNSEEN_S]
        return sum(count for _, count in self._sent)

    def _take(self, now: float, count: int) -> int:
        self._allowed -= count
        self._round_sent += count
        if count:
            self._sent.append((now, count))
        return count
