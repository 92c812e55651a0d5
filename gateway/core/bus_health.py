"""State machines of the bus: does it carry messages, does it take writes, and which nodes listen.

Pure. *now* is monotonic seconds. Messages are judged by a probe that a node publishes to its own inbox.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from gateway.domain.model import NodeId

ASK_EVERY_S: Final = 1.0
UNHEARD_S: Final = 1.0
"""How far apart two questions must be that no node received."""
UNANSWERED_S: Final = 3.0


@dataclass(slots=True)
class _Peer:
    """What is known of one node. Numbers up to *settled* no longer matter."""

    settled: int
    asked_at: float = -math.inf
    received: int = 0
    """The newest question of which it is known whether a node received it."""
    waits_for: int = 0
    """The newest question that a node received."""
    waits_since: float | None = None
    unheard_since: float | None = None
    unheard_at: float = -math.inf

    def is_deaf(self, now: float) -> bool:
        is_unheard = self.unheard_since is not None and self.unheard_at - self.unheard_since >= UNHEARD_S
        return is_unheard or (self.waits_since is not None and now - self.waits_since >= UNANSWERED_S)


class Peers:
    """Signs of life of the owner nodes that this node follows.

    Each is asked at least once a second, if only to see that it runs. A question has a number. Its result
    is reported by :meth:`received` and :meth:`answered`, in any order. A refusal of the bus is not, as
    it shows nothing of the node.

    Bounded: nothing is remembered but of nodes that are followed, and of each the same few numbers
    however often it is asked.

    Invariants: a node is deaf only when no node received two questions at least 1 s apart and nothing
    showed otherwise between, or when a question that was received, and every later one, has had no
    answer for 3 s.

    Args:
        first: The number before that of its first question: another life of the node counts elsewhere.
    """

    def __init__(self, first: int = 0) -> None:
        self._number = first
        self._peers: dict[NodeId, _Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def follow(self, nodes: Iterable[NodeId]) -> None:
        """Follow exactly *nodes*; what is known of others is forgotten."""
        self._peers = {node: self._peers.get(node) or _Peer(self._number) for node in nodes}

    # ---- questions ----

    def due(self, now: float) -> tuple[NodeId, ...]:
        """Return the nodes that are to be asked now, even if there is nothing to ask."""
        return tuple(node for node, peer in self._peers.items() if now >= peer.asked_at + ASK_EVERY_S)

    @property
    def due_at(self) -> float:
        """When the next node is to be asked; inf when none is followed."""
        return min((peer.asked_at + ASK_EVERY_S for peer in self._peers.values()), default=math.inf)

    def asking(self, node: NodeId, now: float) -> int:
        """Record that *node* is asked, and return the question's number: above all before."""
        self._number += 1
        peer = self._peers.get(node)
        if peer is not None:
            peer.asked_at = now
        return self._number

    def received(self, node: NodeId, number: int, receivers: int, now: float) -> None:
        """Record how many were subscribed when a question was published."""
        peer = self._peers.get(node)
        if peer is None or number <= max(peer.settled, peer.received):
            return
        peer.received = number
        if receivers:
            peer.unheard_since = None
            peer.waits_for = number
            peer.waits_since = now if peer.waits_since is None else peer.waits_since
        else:
            peer.unheard_since = now if peer.unheard_since is None else peer.unheard_since
            peer.unheard_at = now

    def answered(self, node: NodeId, number: int, now: float) -> None:
        """Record an answer. It settles every question up to its own, as questions arrive in order."""
        peer = self._peers.get(node)
        if peer is None or not peer.settled < number <= self._number:
            return
        peer.settled = number
        peer.unheard_since = None
        # what is still open counts from this sign of life, so that only one time must be remembered
        peer.waits_since = None if peer.waits_since is None or number >= peer.waits_for else now

    # ---- queries ----

    def deaf(self, now: float) -> frozenset[NodeId]:
        """Return the followed nodes that no longer listen."""
        return frozenset(node for node, peer in self._peers.items() if peer.is_deaf(now))


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
    once, but takes no user over before it has tried for as long as any other node
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
        """Record that time passed; call at :attr:`due_at` at the latest.

        Returns:
            Whether a probe is to be sent now: :meth:`probing`.
        """
        if self._is_overdue(now):
            self.failed(self._number, now)
        if self.state is BusState.DEGRADED and now - self._silent_since >= DOWN_S:
            self._move("silent")
        return self._sent_at is None and now >= self._probe_at

    def probing(self, now: float) -> int:
        """Record that a probe is sent, and return its number: that of the one under way if there is one."""
        if self._sent_at is None:
            self._number += 1
            self._sent_at = now
            self._probe_at = now + PROBE_S
        return self._number

    def returned(self, number: int, now: float) -> None:
        """Record that a probe came back. What came back before, or was never sent, is ignored."""
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
        """Record that a probe could not be sent, without waiting for its time to run out."""
        if number != self._number or self._sent_at is None:
            return
        self._sent_at = None
        self._good_at = -math.inf
        if self._move("failed"):
            self._silent_since = now

    # ---- what may be lost ----

    def doubted(self) -> None:
        """Record that messages may have been lost though no probe was: a connection was renewed unasked.

        As others may still be renewing theirs, the bus counts as healthy from its next probe only.
        """
        self._good_at = -math.inf
        if self._move("doubted"):
            self.recovery += 1

    def resynced(self, recovery: int) -> None:
        """Record that all that may have been lost before this *recovery* is asked for.

        That of an earlier one is ignored: more may have been lost since.
        """
        if recovery == self.recovery:
            self._move("resynced")

    # ---- queries ----

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
        """Record whether writes are refused now; call at least once a second."""
        if not refused and self._refused_since is not None:
            self._refused_since, self._taken_since = None, now
        elif refused and self._refused_since is None:
            self._refused_since = now

    def is_away(self, now: float) -> bool:
        """Return whether writes have been refused for :data:`REFUSED_S`."""
        return self._refused_since is not None and now - self._refused_since >= REFUSED_S

    def taken_for(self, now: float) -> float:
        """Return for how long writes have not been refused, s; 0 while they are."""
        return 0.0 if self._refused_since is not None else now - self._taken_since
