"""The data of a Redis, and its expiry.

One :class:`Server` is one process; a cluster's nodes may be connected to different ones after a fail-over has
split them. Its keys expire by its own wall clock, as in Redis, so a step of that clock makes leases end early
or late.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final, Protocol, TypeVar

from gateway.domain.model import UserId
from gateway.protocol.envelopes import BusChannel, Envelope
from gateway.runtime.ports import Grant
from tests.doubles.stored import Store
from tests.simulation.loop import NodeClock, VirtualClock

T = TypeVar("T")
_CALM: Final = (0.0005, 0.001, 0.002)
_SLOW: Final = (0.001, 0.01, 0.05, 0.15, 0.4)


class Subscriber(Protocol):
    """A connection that receives messages."""

    def deliver(self, channel: BusChannel, envelope: Envelope, sent_at: float) -> None: ...


class NetworkFaults:
    """The delays and faults of messages between nodes and Redis.

    Args:
        rng: Draws them.
    """

    def __init__(self, rng: Random) -> None:
        self.loss = 0.0
        self.doubling = 0.0
        self.slow = False
        self.rng = rng

    def leg_s(self) -> float:
        return self.rng.choice(_SLOW if self.slow else _CALM)

    def copies(self) -> int:
        if self.loss and self.rng.random() < self.loss:
            return 0
        return 2 if self.doubling and self.rng.random() < self.doubling else 1


class _Wall(NodeClock):
    """A server's clock, by which its keys expire: it steps."""

    def now(self) -> float:
        return self.wall_ms() / 1000


def answer_of(asked: Coroutine[Any, Any, T]) -> T:
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

    def __init__(self, clock: VirtualClock) -> None:
        self.is_frozen = False
        self.refuses: str | None = None
        """The word with which it refuses writes; it still carries messages."""
        self.wall = _Wall(clock)
        self.backlog: list[Callable[[], None]] = []
        self.subscribers: dict[BusChannel, dict[Subscriber, None]] = {}
        self.store = Store(self.wall)
        self._clock = clock

    # ---- what befalls it ----

    def copy(self) -> Server:
        """Return a replica with the same data; no node is connected to it."""
        made = Server(self._clock)
        made.wall.ahead_s = self.wall.ahead_s
        made.store = self.store.replica(made.wall)
        return made

    def forget(self) -> None:
        """FLUSHALL."""
        self.store = Store(self.wall)

    def thaw(self) -> None:
        """Continue, first with the waiting requests."""
        self.is_frozen = False
        waiting, self.backlog = self.backlog, []
        for each in waiting:
            each()

    def read(self, user: UserId) -> Grant | None:
        return answer_of(self.store.leases.read(user))

    # ---- messages ----

    def publish(self, channel: BusChannel, envelope: Envelope, sent_at: float) -> int:
        listening = list(self.subscribers.get(channel, ()))
        for each in listening:
            each.deliver(channel, envelope, sent_at)
        return len(listening)

    def subscribe(self, channel: BusChannel, who: Subscriber) -> None:
        self.subscribers.setdefault(channel, {})[who] = None

    def unsubscribe(self, channel: BusChannel, who: Subscriber) -> None:
        self.subscribers.get(channel, {}).pop(who, None)

    def leave(self, who: Subscriber) -> None:
        for listening in self.subscribers.values():
            listening.pop(who, None)
