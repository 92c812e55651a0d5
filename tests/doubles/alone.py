"""What does a node share in a test that has no others?"""

from __future__ import annotations

from gateway.bus.memory import MemoryBus, MemoryChannels, MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.runtime.node import Cluster
from gateway.runtime.ports import Clock, Leases


def alone(clock: Clock, leases: Leases | None = None) -> Cluster:
    """Return what a node shares with nobody."""
    held = MemoryLeases(clock) if leases is None else leases
    return Cluster(MemoryBus(MemoryChannels()), held, MemoryNodeRegistry(clock), MemoryStore(clock))
