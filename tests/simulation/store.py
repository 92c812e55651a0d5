"""The data of a Redis, and its expiry.

One :class:`Server` is one process; a cluster's nodes may be connected to different ones after a fail-over has
split them. Its keys expire by its own wall clock, as in Redis, so a step of that clock makes leases end early
or late.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final, Protocol, TypeVar

from gateway.bus.memory import MemoryLeases
from gateway.domain.errors import EndReason
from gateway.domain.model import UserId
from gateway.protocol.envelopes import BusChannel, Envelope, NodeRecord
from gateway.runtime.ports import NODE_TTL_S, Clock, Grant, KeptLogOff

T = TypeVar("T")
_CALM: Final = (0.0005, 0.001, 0.002)
_SLOW: Final = (0.001, 0.01, 0.05, 0.15, 0.4)


class Subscriber(Protocol):
    """A connection that receives messages."""

    def deliver(self, channel: BusChannel, envelope: Envelope, sent_at: float) -> None:
        """Send a message that was published at *sent_at*."""
        ...


class Weather:
    """The delays and faults of messages between nodes and Redis.

    Args:
        dice: Draws them.
    """

    def __init__(self, dice: Random) -> None:
        self.loss = 0.0
        self.doubling = 0.0
        self.slow = False
        self.dice = dice

    def leg_s(self) -> float:
        """Return the delay of one way."""
        return self.dice.choice(_SLOW if self.slow else _CALM)

    def copies(self) -> int:
        """Return how often a message arrives."""
        if self.loss and self.dice.random() < self.loss:
            return 0
        return 2 if self.doubling and self.dice.random() < self.doubling else 1


class _Leases(MemoryLeases):
    """The leases of one server, in the double that keeps the contract; they expire by the server's clock."""

    def copied(self, clock: Clock) -> _Leases:
        """Return the leases of a replica."""
        made = _Leases(clock)
        made._leases, made._floors = self._leases.copy(), self._floors.copy()
        return made


class _Wall:
    """A server's clock, by which its keys expire: it steps."""

    def __init__(self, clock: Clock) -> None:
        self.ahead_s = 0.0
        self._clock = clock

    def now(self) -> float:
        return self._clock.wall_ms() / 1000 + self.ahead_s

    def wall_ms(self) -> int:
        return self._clock.wall_ms() + round(self.ahead_s * 1000)

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        raise NotImplementedError

    def call_later(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        raise NotImplementedError


def _now(asked: Coroutine[object, None, T]) -> T:
    """Return the answer of a call that does not wait."""
    try:
        asked.send(None)
    except StopIteration as answered:
        value: T = answered.value
        return value
    raise AssertionError("it waits")


class Server:
    """One Redis process.

    Args:
        clock: Real time.
    """

    def __init__(self, clock: Clock) -> None:
        self.is_frozen = False
        self.refuses: str | None = None
        """The word with which it refuses writes; it still carries messages."""
        self.wall = _Wall(clock)
        self.backlog: list[Callable[[], None]] = []
        self.subscribers: dict[BusChannel, dict[Subscriber, None]] = {}
        self._clock = clock
        self._leases = _Leases(self.wall)
        self._records: dict[str, tuple[NodeRecord, float]] = {}
        self._denied: dict[str, EndReason] = {}
        self._counts: dict[str, int] = {}
        self._log_offs: dict[str, KeptLogOff] = {}
        self._reservations: dict[str, dict[str, float]] = {}

    # ---- what befalls it ----

    def copy(self) -> Server:
        """Return a replica with the same data; no node is connected to it."""
        made = Server(self._clock)
        made.wall.ahead_s = self.wall.ahead_s
        made._leases = self._leases.copied(made.wall)
        made._records, made._denied = dict(self._records), dict(self._denied)
        made._counts = dict(self._counts)
        made._log_offs = dict(self._log_offs)
        made._reservations = {name: dict(each) for name, each in self._reservations.items()}
        return made

    def forget(self) -> None:
        """FLUSHALL."""
        self._leases = _Leases(self.wall)
        for held in (self._records, self._denied, self._counts, self._log_offs, self._reservations):
            held.clear()

    def thaw(self) -> None:
        """Continue, first with the waiting requests."""
        self.is_frozen = False
        waiting, self.backlog = self.backlog, []
        for each in waiting:
            each()

    # ---- leases ----

    def acquire(self, user: UserId, wanted: Grant, floor: int, expected: int | None) -> Grant:
        """Grant the lease, or return its owner; the token *wanted* is not used."""
        node, holder, _ = wanted
        return _now(self._leases.acquire(user, node, holder, floor=floor, expected=expected))

    def renew(self, user: UserId, grant: Grant) -> bool:
        """Extend it, or create it again."""
        return _now(self._leases.renew(user, *grant))

    def release(self, user: UserId, holder: str, token: int) -> None:
        """Give it up."""
        _now(self._leases.release(user, holder, token))

    def read(self, user: UserId) -> Grant | None:
        """Return its owner."""
        return _now(self._leases.read(user))

    # ---- messages ----

    def publish(self, channel: BusChannel, envelope: Envelope, sent_at: float) -> int:
        """Send to all subscribers; return their number."""
        listening = list(self.subscribers.get(channel, ()))
        for each in listening:
            each.deliver(channel, envelope, sent_at)
        return len(listening)

    def subscribe(self, channel: BusChannel, who: Subscriber) -> None:
        """Subscribe *who* from now on."""
        self.subscribers.setdefault(channel, {})[who] = None

    def unsubscribe(self, channel: BusChannel, who: Subscriber) -> None:
        """End the subscription of *who*."""
        self.subscribers.get(channel, {}).pop(who, None)

    def leave(self, who: Subscriber) -> None:
        """Record that a connection is gone."""
        for listening in self.subscribers.values():
            listening.pop(who, None)

    # ---- node registry and shared store ----

    def announce(self, record: NodeRecord) -> None:
        """Store a node's record."""
        self._records[record.holder] = record, self.wall.now() + NODE_TTL_S

    def left(self, holder: str) -> None:
        """Remove a node's record."""
        self._records.pop(holder, None)

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return the live nodes."""
        return tuple(sorted(record for record, until in self._records.values() if self.wall.now() < until))

    def deny(self, handle: str, reason: EndReason) -> None:
        """Store that a session ended."""
        self._denied[handle] = reason

    def denied(self, handle: str) -> EndReason | None:
        """Return why a session ended."""
        return self._denied.get(handle)

    def count(self, name: str) -> int:
        """Add one."""
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._counts[name]

    def counted(self, name: str) -> int:
        """Return the counter."""
        return self._counts.get(name, 0)

    def forget_count(self, name: str) -> None:
        """Remove the counter."""
        self._counts.pop(name, None)

    def reserve(self, name: str, entry: str) -> tuple[str, ...]:
        """Reserve; for a minute."""
        now = self.wall.now()
        made = {each: until for each, until in self._reservations.get(name, {}).items() if now < until}
        made.setdefault(entry, now + 60.0)
        self._reservations[name] = made
        return tuple(made)

    def end_reservation(self, name: str, entry: str) -> None:
        """End a reservation."""
        self._reservations.get(name, {}).pop(entry, None)

    def keep_log_off(self, kept: KeptLogOff) -> bool:
        """Store a log-off."""
        self._log_offs[kept.ticket.handle] = kept
        return True

    def log_offs(self) -> tuple[KeptLogOff, ...]:
        """Return all of them."""
        return tuple(self._log_offs.values())

    def drop_log_off(self, handle: str) -> None:
        """Delete a log-off."""
        self._log_offs.pop(handle, None)
