"""State machines of the bus: whether it carries messages and accepts writes, and which nodes receive.

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
SILENT_S: Final = 1.0
"""Minimum time between two requests that no node received, before the node counts as unreachable."""
UNANSWERED_S: Final = 3.0


@dataclass(slots=True)
class _Peer:
    """Data about one node. Requests with numbers up to *settled* no longer matter."""

    settled: int
    asked_at: float = -math.inf
    answered_at: float = -math.inf
    received: int = 0
    """The newest request for which it is known whether a node received it."""
    waits_for: int = 0
    """The newest request that a node received."""
    waits_since: float | None = None
    silent_since: float | None = None
    silent_at: float = -math.inf

    def is_deaf(self, now: float) -> bool:
        is_unheard = self.silent_since is not None and self.silent_at - self.silent_since >= SILENT_S
        return is_unheard or (self.waits_since is not None and now - self.waits_since >= UNANSWERED_S)


class Peers:
    """Signs of life of the owner nodes that this node follows.

    Each gets a request at least once a second, which also tests it. A request has a number. Its result is
    reported by :meth:`received` and :meth:`answered`, in any order. A refusal by the bus is not reported,
    since it shows nothing about the node.

    Bounded: only followed nodes have an entry, of constant size.

    Invariants: a node is deaf (it does not receive) only in two cases. No node received two requests at least
    1 s apart, without a sign of life in between. Or a request that was received, and every later one, has had
    no answer for 3 s.

    Args:
        first: The number before that of its first request; each life of the node begins at another one.
    """

    def __init__(self, first: int = 0) -> None:
        self._number = first
        self._peers: dict[NodeId, _Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def follow(self, nodes: Iterable[NodeId]) -> None:
        """Follow exactly *nodes*; the data of others is removed."""
        self._peers = {node: self._peers.get(node) or _Peer(self._number) for node in nodes}

    # ---- questions ----

    def due(self, now: float) -> tuple[NodeId, ...]:
        """Return the nodes that need a request now, even an empty one."""
        return tuple(node for node, peer in self._peers.items() if now >= peer.asked_at + ASK_EVERY_S)

    @property
    def due_at(self) -> float:
        """When the next request is due; inf when no node is followed."""
        return min((peer.asked_at + ASK_EVERY_S for peer in self._peers.values()), default=math.inf)

    def asking(self, node: NodeId, now: float) -> int:
        """Record that a request is sent to *node*, and return its number: above all earlier ones."""
        self._number += 1
        peer = self._peers.get(node)
        if peer is not None:
            peer.asked_at = now
        return self._number

    def received(self, node: NodeId, number: int, receivers: int, now: float) -> None:
        """Record how many nodes were subscribed when a request was published."""
        peer = self._peers.get(node)
        if peer is None or number <= max(peer.settled, peer.received):
            return
        peer.received = number
        if receivers:
            peer.silent_since = None
            peer.waits_for = number
            peer.waits_since = now if peer.waits_since is None else peer.waits_since
        else:
            peer.silent_since = now if peer.silent_since is None else peer.silent_since
            peer.silent_at = now

    def answered(self, node: NodeId, number: int, now: float) -> None:
        """Record an answer. It settles all requests up to its own, as requests arrive in order."""
        peer = self._peers.get(node)
        if peer is None or not peer.settled < number <= self._number:
            return
        peer.settled, peer.answered_at = number, now
        peer.silent_since = None
        # open requests count from this sign of life, so that one time is enough
        peer.waits_since = None if peer.waits_since is None or number >= peer.waits_for else now

    # ---- queries ----

    def answered_at(self, node: NodeId) -> float:
        """Return when a followed node last answered; -inf without an answer."""
        peer = self._peers.get(node)
        return -math.inf if peer is None else peer.answered_at

    def is_deaf(self, node: NodeId, now: float) -> bool:
        """Return whether *node* is a followed node that does not receive."""
        peer = self._peers.get(node)
        return peer is not None and peer.is_deaf(now)

    def deaf(self, now: float) -> frozenset[NodeId]:
        """Return the followed nodes that do not receive."""
        return frozenset(node for node, peer in self._peers.items() if peer.is_deaf(now))


class BusState(enum.StrEnum):
    """State of the bus, as the node's own probes show it."""

    DEGRADED = "degraded"
    LIVE = "live"
    DOWN = "down"
    RECOVERING = "recovering"
    """It carries messages again; lost ones are being requested."""


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
"""Time between probes. Nodes that need a request every 5 s get it five times sooner, so that phones show
within 2 s that the bus is gone. A probe costs one message of a few bytes.
"""
ROUND_TRIP_S: Final = 1.0
"""A probe that takes this long has failed."""
DOWN_S: Final = 5.0
"""Time without any returned probe after which a degraded bus is down."""
_UNBROKEN_S: Final = PROBE_S + ROUND_TRIP_S
"""Good probes that are further apart show nothing about the time between them: this process may have been
stopped.
"""


class BusMachine:
    """The bus, as one node sees it.

    It begins as degraded, neither down nor live. A process that starts without its bus serves phones at once.
    But it takes no user over before it has tried for as long as any other node, and it shows no data as live
    before its own probe has returned.

    A late probe does not make the bus live, as a slow bus is not live. But it shows that the bus is
    reachable. A bus is down only after no probe returned for 5 s. This time counts from the detection of the
    trouble, so that a stopped process does not count its own stop as an outage.

    Invariants: at most one probe is under way. No state is live after a failed probe until a later one
    returns in time, nor before lost messages were requested. An illegal transition changes nothing.

    Args:
        now: When the node starts.
        first: The number before that of its first probe; each life of the node begins at another one.
    """

    def __init__(self, now: float, first: int = 0) -> None:
        self.state = BusState.DEGRADED
        self.recovery = 0
        """Number of recoveries that began; the number of the present one, for :meth:`resynced`."""
        self._number = first
        self._returned = first
        self._sent_at: float | None = None
        """When the probe without an answer was sent."""
        self._probe_at = now
        self._silent_since = now
        self._good_at = -math.inf
        self._healthy_since = -math.inf

    # ---- probes ----

    def tick(self, now: float) -> bool:
        """Record that time passed; call at :attr:`due_at` at the latest.

        Returns:
            Whether to send a probe now, see :meth:`probing`.
        """
        if self._is_overdue(now):
            self.failed(self._number, now)
        if self.state is BusState.DEGRADED and now - self._silent_since >= DOWN_S:
            self._move("silent")
        return self._sent_at is None and now >= self._probe_at

    def probing(self, now: float) -> int:
        """Record that a probe is sent, and return its number, or that of the probe under way."""
        if self._sent_at is None:
            self._number += 1
            self._sent_at = now
            self._probe_at = now + PROBE_S
        return self._number

    def returned(self, number: int, now: float) -> None:
        """Record that a probe returned; one that returned before, or was never sent, is ignored."""
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
        """Record that a probe could not be sent, without waiting for its time-out."""
        if number != self._number or self._sent_at is None:
            return
        self._sent_at = None
        self._good_at = -math.inf
        if self._move("failed"):
            self._silent_since = now

    # ---- what may be lost ----

    def doubted(self) -> None:
        """Record that messages may have been lost although no probe was: a connection was renewed unasked.

        The bus counts as healthy from its next probe on, because other nodes may still be renewing theirs.
        """
        self._good_at = -math.inf
        if self._move("doubted"):
            self.recovery += 1

    def resynced(self, recovery: int) -> None:
        """Record that everything that may have been lost before this *recovery* was requested.

        An earlier recovery is ignored, because more may have been lost since.
        """
        if recovery == self.recovery:
            self._move("resynced")

    # ---- queries ----

    @property
    def health(self) -> Literal["live", "degraded", "down"]:
        """Health that is shown to phones whose user another node owns."""
        if self.state is BusState.LIVE:
            return "live"
        return "down" if self.state is BusState.DOWN else "degraded"

    def is_healthy_for(self, now: float) -> float:
        """Return how long probes have returned in time without interruption, s; 0 when they do not."""
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
"""Time of refused writes after which the lease store counts as away, although messages pass."""


class StoreWrites:
    """Whether the lease store accepts writes: without memory or replicas it refuses them all.

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
        """Return how long writes have been accepted, s; 0 while they are refused."""
        return 0.0 if self._refused_since is not None else now - self._taken_since
