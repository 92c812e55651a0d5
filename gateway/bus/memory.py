"""How do the nodes of one process reach each other, and who of them owns a user?

The embedded default, and the double that the contract suites hold equal to the networked
adapters. Nothing leaves the process, so nothing needs sealing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.core.lease import TTL_S
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Channel, Envelope
from gateway.runtime.ports import Clock, Grant

Receive = Callable[[Envelope], None]
_FLOORS_MAX: Final = 100_000


class Exchange:
    """The channels that the buses of one process share."""

    def __init__(self) -> None:
        self.receivers: dict[Channel, dict[MemoryBus, Receive]] = {}


class MemoryBus:
    """One node's door to the exchange: delivers at once, in order, and loses nothing."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def subscribe(self, channel: Channel, receive: Receive) -> None:
        """See :meth:`gateway.runtime.ports.Bus.subscribe`."""
        self._exchange.receivers.setdefault(channel, {})[self] = receive

    async def unsubscribe(self, channel: Channel) -> None:
        """See :meth:`gateway.runtime.ports.Bus.unsubscribe`."""
        receivers = self._exchange.receivers.get(channel, {})
        receivers.pop(self, None)
        if not receivers:
            self._exchange.receivers.pop(channel, None)

    async def publish(self, channel: Channel, envelope: Envelope) -> int:
        """See :meth:`gateway.runtime.ports.Bus.publish`."""
        receivers = list(self._exchange.receivers.get(channel, {}).values())
        for receive in receivers:
            receive(envelope)
        return len(receivers)

    def watch(self, doubted: Callable[[], None]) -> None:
        """See :meth:`gateway.runtime.ports.Bus.watch`: nothing is ever lost here."""


@dataclass(slots=True)
class _Lease:
    grant: Grant
    until: float


class MemoryLeases:
    """Who owns a user, for the nodes of one process.

    Invariant: a user's tokens only grow; the last *floors_max* users' tokens are remembered
    after their leases ended, and wall-clock microseconds stand in for those forgotten. Leases
    that ran out go at the next grant, so there are as many as there are owners.
    """

    def __init__(self, clock: Clock, *, ttl_s: float = TTL_S, floors_max: int = _FLOORS_MAX) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._floors_max = floors_max
        self._leases: OrderedDict[UserId, _Lease] = OrderedDict()
        """In the order of their ends: all live equally long."""
        self._floors: OrderedDict[UserId, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leases)

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """See :meth:`gateway.runtime.ports.Leases.acquire`."""
        present = self._present(user)
        if present is not None and present.token != expected and present.holder != holder:
            return present
        token = max(self._clock.wall_ms() * 1000, self._floors.get(user, 0) + 1, floor + 1)
        return self._grant(user, Grant(node, holder, token))

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """See :meth:`gateway.runtime.ports.Leases.renew`."""
        present = self._present(user)
        last = max(self._floors.get(user, 0), 0 if present is None else present.token)
        is_mine = present is not None and (present.holder, present.token) == (holder, token)
        if not is_mine and not token > last and (present is not None or token != last):
            return False
        self._grant(user, Grant(node, holder, token))
        return True

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """See :meth:`gateway.runtime.ports.Leases.release`."""
        present = self._present(user)
        if present is not None and (present.holder, present.token) == (holder, token):
            del self._leases[user]

    async def read(self, user: UserId) -> Grant | None:
        """See :meth:`gateway.runtime.ports.Leases.read`."""
        return self._present(user)

    def _present(self, user: UserId) -> Grant | None:
        lease = self._leases.get(user)
        if lease is None:
            return None
        if self._clock.now() >= lease.until:
            del self._leases[user]
            return None
        return lease.grant

    def _grant(self, user: UserId, grant: Grant) -> Grant:
        now = self._clock.now()
        while self._leases and now >= next(iter(self._leases.values())).until:
            self._leases.popitem(last=False)
        self._leases[user] = _Lease(grant, now + self._ttl_s)
        self._leases.move_to_end(user)
        self._floors[user] = grant.token
        self._floors.move_to_end(user)
        while len(self._floors) > self._floors_max:
            self._floors.popitem(last=False)
        return grant
