"""Which adapters of the Bus and Leases ports are there to be held to their contracts?

Each is a *site*: some nodes that reach each other, the doors of each, and a clock that the test
moves. A networked adapter is one more function in :data:`SITES`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from gateway.bus.memory import Exchange, MemoryBus, MemoryLeases
from gateway.runtime.ports import Bus, Leases
from tests.doubles.clock import ManualClock


@dataclass(frozen=True, slots=True)
class BusSite:
    """Two nodes' doors to the same bus and leases.

    *arrive* returns once everything published has arrived. *pass_time* lets that many seconds pass
    for the leases; *ttl_s* is how long one lasts.
    """

    buses: tuple[Bus, Bus]
    leases: tuple[Leases, Leases]
    arrive: Callable[[], Awaitable[None]]
    pass_time: Callable[[float], Awaitable[None]]
    ttl_s: float


@asynccontextmanager
async def memory() -> AsyncIterator[BusSite]:
    """Yield two nodes of one process."""
    clock, exchange = ManualClock(), Exchange()
    leases = MemoryLeases(clock, ttl_s=15.0)
    yield BusSite(
        buses=(MemoryBus(exchange), MemoryBus(exchange)),
        leases=(leases, leases),
        arrive=clock.settle,
        pass_time=clock.advance,
        ttl_s=15.0,
    )


SITES: dict[str, Callable[[], AbstractAsyncContextManager[BusSite]]] = {"memory": memory}
