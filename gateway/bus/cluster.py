"""Redis Cluster: the primary of each slot, and commands that are sent to the primary of their key.

All nodes of the cluster are asked for their view. A slot belongs to the primary that claims it with the
highest configuration epoch: by that rule the nodes of a Redis Cluster themselves settle who is right, so the
view of a node that was cut off does not count. Of redis-py the connections and the computation of slots are
used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from redis.asyncio import Connection
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, RedisError, TryAgainError

from gateway.bus import BusAddress, Endpoint, RedisUnreachable
from gateway.bus.connect import CLOSED, TRIAL, TRIAL_WRITE, Connector, Refusals, Reply, Word, bus_down, code
from gateway.bus.pubsub import SHARDED, Partition, RedisBus
from gateway.bus.redis import COMMANDS, SCRIPTS, CommandSender, RedisClient, RedisLimits
from gateway.domain.errors import GatewayError
from gateway.runtime.ports import ENTRY_REFUSALS, Clock, NotSentError, wait_at_most

PREFIXES: Final = tuple(b"og:{p%d}:" % number for number in (51, 28, 50, 29, 53, 151, 52, 150))
"""Prefixes of the channels of the partitions. The slot of each lies in the middle of one eighth of all slots.
So shards of equal size serve equally many partitions, for up to eight shards.
"""
LOST: Final = "CLUSTERDOWN"
"""Refusal by a Redis Cluster that lacks a shard, or most of its primaries."""
QUERY_S: Final = 1.0
"""Interval of queries without a sign of a change. A demoted primary that still answers is found in this
time.
"""
QUERY_SOON_S: Final = 0.25
"""Interval of queries after a sign of a change."""
ASKED_MAX: Final = 32
"""Nodes of the cluster that are queried at a time."""
TRIES: Final = 6
"""How often a command is sent at most while its slot moves."""
TRY_AGAIN_S: Final = 0.05
"""Pause between two of these sends."""
REDIRECTED_MAX: Final = 8
"""Commands to a node that takes over a slot, at a time; each has its own connection."""
_TRIALS_MAX: Final = 100_000
_NOT_THERE: Final = "no primary of the Redis Cluster serves the slot"
_NO_CLUSTER: Final = "it is not a node of a Redis Cluster"
_VIEW: Final = (("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"))
_BY_SCRIPT: Final = frozenset({"EVAL", "EVALSHA"})


class Claim(NamedTuple):
    """Slots that a primary serves, as reported by a node of the cluster."""

    epoch: int
    endpoint: Endpoint
    first: int
    last: int
    has_failed: bool = False
    replicas: int = 0


class ClusterView(NamedTuple):
    """The cluster as one node reports it.

    *nodes*: where its nodes are, the primaries first.
    """

    claims: tuple[Claim, ...]
    nodes: tuple[Endpoint, ...]


def read_view(slots: Reply, nodes: Reply, asked: Endpoint) -> ClusterView:
    """Return the view in the answers of *asked* to ``CLUSTER SLOTS`` and ``CLUSTER NODES``.

    Raises:
        ValueError: They are no such answers.
    """
    if not isinstance(slots, list) or not isinstance(nodes, bytes):
        raise ValueError(_NO_CLUSTER)  # noqa: TRY004 - what a server sends, not what a caller gives
    flags: dict[bytes, tuple[int, bool]] = {}
    for line in nodes.splitlines():
        fields = line.split()
        flags[fields[0]] = int(fields[6]), b"fail" in fields[2].split(b",")
    claims, primaries, replicas = [], [], []
    for first, last, primary, *others in slots:
        epoch, has_failed = flags.get(primary[2], (0, False))
        claims.append(Claim(epoch, _endpoint(primary, asked), first, last, has_failed, len(others)))
        primaries.append(_endpoint(primary, asked))
        replicas += [_endpoint(other, asked) for other in others]
    return ClusterView(tuple(claims), tuple(dict.fromkeys((*primaries, *replicas))))


def _endpoint(node: Sequence[Reply], asked: Endpoint) -> Endpoint:
    """Return the address of a node; for one without a host, the address of *asked*."""
    host, port = node[0], node[1]
    if not isinstance(port, int):
        raise ValueError(_NO_CLUSTER)  # noqa: TRY004 - what a server sends
    return Endpoint(
        host.decode() if isinstance(host, bytes) and host not in {b"", b"?"} else asked.host, port
    )


def merged(claims: Iterable[Claim]) -> list[Claim | None]:
    """Return the valid claim to each slot: the one with the highest epoch."""
    owners: list[Claim | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for claim in sorted(claims):
        owners[claim.first : claim.last + 1] = [claim] * (claim.last + 1 - claim.first)
    return owners


class Topology:
    """The primaries of a Redis Cluster and their slots, queried at intervals while :meth:`run` runs.

    Args:
        address: Some of the nodes; the others are found by them.
        connections: The class of connections without TLS.
        refusal_s: How long a refusal counts at least.

    Raises:
        OSError: The file of trusted certificates cannot be read.
    """

    def __init__(
        self, address: BusAddress, clock: Clock, connections: type[Connection], refusal_s: float
    ) -> None:
        self.trouble: str | None = "not connected yet"
        """Why the slots of the cluster are unknown, without text of a server; None: they are known."""
        self._address = address
        self._clock = clock
        self._connections = connections
        self._refusal_s = refusal_s
        self._asking = Connector(address, clock, connections=connections)
        self._entry = Refusals(clock, refusal_s)
        """Why connections to partitions refuse this node."""
        self._connectors: dict[Endpoint, Connector] = {}
        self._owners: list[Claim | None] = []
        self._has_lost = False
        self._nodes: tuple[Endpoint, ...] = ()
        self._watchers: list[Callable[[], None]] = []
        self._query_count = 0
        self._one = asyncio.Lock()
        self._query_wanted = asyncio.Event()

    # ---- queries ----

    @property
    def primaries(self) -> tuple[Endpoint, ...]:
        """The primaries that serve slots."""
        return tuple(self._connectors)

    def owner(self, slot: int) -> Endpoint | None:
        """Return the primary that serves *slot*."""
        claim = self._owners[slot] if self._owners else None
        return None if claim is None else claim.endpoint

    @property
    def lost_slots(self) -> int:
        """Number of slots that no live primary serves."""
        return sum(claim is None or claim.has_failed for claim in self._owners)

    @property
    def without_replica(self) -> tuple[Endpoint, ...]:
        """The primaries without a replica that could take over."""
        alone = (claim.endpoint for claim in self._owners if claim is not None and not claim.replicas)
        return tuple(dict.fromkeys(alone))

    def refusals(self) -> frozenset[str]:
        """Return what the primaries refuse; :data:`LOST` while no live primary serves some slots."""
        found = [connector.refusals.present for connector in self._connectors.values()]
        entry = self._entry.present & ENTRY_REFUSALS
        return frozenset({LOST} if self._has_lost else ()).union(entry, *found)

    def connector(self, primary: Endpoint) -> Connector:
        """Return the connector to *primary*."""
        return self._connectors[primary]

    def partitions(self) -> list[Partition]:
        """Return the partitions of the messages between nodes."""
        return [
            Partition(
                self._new_connector(self._entry, partial(self._locate, key_slot(prefix))), prefix, SHARDED
            )
            for prefix in PREFIXES
        ]

    def key_at(self, stem: bytes, primary: Endpoint) -> bytes | None:
        """Return a key that begins with *stem* and is served by *primary*; None: it has hardly any slots."""
        keys = (stem + b":{%d}" % number for number in range(_TRIALS_MAX))
        return next((key for key in keys if self.owner(key_slot(key)) == primary), None)

    # ---- queries ----

    def watch(self, changed: Callable[[], None]) -> None:
        """Call *changed* after each query."""
        self._watchers.append(changed)

    def query_soon(self) -> None:
        """Query again soon, after a sign that the cluster has changed."""
        self._query_wanted.set()

    def accepted(self) -> None:
        """Record that every primary let this node in and accepted a write."""
        self._entry.clear()

    async def run(self) -> None:
        """Query the cluster at intervals until cancelled."""
        while True:
            with suppress(RedisUnreachable):
                await self.refresh()
            await self._clock.sleep(QUERY_SOON_S)
            await wait_at_most(self._clock, QUERY_S, self._query_wanted.wait())
            self._query_wanted.clear()

    async def refresh(self) -> None:
        """Query the cluster now. Callers at the same time share one query.

        Raises:
            RedisUnreachable: No node of it answers. What was known stays.
        """
        seen = self._query_count
        async with self._one:
            if self._query_count == seen:
                await self._query_all()

    async def _query_all(self) -> None:
        asked = list(dict.fromkeys((*self._nodes, *self._address.endpoints)))[:ASKED_MAX]
        async with asyncio.TaskGroup() as tasks:
            queries = [tasks.create_task(self._view(node)) for node in asked]
        self._query_count += 1
        found = [query.result() for query in queries]
        views = [view for view in found if isinstance(view, ClusterView)]
        if not views:
            error = next(each for each in found if isinstance(each, RedisUnreachable))
            self.trouble = str(error)
            raise error
        self._adopt(views)

    async def _view(self, node: Endpoint) -> ClusterView | RedisUnreachable:
        try:
            slots, nodes = await self._asking.ask_at(node, *_VIEW)
            return read_view(slots, nodes, node)
        except RedisUnreachable as error:
            return error
        except (ValueError, TypeError, LookupError):
            return RedisUnreachable(_NO_CLUSTER)

    def _adopt(self, views: Sequence[ClusterView]) -> None:
        self._owners = merged(claim for view in views for claim in view.claims)
        self._has_lost = self.lost_slots > 0
        primaries = dict.fromkeys(claim.endpoint for claim in self._owners if claim is not None)
        self._nodes = tuple(dict.fromkeys((*primaries, *(node for view in views for node in view.nodes))))
        self._connectors = {each: self._connectors.get(each) or self._to(each) for each in primaries}
        self.trouble = None if primaries else _NOT_THERE
        for changed in self._watchers:
            changed()

    def _to(self, primary: Endpoint) -> Connector:
        return self._new_connector(Refusals(self._clock, self._refusal_s), partial(self._stays, primary))

    def _new_connector(self, refusals: Refusals, locate: Callable[[], Awaitable[Endpoint]]) -> Connector:
        return Connector(
            self._address, self._clock, connections=self._connections, refusals=refusals, locate=locate
        )

    async def _stays(self, primary: Endpoint) -> Endpoint:
        """Return *primary*, and check soon whether it still is one.

        A connection to it was requested again.
        """
        self.query_soon()
        return primary

    async def _locate(self, slot: int) -> Endpoint:
        """Return the primary that serves *slot*, by a query from now."""
        await self.refresh()
        owner = self.owner(slot)
        if owner is None:
            raise RedisUnreachable(_NOT_THERE)
        return owner

    async def ask(self, endpoint: Endpoint, words: Sequence[Word]) -> Reply:
        """Send a command to a node that takes a slot over, on its own connection.

        Raises:
            RedisUnreachable: It did not answer.
        """
        _, reply = await self._asking.ask_at(endpoint, ("ASKING",), words)
        return reply


def slot_of(words: Sequence[Word]) -> int:
    """Return the slot of a command's first key, as commands of the gateway have it."""
    key = words[3] if words[0] in _BY_SCRIPT else words[1]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


class _Sent(NamedTuple):
    """A command under way. *reply* is settled with the reply for its caller."""

    words: Sequence[Word]
    reply: asyncio.Future[Reply]
    tries: int = 1


class ClusterClient(CommandSender):
    """One kept connection to each primary; each command goes to the one that serves its key.

    Invariants: while a slot moves, a command is sent again where it was not executed, a few times; a command
    that got no answer is never sent again. Works while :meth:`run` runs.

    Args:
        first: The commands that each new connection begins with.
    """

    def __init__(
        self,
        topology: Topology,
        clock: Clock,
        jitter: Callable[[], float],
        limits: RedisLimits,
        first: Callable[[], Sequence[Sequence[Word]]] = tuple,
    ) -> None:
        self._topology = topology
        self._clock = clock
        self._jitter = jitter
        self._limits = limits
        self._first = first
        self._clients: dict[Endpoint, RedisClient] = {}
        self._runs: dict[Endpoint, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._redirected = asyncio.Semaphore(REDIRECTED_MAX)
        topology.watch(self._follow)

    @property
    def clients(self) -> Mapping[Endpoint, RedisClient]:
        """The connections by their primaries."""
        return self._clients

    def ask(self, *words: Word) -> asyncio.Future[Reply]:
        """See :meth:`gateway.bus.redis.CommandSender.ask`."""
        sent = _Sent(words, asyncio.get_running_loop().create_future())
        self._send(sent)
        return sent.reply

    def accepted(self, reply: Reply) -> Reply:
        """See :meth:`gateway.bus.redis.CommandSender.accepted`."""
        if isinstance(reply, RedisError):
            raise bus_down(code(reply))
        return reply

    def together(self, keys: Sequence[bytes]) -> list[list[int]]:
        """See :meth:`gateway.bus.redis.CommandSender.together`: those of one slot."""
        by_slot: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            by_slot.setdefault(key_slot(key), []).append(at)
        return list(by_slot.values())

    async def scan(self, pattern: bytes) -> set[bytes]:
        """See :meth:`gateway.bus.redis.CommandSender.scan`: at every primary."""
        if not self._clients:
            raise bus_down(_NOT_THERE)
        found: set[bytes] = set()
        for client in list(self._clients.values()):
            found |= await client.scan(pattern)
        return found

    async def try_writes(self, stem: bytes, *words: Word) -> None:
        """Write a key that begins with *stem* at each primary, as ``SET key`` and *words*.

        A primary that accepts it refuses nothing from then on.
        """
        is_accepted = True
        for primary in self._topology.primaries:
            key = self._topology.key_at(stem, primary)
            if key is None:
                continue
            try:
                reply = await self.ask("SET", key, *words)
            except GatewayError:
                is_accepted = False
                continue
            if isinstance(reply, RedisError):
                is_accepted = False
            elif primary in self._topology.primaries:
                self._topology.connector(primary).refusals.clear()
        if is_accepted:
            self._topology.accepted()

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._follow()
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    # ---- connections ----

    def _follow(self) -> None:
        """Keep a connection to each present primary, and to no other."""
        if self._tasks is None:
            return
        primaries = self._topology.primaries
        for gone in self._clients.keys() - set(primaries):
            self._clients.pop(gone).drop("it is not a primary of the cluster")
            self._runs.pop(gone).cancel()
        for primary in primaries:
            if primary not in self._clients:
                client = self._clients[primary] = RedisClient(
                    self._topology.connector(primary),
                    self._clock,
                    self._jitter,
                    self._limits,
                    first=self._first,
                )
                self._runs[primary] = self._tasks.create_task(client.run())

    # ---- commands ----

    def _send(self, sent: _Sent) -> None:
        primary = self._topology.owner(slot_of(sent.words))
        client = None if primary is None else self._clients.get(primary)
        if client is None or primary is None:
            self._topology.query_soon()
            why = bus_down(self._topology.trouble or _NOT_THERE).message
            sent.reply.set_exception(NotSentError(why))
            return
        client.ask(*sent.words).add_done_callback(partial(self._settle, sent, primary))

    def _settle(self, sent: _Sent, primary: Endpoint, settled: asyncio.Future[Reply]) -> None:
        error = settled.exception()
        if sent.reply.done():
            return
        if error is not None:
            self._topology.query_soon()
            sent.reply.set_exception(error)
            return
        reply = settled.result()
        if isinstance(reply, AskError | TryAgainError) and sent.tries < TRIES and self._tasks is not None:
            self._tasks.create_task(self._redirect(sent, primary, reply))
            return
        if isinstance(reply, RedisError) and primary in self._topology.primaries:
            self._topology.connector(primary).refusals.add(code(reply))
        sent.reply.set_result(reply)

    async def _redirect(self, sent: _Sent, primary: Endpoint, refusal: RedisError) -> None:
        """Send a command again that was not executed, where its slot is now."""
        try:
            reply = await self._elsewhere(sent, primary, refusal)
        except (RedisUnreachable, asyncio.CancelledError) as error:
            if not sent.reply.done():
                sent.reply.set_exception(bus_down(str(error) or CLOSED))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if sent.reply.done():
                return
            if reply is None:
                self._send(sent._replace(tries=sent.tries + 1))
            else:
                sent.reply.set_result(reply[0])

    async def _elsewhere(self, sent: _Sent, primary: Endpoint, refusal: RedisError) -> tuple[Reply] | None:
        """Return the reply of the node that takes the slot over; None: the command is to be sent again."""
        if isinstance(refusal, AskError) and not isinstance(refusal, MovedError):
            async with self._redirected:
                reply = await self._topology.ask(
                    Endpoint(refusal.host or primary.host, refusal.port), sent.words
                )
            if not isinstance(reply, TryAgainError) or sent.tries >= TRIES - 1:
                return (reply,)
        elif isinstance(refusal, MovedError):
            with suppress(RedisUnreachable):
                await self._topology.refresh()
            if sent.tries == 1:
                return None
        await self._clock.sleep(TRY_AGAIN_S)
        return None


class Shards:
    """Connections to the primaries of a Redis Cluster."""

    def __init__(
        self,
        topology: Topology,
        clock: Clock,
        jitter: Callable[[], float],
        first: Callable[[], Sequence[Sequence[Word]]],
    ) -> None:
        self.scripts: Final = ClusterClient(topology, clock, jitter, SCRIPTS, first=first)
        self.commands: Final = ClusterClient(topology, clock, jitter, COMMANDS)
        self.partitions: Final = topology.partitions()
        self._topology = topology

    @property
    def trouble(self) -> str | None:
        """Why there is no view of the cluster; None: there is one."""
        return self._topology.trouble

    def clients(self) -> dict[str, Sequence[RedisClient]]:
        """Return the connections beside those of the bus, by their use."""
        return {
            f"{use} {primary}": (client,)
            for use, of in (("scripts", self.scripts), ("commands", self.commands))
            for primary, client in of.clients.items()
        }

    def refusals(self) -> frozenset[str]:
        """Return what any of the primaries refuses."""
        return self._topology.refusals()

    async def try_writes(self) -> None:
        """Write at each primary, and record whether that is refused."""
        await self.commands.try_writes(TRIAL, *TRIAL_WRITE[2:])

    def runs(self, bus: RedisBus) -> list[Coroutine[None, None, None]]:
        """Return the tasks of the backend."""
        self._topology.watch(partial(self._leave_others, bus))
        return [self._topology.run(), self.scripts.run(), self.commands.run()]

    def _leave_others(self, bus: RedisBus) -> None:
        """Disconnect from former primaries that still answer."""
        for partition, publisher in zip(bus.partitions, bus.publishers, strict=True):
            primary = self._topology.owner(key_slot(partition.prefix))
            for client in (publisher, bus.subscriber.client) if partition is bus.own else (publisher,):
                if primary is not None:
                    client.leave_unless(primary)
