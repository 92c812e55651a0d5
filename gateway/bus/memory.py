"""The bus, leases, node registry and store of the nodes of one process.

The embedded default, and the double that the contract suites compare the networked adapters with. Nothing
leaves the process, so nothing is sealed.
"""

from __future__ import annotations

import hashlib
import heapq
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.core.lease import TTL_S
from gateway.domain.errors import EndReason
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import BusChannel, Envelope, NodeRecord
from gateway.runtime.ports import (
    LOG_OFFS_MAX,
    NODE_TTL_S,
    RESERVATIONS_MAX,
    Clock,
    Grant,
    KeptLogOff,
    OnPosted,
    Receive,
)

T = TypeVar("T")
_FLOORS_MAX: Final = 100_000
_KEY: Final = secrets.token_bytes(32)
"""Of this process: pseudonyms are of no use after its end."""


class MemoryChannels:
    """The channels that the buses of one process share."""

    def __init__(self) -> None:
        self.receivers: dict[BusChannel, dict[MemoryBus, Receive]] = {}


class MemoryBus:
    """The bus of one node: delivers at once, in order, and loses nothing."""

    def __init__(self, channels: MemoryChannels) -> None:
        self._channels = channels

    async def subscribe(self, channel: BusChannel, receive: Receive) -> None:
        """See :meth:`gateway.runtime.ports.Bus.subscribe`."""
        self._channels.receivers.setdefault(channel, {})[self] = receive

    async def unsubscribe(self, channel: BusChannel) -> None:
        """See :meth:`gateway.runtime.ports.Bus.unsubscribe`."""
        receivers = self._channels.receivers.get(channel, {})
        receivers.pop(self, None)
        if not receivers:
            self._channels.receivers.pop(channel, None)

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        """See :meth:`gateway.runtime.ports.Bus.publish`."""
        receivers = list(self._channels.receivers.get(channel, {}).values())
        for receive in receivers:
            receive(envelope)
        return len(receivers)

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:  # noqa: ARG002 - the port's
        """Return False: a receiver would run inside of the call of the sender."""
        return False

    def flush(self) -> None:
        """See :meth:`gateway.runtime.ports.Bus.flush`: nothing waits."""

    waiting_bytes: Final = 0

    def watch(self, report_loss: Callable[[], None]) -> None:
        """See :meth:`gateway.runtime.ports.Bus.watch`: nothing is ever lost here."""


@dataclass(slots=True)
class _Lease:
    grant: Grant
    until: float


class MemoryLeases:
    """See :class:`gateway.runtime.ports.Leases`. One for all nodes of the process.

    Invariant: a user's tokens only grow; the last *floors_max* users' tokens are kept after their
    leases ended, and wall-clock microseconds replace the others. Expired leases are removed at the next
    grant, so there are as many as there are owners.
    """

    def __init__(self, clock: Clock, *, ttl_s: float = TTL_S, floors_max: int = _FLOORS_MAX) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._floors_max = floors_max
        self._leases: OrderedDict[UserId, _Lease] = OrderedDict()
        """In the order of their ends: all have the same duration."""
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

    async def renew_many(
        self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]
    ) -> list[bool | None]:
        """See :meth:`gateway.runtime.ports.Leases.renew_many`."""
        return [await self.renew(user, node, holder, token) for user, token in held]

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


class _Expiring(Generic[T]):
    """Values that expire. Invariant: each was stored within its lifetime."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, tuple[float, T]] = {}
        self._ends: list[tuple[float, str]] = []
        """When to check whether a value has expired, the earliest first."""

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: T, until: float) -> None:
        self._drop_ended()
        known = self._values.get(key)
        self._values[key] = until, value
        if known is None or known[0] != until:
            heapq.heappush(self._ends, (until, key))

    def get(self, key: str) -> tuple[float, T] | None:
        self._drop_ended()
        return self._values.get(key)

    def pop(self, key: str) -> None:
        self._values.pop(key, None)

    def values(self) -> list[T]:
        self._drop_ended()
        return [value for _, value in self._values.values()]

    def _drop_ended(self) -> None:
        now = self._clock.now()
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            until, _ = self._values.get(key, (now + 1, None))
            if until <= now:
                del self._values[key]


class MemoryNodeRegistry:
    """See :class:`gateway.runtime.ports.NodeRegistry`. One for all nodes of the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: Final[_Expiring[NodeRecord]] = _Expiring(clock)

    async def announce(self, record: NodeRecord) -> None:
        """See :meth:`gateway.runtime.ports.NodeRegistry.announce`."""
        self._records.put(record.holder, record, self._clock.now() + NODE_TTL_S)

    async def leave(self, holder: str) -> None:
        """See :meth:`gateway.runtime.ports.NodeRegistry.leave`."""
        self._records.pop(holder)

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """See :meth:`gateway.runtime.ports.NodeRegistry.nodes`."""
        return tuple(sorted(self._records.values()))


class MemoryStore:
    """See :class:`gateway.runtime.ports.SharedStore`. One for all nodes of the process.

    Args:
        outlives_node: Whether other nodes of the process remain when one ends.
    """

    def __init__(self, clock: Clock, *, outlives_node: bool = False) -> None:
        self.outlives_node: Final = outlives_node
        self._clock = clock
        self._reasons: Final[_Expiring[EndReason]] = _Expiring(clock)
        self._counts: Final[_Expiring[int]] = _Expiring(clock)
        self._log_offs: Final[_Expiring[KeptLogOff]] = _Expiring(clock)
        self._reservations: Final[_Expiring[tuple[str, str]]] = _Expiring(clock)

    def __len__(self) -> int:
        return len(self._reasons) + len(self._counts) + len(self._log_offs) + len(self._reservations)

    def pseudonym(self, text: str) -> str:
        """See :meth:`gateway.runtime.ports.SharedStore.pseudonym`."""
        return hashlib.blake2s(text.encode(), key=_KEY, digest_size=16).hexdigest()

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.deny`."""
        self._reasons.put(self.pseudonym(handle), reason, self._clock.now() + ttl_s)

    async def shorten_denial(self, pseudonym: str, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.shorten_denial`."""
        self._reasons.put(pseudonym, EndReason.UNKNOWN, self._clock.now() + ttl_s)

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.SharedStore.denied`."""
        kept = self._reasons.get(self.pseudonym(handle))
        return None if kept is None else kept[1]

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.SharedStore.count`."""
        until, count = self._counts.get(name) or (self._clock.now() + ttl_s, 0)
        self._counts.put(name, count + 1, until)
        return count + 1

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.SharedStore.counted`."""
        kept = self._counts.get(name)
        return 0 if kept is None else kept[1]

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.forget`."""
        self._counts.pop(name)

    async def reserve(self, name: str, entry: str, ttl_s: float) -> tuple[str, ...]:
        """See :meth:`gateway.runtime.ports.SharedStore.reserve`."""
        made = [each for of, each in self._reservations.values() if of == name]
        if entry not in made and len(made) < RESERVATIONS_MAX:
            self._reservations.put(f"{name} {entry}", (name, entry), self._clock.now() + ttl_s)
            made.append(entry)
        return tuple(made)

    async def end_reservation(self, name: str, entry: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.end_reservation`."""
        self._reservations.pop(f"{name} {entry}")

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """See :meth:`gateway.runtime.ports.SharedStore.keep_log_off`."""
        handle = kept.ticket.handle
        if self._log_offs.get(handle) is None and len(self._log_offs) >= LOG_OFFS_MAX:
            return False
        self._log_offs.put(handle, kept, self._clock.now() + ttl_s)
        return True

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """See :meth:`gateway.runtime.ports.SharedStore.log_offs`."""
        return tuple(self._log_offs.values())

    async def drop_log_off(self, handle: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.drop_log_off`."""
        self._log_offs.pop(handle)
