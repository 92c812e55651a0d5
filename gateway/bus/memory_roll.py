"""Which nodes of one process live, and what do they know of people who are not there?

The embedded default, and the double that the contract suites hold equal to the networked adapters.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

from gateway.domain.errors import EndReason
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.ports import LOG_OFFS_MAX, NODE_TTL_S, Clock, KeptLogOff

T = TypeVar("T")


class _Kept(Generic[T]):
    """Values that go by themselves. Invariant: at most as many as were kept within their times."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, tuple[float, T]] = {}
        self._ends: list[tuple[float, str]] = []
        """When to look whether a value is to go, the earliest first."""

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


class MemoryRoll:
    """See :class:`gateway.runtime.ports.Roll`. One for all nodes of the process."""

    def __init__(self, clock: Clock, *, ttl_s: float = NODE_TTL_S) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._records: Final[_Kept[NodeRecord]] = _Kept(clock)

    async def announce(self, record: NodeRecord) -> None:
        """See :meth:`gateway.runtime.ports.Roll.announce`."""
        self._records.put(record.holder, record, self._clock.now() + self._ttl_s)

    async def leave(self, holder: str) -> None:
        """See :meth:`gateway.runtime.ports.Roll.leave`."""
        self._records.pop(holder)

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """See :meth:`gateway.runtime.ports.Roll.nodes`."""
        return tuple(sorted(self._records.values()))


class MemoryShelf:
    """See :class:`gateway.runtime.ports.Shelf`. One for all nodes of the process.

    Args:
        clock: The only time.
        outlives_node: Whether the process has more nodes than the one that asks.
    """

    def __init__(self, clock: Clock, *, outlives_node: bool = False) -> None:
        self.outlives_node: Final = outlives_node
        self._clock = clock
        self._reasons: Final[_Kept[EndReason]] = _Kept(clock)
        self._counts: Final[_Kept[int]] = _Kept(clock)
        self._log_offs: Final[_Kept[KeptLogOff]] = _Kept(clock)

    def __len__(self) -> int:
        return len(self._reasons) + len(self._counts) + len(self._log_offs)

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.deny`."""
        self._reasons.put(handle, reason, self._clock.now() + ttl_s)

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.Shelf.denied`."""
        kept = self._reasons.get(handle)
        return None if kept is None else kept[1]

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.count`."""
        until, count = self._counts.get(name) or (self._clock.now() + ttl_s, 0)
        self._counts.put(name, count + 1, until)
        return count + 1

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.counted`."""
        kept = self._counts.get(name)
        return 0 if kept is None else kept[1]

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.forget`."""
        self._counts.pop(name)

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """See :meth:`gateway.runtime.ports.Shelf.keep_log_off`."""
        handle = kept.ticket.handle
        if self._log_offs.get(handle) is None and len(self._log_offs) >= LOG_OFFS_MAX:
            return False
        self._log_offs.put(handle, kept, self._clock.now() + ttl_s)
        return True

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """See :meth:`gateway.runtime.ports.Shelf.log_offs`."""
        return tuple(self._log_offs.values())

    async def drop_log_off(self, handle: str) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.drop_log_off`."""
        self._log_offs.pop(handle)
