"""The data of one Redis in memory, and the adapters of a node that asks it over a connection with faults."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from copy import deepcopy
from operator import attrgetter
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from gateway.bus.memory import MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.runtime.ports import Bus, Clock, Cluster

P = ParamSpec("P")
T = TypeVar("T")
Data = TypeVar("Data")


class Store:
    """The data of one Redis, which expires by *clock*."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.leases = MemoryLeases(clock)
        self.registry = MemoryNodeRegistry(clock)
        self.shared = MemoryStore(clock)

    def replica(self, clock: Clock) -> Store:
        """Return a store that begins with this data, and expires by *clock*."""
        return deepcopy(self, {id(self.clock): clock})


class Requests(Protocol):
    """One node's way to its Redis."""

    async def request(
        self, act: Callable[[Store], Coroutine[Any, Any, T]], *, writes: bool, script: bool
    ) -> T:
        """Return what *act*, which does not wait, makes of the data; Redis may refuse what *writes*."""


class _Adapter:
    def __init__(self, requests: Requests) -> None:
        self.requests = requests


def _request(
    part: str,
    method: Callable[Concatenate[Data, P], Coroutine[Any, Any, T]],
    *,
    writes: bool = False,
    script: bool = False,
) -> Callable[Concatenate[_Adapter, P], Coroutine[Any, Any, T]]:
    """Return the method of an adapter that has *method* called on the *part* of the data."""
    asked = attrgetter(f"{part}.{method.__name__}")  # of the object: a test may have replaced it

    async def request(self: _Adapter, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def act(store: Store) -> Coroutine[Any, Any, T]:
            answer: Coroutine[Any, Any, T] = asked(store)(*args, **kwargs)
            return answer

        return await self.requests.request(act, writes=writes, script=script)

    return request


class StoredLeases(_Adapter):
    """See :class:`gateway.runtime.ports.Leases`."""

    acquire = _request("leases", MemoryLeases.acquire, writes=True, script=True)
    renew = _request("leases", MemoryLeases.renew, writes=True, script=True)
    renew_many = _request("leases", MemoryLeases.renew_many, writes=True, script=True)
    release = _request("leases", MemoryLeases.release, writes=True, script=True)
    read = _request("leases", MemoryLeases.read, script=True)


class StoredNodes(_Adapter):
    """See :class:`gateway.runtime.ports.NodeRegistry`."""

    announce = _request("registry", MemoryNodeRegistry.announce, writes=True)
    leave = _request("registry", MemoryNodeRegistry.leave, writes=True)
    nodes = _request("registry", MemoryNodeRegistry.nodes)


class StoredValues(_Adapter):
    """See :class:`gateway.runtime.ports.SharedStore`."""

    outlives_node: Final = True

    def __init__(self, requests: Requests, names: Store) -> None:
        super().__init__(requests)
        self.pseudonym = names.shared.pseudonym

    shorten_denial = _request("shared", MemoryStore.shorten_denial, writes=True)
    deny = _request("shared", MemoryStore.deny, writes=True)
    denied = _request("shared", MemoryStore.denied)
    count = _request("shared", MemoryStore.count, writes=True)
    counted = _request("shared", MemoryStore.counted)
    forget = _request("shared", MemoryStore.forget, writes=True)
    reserve = _request("shared", MemoryStore.reserve, writes=True, script=True)
    end_reservation = _request("shared", MemoryStore.end_reservation, writes=True)
    keep_log_off = _request("shared", MemoryStore.keep_log_off, writes=True, script=True)
    log_offs = _request("shared", MemoryStore.log_offs)
    drop_log_off = _request("shared", MemoryStore.drop_log_off, writes=True)


def cluster(bus: Bus, requests: Requests, names: Store, refusals: Callable[[], frozenset[str]]) -> Cluster:
    """Return what nodes share: *bus*, and the data that *requests* ask for; *names* hashes names."""
    values = StoredValues(requests, names)
    return Cluster(bus, StoredLeases(requests), StoredNodes(requests), values, refusals)
