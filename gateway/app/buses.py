"""How does a node reach the others: which bus do the settings ask for?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.app.config_bus_url import redis_url
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Bus, Secrets
from gateway.app.keyring import Keyring
from gateway.bus.connecting import BusKeys, RedisSite
from gateway.bus.memory import Exchange, MemoryBus, MemoryLeases
from gateway.bus.memory_roll import MemoryRoll, MemoryShelf
from gateway.runtime.parts import Cluster
from gateway.runtime.ports import Clock


@asynccontextmanager
async def open_bus(
    bus: Bus,
    secrets: Secrets,
    clock: Clock,
    *,
    jitter: Callable[[], float],
    draw: Callable[[int], bytes],
    renewed: Callable[[float], None] | None = None,
    keyring: Keyring | None = None,
) -> AsyncIterator[Cluster]:
    """Give what the nodes of a gateway share while the block lasts; it may still be on its way.

    Args:
        bus: Which.
        secrets: Those of all nodes.
        clock: The only time.
        jitter: Draws from [0, 1).
        draw: Draws that many unpredictable bytes.
        renewed: Told how many seconds each renewal of a lease took.
        keyring: Tells of other sealing keys than those of *secrets*, when they come.

    Raises:
        ConfigError: The file of the authority cannot be used.
    """
    url = redis_url(bus.url, bus.ca_file)
    if url is None:
        yield Cluster(MemoryBus(Exchange()), MemoryLeases(clock), MemoryRoll(clock), MemoryShelf(clock))
        return
    keys = BusKeys([(key.id, key.key.raw) for key in secrets.sealing_keys], secrets.pseudonym_key.raw)
    try:
        site = RedisSite(url, keys, clock, jitter, draw, renewed=renewed)
    except OSError:  # ssl.SSLError is one: the file is no certificate
        raise ConfigError(["bus.ca_file holds no certificate that can be read."]) from None
    if keyring is not None:
        keyring.tell(site.seals.rekey)
    async with site:
        yield Cluster(site.bus, site.leases, site.roll, site.shelf, site.refusals)
