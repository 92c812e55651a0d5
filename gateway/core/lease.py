"""Lease: whether this node may act for a user and when it is renewed; and the states of bus and lease store.

The lease store grants tokens that only grow; a token is the epoch under which its holder writes and the
number that OSCC-E sees on the link. Messages on the bus are judged by a probe that a node publishes to its
own inbox. Pure: *now* is monotonic seconds of this node.
"""

from __future__ import annotations

import enum
import heapq
import math
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeVar
from zlib import crc32

from gateway.domain.model import LONG_AGO, StateMachine


class LeaseState(enum.StrEnum):
    """The lease that this node holds, and whether a request is under way."""

    FREE = "free"
    ASKING = "asking"
    HELD = "held"
    RENEWING = "renewing"
    LEAVING = "leaving"
    """No longer needed, while the answer to a request is under way."""


LEASE_TRANSITIONS: Final[dict[tuple[LeaseState, str], LeaseState]] = {
    (LeaseState.FREE, "ask"): LeaseState.ASKING,
    (LeaseState.FREE, "assume"): LeaseState.HELD,
    (LeaseState.ASKING, "granted"): LeaseState.HELD,
    (LeaseState.ASKING, "granted_too_low"): LeaseState.FREE,
    (LeaseState.ASKING, "refused"): LeaseState.FREE,
    (LeaseState.ASKING, "unanswered"): LeaseState.FREE,
    (LeaseState.ASKING, "release"): LeaseState.LEAVING,
    (LeaseState.HELD, "ask"): LeaseState.RENEWING,
    (LeaseState.HELD, "release"): LeaseState.FREE,
    (LeaseState.RENEWING, "renewed"): LeaseState.HELD,
    (LeaseState.RENEWING, "refused"): LeaseState.FREE,
    (LeaseState.RENEWING, "unanswered"): LeaseState.HELD,
    (LeaseState.RENEWING, "release"): LeaseState.LEAVING,
    (LeaseState.LEAVING, "granted"): LeaseState.FREE,
    (LeaseState.LEAVING, "granted_too_low"): LeaseState.FREE,
    (LeaseState.LEAVING, "renewed"): LeaseState.FREE,
    (LeaseState.LEAVING, "refused"): LeaseState.FREE,
    (LeaseState.LEAVING, "unanswered"): LeaseState.FREE,
}

TTL_S: Final = 15.0
"""How long the store keeps a lease that is not renewed, s."""
GOOD_FOR_S: Final = TTL_S - 5.0
"""How long this node acts under a lease. The rest covers the drift of two clocks over :data:`TTL_S`, and the
time that an act takes after :meth:`Lease.holds` was checked.
"""
_OURS: Final = frozenset({LeaseState.HELD, LeaseState.RENEWING})
_AGAIN_S: Final = 1.0
"""Time after which a renewal without an answer is repeated."""


@dataclass(frozen=True, slots=True)
class Acquire:
    """Request for a lease with a token above *floor*; *expected*: take it from the holder of that token."""

    floor: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Renew:
    """Request to extend the lease of *token*."""

    token: int


class AssumedTokens:
    """Tokens of users that one node takes without the store.

    Invariant: each token is above all earlier ones. Two nodes that take a user in the same millisecond take
    different tokens, unless their holders have the same three digits (1 pair in 1,000). Then the server
    refuses the second as stale, and it takes another.
    """

    def __init__(self, holder: str) -> None:
        self._digits = crc32(holder.encode()) % 1000
        self._last = 0

    def take(self, wall_ms: int) -> int:
        """Return the next one, in µs since 1970 UTC as the store counts."""
        self._last = max(self._last + 1, wall_ms * 1000 + self._digits)
        return self._last


class Lease(StateMachine[LeaseState]):
    """One user's lease, as this node sees it.

    Invariants: at most one of all nodes :meth:`holds` at a time, however late messages arrive and however
    long a node is stopped. :attr:`epoch` and :attr:`floor` only grow. At most one request is under way. An
    illegal transition changes nothing.

    The link decides which node acts (docs/architecture.md). Without a lease that :meth:`holds`, the holder of
    an open, fenced link continues, also while the store is away.
    """

    __slots__ = (
        "_asked_at", "_asked_since", "_due_at", "_is_replaced", "_unanswered_at", "_until", "epoch", "floor",
        "lost", "renew_s",
    )  # fmt: skip
    TABLE = LEASE_TRANSITIONS

    def __init__(self, *, renew_s: float = 5.0) -> None:
        self.state = LeaseState.FREE
        self.epoch = 0
        """The token of the last grant; it stays after the lease has ended."""
        self.floor = 0
        """The highest token of the user, of any node."""
        self.lost = False
        """Whether the last renewal was refused: another node holds the lease."""
        self.renew_s = renew_s
        self._until = self._asked_at = self._due_at = LONG_AGO
        self._unanswered_at = math.inf
        self._is_replaced = False
        """Whether a link replaced this node's, and no renewal that was sent later was granted."""
        self._asked_since = False
        """Whether the request under way was sent after that."""

    # ---- the store ----

    def ask(self, now: float, *, expected: int | None = None) -> Acquire | Renew | None:
        """Record that a request is sent, and return it: a renewal of the held lease, or an acquisition.

        Exactly one of :meth:`granted`, :meth:`renewed`, :meth:`refused` and :meth:`unanswered` must follow.
        None: a request is under way already.

        *expected*: take the lease from the holder of this token (an early or planned takeover).
        """
        ours = self.state is LeaseState.HELD
        if not self._move("ask"):
            return None
        self._asked_at = now
        self._asked_since = self._is_replaced
        return Renew(self.epoch) if ours else Acquire(self.floor, expected)

    def granted(self, token: int) -> bool:
        """Process a grant. Its time counts from the request, as the store's clock started later.

        Returns:
            Whether the lease is held. False: release *token* in the store, because it is not above the floor,
                which grew since, or because the lease is no longer needed.
        """
        legal = self._move("granted" if token > self.floor else "granted_too_low")
        if legal and self.state is LeaseState.HELD:
            self.epoch = self.floor = token
            self.lost = self._is_replaced = False
            # the grant may belong to an earlier request that got no answer
            self._extend(min(self._asked_at, self._unanswered_at))
        return self.state in _OURS and token == self.epoch

    def renewed(self) -> bool:
        """Record that the lease was extended. False: it is no longer needed, so release it."""
        if self._move("renewed") and self.state is LeaseState.HELD:
            self._unanswered_at = math.inf
            self._is_replaced = self._is_replaced and not self._asked_since
            self._extend(self._asked_at)
        return self.state in _OURS

    def refused(self, token: int | None = None) -> None:
        """Record that another node holds the lease, under *token*."""
        was = self.state
        if self._move("refused"):
            self.lost = was is LeaseState.RENEWING
            self._until = LONG_AGO
            self.seen(token or 0)

    def unanswered(self, now: float) -> None:
        """Record that no answer came: the request may have taken effect."""
        was = self.state
        if self._move("unanswered"):
            self._due_at = now + _AGAIN_S
            if was is not LeaseState.RENEWING:
                self._unanswered_at = min(self._unanswered_at, self._asked_at)

    def assume(self, wall_us: int) -> int | None:
        """Take the user without the store, which is away: OSCC-E decides by the token.

        The link alone fences commands; :meth:`holds` stays False until a renewal.

        Args:
            wall_us: µs since 1970 UTC: above the tokens that other nodes were granted or took before.

        Returns:
            The epoch; None when a lease is held or requested already.
        """
        if not self._move("assume"):
            return None
        self.epoch = self.floor = max(self.floor + 1, wall_us)
        self.lost = self._is_replaced = False
        self._until = self._due_at = LONG_AGO
        return self.epoch

    def release(self) -> bool:
        """Give the lease up. True: release it in the store now; False: none is held, or an answer is due."""
        ours = self.state is LeaseState.HELD
        if self._move("release"):
            self._until = LONG_AGO
        return ours

    # ---- the link ----

    def seen(self, token: int) -> None:
        """Record a token of any node: later acquisitions get a token above it."""
        self.floor = max(self.floor, token)

    def superseded(self, token: int) -> bool:
        """Record that OSCC-E refused the link as stale because of *token*: give up, and request again.

        Returns:
            As :meth:`release`.
        """
        self.seen(token)
        return self.release() if self.state in _OURS else False

    def kicked(self, token: int) -> None:
        """Record that a link with *token* replaced this node's.

        No link is opened until a renewal is granted that was *sent after* this. Only then is it certain that
        this node was not superseded.
        """
        self.seen(token)
        self._is_replaced = self.state in _OURS
        self._asked_since = False
        self._due_at = LONG_AGO

    # ---- queries ----

    def holds(self, now: float) -> bool:
        """Return whether this node alone may act for the user at *now*. Call it right before acting."""
        return now < self._until

    @property
    def is_ours(self) -> bool:
        """Whether this node was granted the lease or assumed it, without a sign of another holder."""
        return self.state in _OURS

    def left_s(self, now: float) -> float:
        """Return how long it still :meth:`holds` without a renewal, s."""
        return max(0.0, self._until - now)

    @property
    def may_dial(self) -> bool:
        """Whether a link may be dialled under :attr:`epoch`; OSCC-E decides."""
        return self.state in _OURS and not self._is_replaced

    @property
    def is_overtaken(self) -> bool:
        """Whether another node holds this node's former lease, or has a higher token.

        Without a link this node then acts for no user, whatever the store answers.
        """
        return self.lost or self.floor > self.epoch

    @property
    def due_at(self) -> float | None:
        """When to request a renewal; None while nothing is held or a request is under way."""
        return self._due_at if self.state is LeaseState.HELD else None

    # ---- inner ----

    def _extend(self, since: float) -> None:
        self._until = since + GOOD_FOR_S
        self._due_at = LONG_AGO if self._is_replaced else since + self.renew_s


# ---- leases that are due for renewal ----


SLOT_S: Final = 0.25
"""Length of a slot of :class:`DueSlots`."""
NO_SLOT: Final = -1
"""The slot of an item without a due time."""


class Slotted(Protocol):
    """An item of :class:`DueSlots`."""

    slot: int
    """Its slot, or :data:`NO_SLOT`; only :class:`DueSlots` changes it."""


SlottedT = TypeVar("SlottedT", bound=Slotted)


class DueSlots(Generic[SlottedT]):
    """The next due times of many items that may be due up to :data:`SLOT_S` early.

    Its work depends on the items that are due, not on their number. Invariant: each item is in at most one
    slot.
    """

    def __init__(self) -> None:
        self._slots: dict[int, dict[SlottedT, None]] = {}
        self._order: list[int] = []
        """The numbers of the slots, as a heap."""

    def __len__(self) -> int:
        """Return the number of items with a due time."""
        return sum(map(len, self._slots.values()))

    def put(self, item: SlottedT, at: float) -> None:
        """Set the due time of *item*, also if it has one. The next :meth:`take` returns it if it is past."""
        slot = int(at // SLOT_S) if at > 0.0 else 0
        if slot == item.slot:
            return
        if item.slot != NO_SLOT:
            self.drop(item)
        item.slot = slot
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
        items[item] = None

    def drop(self, item: SlottedT) -> None:
        """Remove the due time of *item*, if it has one."""
        items = self._slots.get(item.slot)
        if items is not None:
            items.pop(item, None)
        item.slot = NO_SLOT

    def take(self, now: float) -> list[SlottedT]:
        """Return the items that are due, each once. They have no due time until the next :meth:`put`."""
        taken: list[SlottedT] = []
        while self._order and self._order[0] * SLOT_S <= now:
            taken += self._slots.pop(heapq.heappop(self._order))
        for item in taken:
            item.slot = NO_SLOT
        return taken


# ---- the bus and the lease store ----


class BusState(enum.StrEnum):
    """State of the bus, as the node's own probes show it."""

    DEGRADED = "degraded"
    LIVE = "live"
    DOWN = "down"
    RECOVERING = "recovering"
    """It carries messages again; lost ones are being requested."""


BUS_TRANSITIONS: Final[dict[tuple[BusState, str], BusState]] = {
    (BusState.DEGRADED, "returned"): BusState.RECOVERING,
    (BusState.DEGRADED, "silent"): BusState.DOWN,
    (BusState.LIVE, "failed"): BusState.DEGRADED,
    (BusState.LIVE, "loss"): BusState.RECOVERING,
    (BusState.DOWN, "returned"): BusState.RECOVERING,
    (BusState.RECOVERING, "failed"): BusState.DEGRADED,
    (BusState.RECOVERING, "loss"): BusState.RECOVERING,
    (BusState.RECOVERING, "resynced"): BusState.LIVE,
}

BUS_HEALTH: Final[dict[BusState, Literal["live", "degraded", "down"]]] = {
    BusState.DEGRADED: "degraded",
    BusState.LIVE: "live",
    BusState.DOWN: "down",
    BusState.RECOVERING: "degraded",
}
"""How each state is shown to phones."""

PROBE_S: Final = 1.0
"""Time between probes: phones show within 2 s that the bus is gone. A probe is one message of a few bytes."""
ROUND_TRIP_S: Final = 1.0
"""A probe that takes this long has failed."""
DOWN_S: Final = 5.0
"""Time without any returned probe after which a degraded bus is down."""
PROMPT_S: Final = 0.25
"""A bus whose probe takes longer may have delayed messages, too."""
_UNBROKEN_S: Final = PROBE_S + ROUND_TRIP_S
"""Good probes that are further apart show nothing about the time between them: this process may have been
stopped.
"""


class BusMachine(StateMachine[BusState]):
    """The bus, as one node sees it.

    It begins as degraded, neither down nor live. A process that starts without its bus serves phones at once.
    But it takes no user over before it has tried for as long as any other node, and it shows no data as live
    before its own probe has returned.

    A late probe does not make the bus live, as a slow bus is not live. But it shows that the bus is
    reachable. A bus is down only after no probe returned for 5 s. This time counts from the detection of the
    trouble, so that a stopped process does not count its own stop as an outage.

    Invariants: at most one probe is under way. No state is live after a failed probe until a later one
    returns in time, nor before lost messages were requested. An illegal transition changes nothing.

    *first* is the number before that of its first probe; each life of the node begins at another one.
    """

    TABLE = BUS_TRANSITIONS

    def __init__(self, now: float, first: int = 0) -> None:
        self.state = BusState.DEGRADED
        self.health = BUS_HEALTH[self.state]
        """Health that is shown to phones whose user another node owns."""
        self.recovery = 0
        """Number of recoveries that began; the number of the present one, for :meth:`resynced`."""
        self._number = first
        self._returned = first
        self._sent_at: float | None = None
        """When the probe without an answer was sent."""
        self._probe_at = now
        self._silent_since = now
        self._good_at = LONG_AGO
        self._healthy_since = LONG_AGO
        self._carried_at = now
        """When the newest probe that returned in time was sent: every earlier message has arrived."""

    # ---- probes ----

    def tick(self, now: float) -> bool:
        """Record that time passed; call at :attr:`due_at` at the latest.

        Returns:
            Whether to send a probe now, see :meth:`probing`.
        """
        if self.is_overdue(now):
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
        """Record that a probe returned; one that returned before, or was never sent, is ignored.

        It was in time unless :meth:`tick` has found it overdue before.
        """
        if not self._returned < number <= self._number:
            return
        self._returned = number
        self._silent_since = now
        if number != self._number or self._sent_at is None:
            return
        if self.state is BusState.LIVE:
            self._carried_at = self._sent_at
        self._sent_at = None
        if now - self._good_at >= _UNBROKEN_S:
            self._healthy_since = now
        self._good_at = now
        if self._move("returned"):
            self.recovery += 1

    def failed(self, number: int, now: float) -> None:
        """Record that a probe could not be sent, without waiting for its timeout."""
        if number != self._number or self._sent_at is None:
            return
        self._sent_at = None
        self._good_at = LONG_AGO
        if self._move("failed"):
            self._silent_since = now

    # ---- what may be lost ----

    def possible_loss(self) -> None:
        """Record that messages may have been lost although no probe was lost: a connection was renewed.

        The bus counts as healthy from its next probe on, because other nodes may still be renewing theirs.
        """
        self._good_at = LONG_AGO
        if self._move("loss"):
            self.recovery += 1

    def resynced(self, recovery: int) -> None:
        """Record that everything that may have been lost before this *recovery* was requested.

        An earlier recovery is ignored, because more may have been lost since.
        """
        if recovery == self.recovery:
            self._move("resynced")

    # ---- queries ----

    def is_healthy_for(self, now: float) -> float:
        """Return how long probes have returned in time without interruption, s; 0 when they do not."""
        if self.is_overdue(now) or now - self._good_at >= _UNBROKEN_S:
            return 0.0
        return now - self._healthy_since

    def carried_since(self, now: float) -> float:
        """Return the earliest time at which a message that arrives *now* was sent; *now* on a prompt bus."""
        return now if now - self._carried_at < PROBE_S + PROMPT_S else self._carried_at

    @property
    def due_at(self) -> float:
        """When to call :meth:`tick`."""
        probe_at = self._probe_at if self._sent_at is None else self._sent_at + ROUND_TRIP_S
        down_at = self._silent_since + DOWN_S if self.state is BusState.DEGRADED else math.inf
        return min(probe_at, down_at)

    def is_overdue(self, now: float) -> bool:
        """Return whether a probe has failed, unless it has returned and was not read yet."""
        return self._sent_at is not None and now - self._sent_at >= ROUND_TRIP_S

    # ---- inner ----

    def _move(self, event: str) -> bool:
        has_moved = super()._move(event)
        self.health = BUS_HEALTH[self.state]
        return has_moved


REFUSED_S: Final = DOWN_S
"""Time of refused writes after which the lease store counts as away, although messages pass."""


class StoreWrites:
    """Whether the lease store accepts writes: without memory or replicas it refuses them all.

    Invariant: writes are either refused or accepted; which of the two changes at a :meth:`record` only.
    """

    def __init__(self) -> None:
        self._refused_since: float | None = None
        self._taken_since = LONG_AGO

    def record(self, now: float, *, refused: bool) -> None:
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
