"""The shared parts of a node that is the only one."""

from __future__ import annotations

from gateway.bus.memory import MemoryBus, MemoryChannels, MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.runtime.ports import Clock, Cluster, Leases


def alone(clock: Clock, leases: Leases | None = None) -> Cluster:
    """Return the shared parts of a single node."""
    held = MemoryLeases(clock) if leases is None else leases
    return Cluster(MemoryBus(MemoryChannels()), held, MemoryNodeRegistry(clock), MemoryStore(clock))
