"""Does the bus carry messages and take writes, and for how long has it, or has it not?

Pure machines; the one of messages is fed by a probe that a node publishes to its own inbox. *now* is
monotonic seconds.
"""

from __future__ import annotations

import enum
import math
from typing import Final, Literal


class BusState(enum.StrEnum):
    """How the bus stands, as the node's own probes see it."""

    DEGRADED = "degraded"
    LIVE = "live"
    DOWN = "down"
    RECOVERING = "recovering"
    """It carries messages again; what was lost meanwhile is being asked for."""


TRANSITIONS: Final[dict[tuple[BusState, str], BusState]] = {
    (BusState.DEGRADED, "returned"): BusState.RECOVERING,
    (BusState.DEGRADED, "silent"): BusState.DOWN,
    (BusState.LIVE, "failed"): BusState.DEGRADED,
    (BusState.LIVE, "doubted"): BusState.RECOVERING,
    (BusState.DOWN, "returned"): BusState.RECOVERING,
    (BusState.RECOVERING, "failed"): BusState.DEGRADED,
    (BusState.RECOVERING, "doubted"): BusState.RECOVERING,
    (BusState.RECOVERING, "resynced"): BusState.LIVE,
}

PROBE_S: Final = 1.0
"""Time between probes. Whatever must be asked every 5 s is found five times sooner, so that phones learn
within 2 s that the bus is gone; a probe costs one message of a few bytes."""
ROUND_TRIP_S: Final = 1.0
"""A probe that takes as long has failed."""
DOWN_S: Final = 5.0
"""After how long of nothing coming back a degraded bus is down."""
_UNBROKEN_S: Final = PROBE_S + ROUND_TRIP_S
"""Good probes that lie further apart show nothing of what was between them: this process may have slept."""


class BusMachine:
    """The bus, as one node sees it.

    It begins degraded, not down and not live: a process that starts without its bus serves phones at
    once, but takes nobody's user into its own hands before it has tried for as long as any other node
    would have; and it shows nothing as live before a probe of its own came back.

    A probe that comes back late heals nothing, as a slow bus is not live; but it shows that the bus is
    there: a bus is down only after nothing came back for 5 s. Those count from when the trouble was
    seen, so that a process which slept does not take its own sleep for an outage.

    Invariants: one probe is under way at most; no state is live while a probe failed after the last
    that came back in time, or while what may have been lost is not asked for; an illegal transition
    changes nothing.

    Args:
        now: When the node starts.
        first: The number before that of its first probe: another life of the node counts elsewhere.
    """

    def __init__(self, now: float, first: int = 0) -> None:
        self.state = BusState.DEGRADED
        self.recovery = 0
        """How often a recovery began: the number of the present one, for :meth:`resynced`."""
        self._number = first
        self._returned = first
        self._sent_at: float | None = None
        """When the probe that is under way was sent."""
        self._probe_at = now
        self._silent_since = now
        self._good_at = -math.inf
        self._healthy_since = -math.inf

    # ---- probes ----

    def tick(self, now: float) -> bool:
        """Take in that time passed; call at :attr:`due_at` at the latest.

        Returns:
            Whether a probe is to be sent now: :meth:`probing`.
        """
        if self._is_overdue(now):
            self.failed(self._number, now)
        if self.state is BusState.DEGRADED and now - self._silent_since >= DOWN_S:
            self._move("silent")
        return self._sent_at is None and now >= self._probe_at

    def probing(self, now: float) -> int:
        """Note that a probe is sent, and return its number: that of the one under way if there is one."""
        if self._sent_at is None:
            self._number += 1
            self._sent_at = now
            self._probe_at = now + PROBE_S
        return self._number

    def returned(self, number: int, now: float) -> None:
        """Note that a probe came back. What came back before, or was never sent, is ignored."""
        if not self._returned < number <= self._number:
            return
        self._returned = number
        self._silent_since = now
        if number != self._number or self._sent_at is None or self._is_overdue(now):
            return
        self._sent_at = None
        if now - self._good_at >= _UNBROKEN_S:
            self._healthy_since = now
        self._good_at = now
        if self._move("returned"):
            self.recovery += 1

    def failed(self, number: int, now: float) -> None:
        """Note that a probe could not be sent, without waiting for its time to run out."""
        if number != self._number or self._sent_at is None:
            return
        self._sent_at = None
        self._good_at = -math.inf
        if self._move("failed"):
            self._silent_since = now

    # ---- what may be lost ----

    def doubted(self) -> None:
        """Note that messages may have been lost though no probe was: a connection was renewed unasked.

        As others may still be renewing theirs, the bus counts as healthy from its next probe only.
        """
        self._good_at = -math.inf
        if self._move("doubted"):
            self.recovery += 1

    def resynced(self, recovery: int) -> None:
        """Note that all that may have been lost before this *recovery* is asked for.

        That of an earlier one is ignored: more may have been lost since.
        """
        if recovery == self.recovery:
            self._move("resynced")

    # ---- what it tells ----

    @property
    def health(self) -> Literal["live", "degraded", "down"]:
        """What phones are shown whose user is owned elsewhere."""
        match self.state:
            case BusState.LIVE:
                return "live"
            case BusState.DOWN:
                return "down"
            case BusState.DEGRADED | BusState.RECOVERING:
                return "degraded"

    def is_healthy_for(self, now: float) -> float:
        """Return for how long probes have come back in time without interruption, s; 0 when they do not."""
        if self._is_overdue(now) or now - self._good_at >= _UNBROKEN_S:
            return 0.0
        return now - self._healthy_since

    @property
    def due_at(self) -> float:
        """When to call :meth:`tick`."""
        probe_at = self._probe_at if self._sent_at is None else self._sent_at + ROUND_TRIP_S
        down_at = self._silent_since + DOWN_S if self.state is BusState.DEGRADED else math.inf
        return min(probe_at, down_at)

    # ---- inner ----

    def _is_overdue(self, now: float) -> bool:
        return self._sent_at is not None and now - self._sent_at >= ROUND_TRIP_S

    def _move(self, event: str) -> bool:
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True


REFUSED_S: Final = DOWN_S
"""After how long of refused writes the store of leases counts as away, though messages pass."""


class StoreWrites:
    """Whether the store of leases takes writes: out of memory or without replicas it refuses them all.

    Invariant: either writes are refused, or they are taken, since the last look that found a change.
    """

    def __init__(self) -> None:
        self._refused_since: float | None = None
        self._taken_since = -math.inf

    def look(self, now: float, *, refused: bool) -> None:
        """Take in whether writes are refused now; call at least once a second."""
        if not refused and self._refused_since is not None:
            self._refused_since, self._taken_since = None, now
        elif refused and self._refused_since is None:
            self._refused_since = now

    def is_away(self, now: float) -> bool:
        """Tell whether writes have been refused for :data:`REFUSED_S`."""
        return self._refused_since is not None and now - self._refused_since >= REFUSED_S

    def taken_for(self, now: float) -> float:
        """Return for how long writes have not been refused, s; 0 while they are."""
        return 0.0 if self._refused_since is not None else now - self._taken_since
