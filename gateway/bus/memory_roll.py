"""Which nodes of this process live, and what do they tell each other of people who are not there?

The embedded default, and the double that the contract suites hold equal to the networked adapters.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import EndReason
from gateway.runtime.ports import NODE_TTL_S, Clock, NodeRecord

_NOTES_MAX: Final = 100_000


class MemoryRoll:
    """The nodes that said so lately."""

    def __init__(self, clock: Clock, *, ttl_s: float = NODE_TTL_S) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._said: dict[str, tuple[float, NodeRecord]] = {}

    async def announce(self, record: NodeRecord) -> None:
        """See :meth:`gateway.runtime.ports.Roll.announce`."""
        self._said[record.holder] = (self._clock.now() + self._ttl_s, record)

    async def leave(self, holder: str) -> None:
        """See :meth:`gateway.runtime.ports.Roll.leave`."""
        self._said.pop(holder, None)

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """See :meth:`gateway.runtime.ports.Roll.nodes`."""
        now = self._clock.now()
        self._said = {holder: said for holder, said in self._said.items() if said[0] > now}
        return tuple(sorted((record for _, record in self._said.values()), key=lambda record: record.node))


@dataclass(slots=True)
class _Counter:
    number: int
    until: float


class MemoryShelf:
    """What is noted for a time. Bounded: beyond *notes_max* of a kind the oldest goes."""

    def __init__(self, clock: Clock, *, notes_max: int = _NOTES_MAX) -> None:
        self._clock = clock
        self._notes_max = notes_max
        self._denied: OrderedDict[str, tuple[float, EndReason]] = OrderedDict()
        self._counters: OrderedDict[str, _Counter] = OrderedDict()

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.deny`."""
        self._denied[handle] = (self._clock.now() + ttl_s, reason)
        while len(self._denied) > self._notes_max:
            self._denied.popitem(last=False)

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.Shelf.denied`."""
        until, reason = self._denied.get(handle, (0.0, None))
        return reason if until > self._clock.now() else None

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.count`."""
        now = self._clock.now()
        counter = self._counters.get(name)
        if counter is None or counter.until <= now:
            counter = self._counters[name] = _Counter(0, now + ttl_s)
            self._counters.move_to_end(name)
        counter.number += 1
        while len(self._counters) > self._notes_max:
            self._counters.popitem(last=False)
        return counter.number

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.counted`."""
        counter = self._counters.get(name)
        return counter.number if counter is not None and counter.until > self._clock.now() else 0

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.forget`."""
        self._counters.pop(name, None)
