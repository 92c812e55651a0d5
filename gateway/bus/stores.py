"""Redis as the ports of the runtime: leases, records of nodes, shared values, and a check of the server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

import msgspec
from redis.asyncio import Connection
from redis.exceptions import RedisError

from gateway.bus import NOBODY, BusAddress, ClusterFacts, RedisUnreachable, ServerFacts, parse_url
from gateway.bus.cluster import Shards, Topology
from gateway.bus.connect import (
    LOG_OFFS,
    NODES,
    REFUSAL_S,
    TRIAL,
    TRIAL_WRITE,
    UNEXPECTED,
    BusKeys,
    Connector,
    KeyNames,
    Lifetimes,
    Refusals,
    Reply,
    Word,
    bus_down,
    code,
)
from gateway.bus.pubsub import Partition, RedisBus
from gateway.bus.redis import COMMANDS, SCRIPTS, CommandSender, RedisClient, Script, ignore
from gateway.bus.sealing import DropReason, Seals
from gateway.core.lease import TTL_S
from gateway.domain.errors import EndReason, GatewayError, MappedErrors
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.ports import LOG_OFFS_MAX, NODE_TTL_S, RESERVATIONS_MAX, Clock, Grant, KeptLogOff

LEASE: Final = Script("lease.lua")
REGISTRY: Final = Script("registry.lua")
COUNTER: Final = Script("counter.lua")
LOG_OFF: Final = Script("log_off.lua")
RESERVATION: Final = Script("reservation.lua")
FLOOR_TTL_S: Final = 30 * 24 * 3600.0
TOKEN_MAX: Final = 2**53
"""Tokens are compared as doubles in Redis; microseconds since 1970 stay below until the year 2255."""
TRIES: Final = 5
"""Tries to change a counter that other nodes change at the same time; after them this one is not counted."""
SKEW_MS: Final = 60_000
"""Highest difference between the clocks of nodes; beyond it a counter counts as outdated."""
OFFSET_WITHIN_MS: Final = 500
"""Slower answers are not compared with this node's clock: Redis read its own at any moment of that time."""
COUNT_MAX: Final = 2**53
RECORD_CHARS_MAX: Final = 4_096
"""Longest text in the record of a node."""
_READ_AT_ONCE: Final = 500
"""Log-offs read by one command."""
T = TypeVar("T")
_REASONS: Final = {reason.value.encode(): reason for reason in EndReason}


class RedisLeases:
    """See :class:`gateway.runtime.ports.Leases`.

    Args:
        client: Runs the script. Renewals of one turn of the loop are sent in one batch; in a Redis Cluster
            each user's lease is renewed by a command of its own, at the user's shard.
        ttl_s: How long a lease lasts that is not renewed.
        renewed: Called with the seconds that each answered renewal took.
    """

    def __init__(
        self,
        client: CommandSender,
        names: KeyNames,
        clock: Clock,
        *,
        ttl_s: float = TTL_S,
        renewed: Callable[[float], None] | None = None,
    ) -> None:
        self.clock_offset_s: float | None = None
        """How far the wall clock of Redis is ahead of this node's, at the last quick reply; None before the
        first.
        """
        self._client = client
        self._names = names
        self._clock = clock
        self._ttls_ms = (round(ttl_s * 1000), round(FLOOR_TTL_S * 1000))
        self._renewed = renewed

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """See :meth:`gateway.runtime.ports.Leases.acquire`."""
        match await self._ask("acquire", user, node, holder, 0, floor, "" if expected is None else expected):
            case [_, _, bytes(owner), bytes(held_by), bytes(token)] if _is_token(token):
                return _grant(owner, held_by, token)
        raise bus_down(UNEXPECTED)

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """See :meth:`gateway.runtime.ports.Leases.renew`."""
        return await self.renew_many(node, holder, [(user, token)]) == [True]

    async def renew_many(
        self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]
    ) -> list[bool | None]:
        """See :meth:`gateway.runtime.ports.Leases.renew_many`."""
        asked_at = self._clock.now()
        groups = self._client.together([self._names.user(user).own for user, _ in held])
        if len(groups) == 1:
            renewed: list[bool | None] = [*await self._renew_group(node, holder, held)]
        else:
            renewed = await self._renew_groups(node, holder, held, groups)
        if self._renewed is not None:
            self._renewed(self._clock.now() - asked_at)
        return renewed

    async def _renew_groups(
        self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]], groups: Sequence[Sequence[int]]
    ) -> list[bool | None]:
        """Renew each group by its own command, so that trouble of one shard does not affect the others."""
        renewed: list[bool | None] = [None] * len(held)
        errors: list[GatewayError] = []

        async def renew(group: Sequence[int]) -> None:
            try:
                answers = await self._renew_group(node, holder, [held[at] for at in group])
            except GatewayError as error:
                errors.append(error)
                return
            for at, is_renewed in zip(group, answers, strict=True):
                renewed[at] = is_renewed

        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                tasks.create_task(renew(group))
        if len(errors) == len(groups):
            raise errors[0]
        return renewed

    async def _renew_group(self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]) -> list[bool]:
        names = [self._names.user(user) for user, _ in held]
        keys = tuple(key for name in names for key in (name.own, name.tok))
        tokens = [token for _, token in held]
        answer = await self._run(keys, "renew", node, holder, tokens[0], *self._ttls_ms, *tokens[1:])
        if len(answer) != 2 + len(held):
            raise bus_down(UNEXPECTED)
        return [each == 1 for each in answer[2:]]

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """See :meth:`gateway.runtime.ports.Leases.release`."""
        await self._ask("release", user, "", holder, token)

    def read(self, user: UserId) -> Coroutine[object, None, Grant | None]:
        """See :meth:`gateway.runtime.ports.Leases.read`. The store is asked in this call."""
        asked = self._client.ask("HMGET", self._names.user(user).own, "node", "holder", "token")
        asked.add_done_callback(ignore)
        return self._read(asked)

    async def _read(self, asked: asyncio.Future[Reply]) -> Grant | None:
        reply = await asked
        if isinstance(reply, RedisError) and code(reply) == "WRONGTYPE":  # the next grant deletes it
            return None
        match self._client.accepted(reply):
            case [bytes(node), bytes(holder), bytes(token)] if _is_token(token):
                return _grant(node, holder, token)
        return None

    async def _ask(
        self, verb: str, user: UserId, node: str, holder: str, token: int, *more: int | str
    ) -> Sequence[Reply]:
        names = self._names.user(user)
        return await self._run((names.own, names.tok), verb, node, holder, token, *self._ttls_ms, *more)

    async def _run(self, keys: tuple[bytes, ...], *arguments: int | str) -> Sequence[Reply]:
        asked_ms = self._clock.wall_ms()
        answer = await LEASE.run(self._client, keys, *arguments)
        match answer:
            case [bytes(seconds), bytes(micros), *_]:
                answered_ms = self._clock.wall_ms()
                if 0 <= answered_ms - asked_ms <= OFFSET_WITHIN_MS:
                    # read at some moment between these two: the middle is the best estimate
                    here_ms = (asked_ms + answered_ms) / 2
                    self.clock_offset_s = int(seconds) + int(micros) / 1e6 - here_ms / 1e3
                return answer
        raise bus_down(UNEXPECTED)


def _is_token(text: bytes) -> bool:
    """Return whether *text* is a token that can have been granted."""
    return len(text) <= len(str(TOKEN_MAX)) and text.isdigit() and int(text) <= TOKEN_MAX


def _grant(node: bytes, holder: bytes, token: bytes) -> Grant:
    return Grant(NodeId(node.decode(errors="replace")), holder.decode(errors="replace"), int(token))


class RedisNodeRegistry:
    """See :class:`gateway.runtime.ports.NodeRegistry`.

    Args:
        ttl_s: How long a record lasts that is not renewed.
    """

    def __init__(self, client: CommandSender, names: KeyNames, *, ttl_s: float = NODE_TTL_S) -> None:
        self._client = client
        self._names = names
        self._ttl_ms = round(ttl_s * 1000)

    async def announce(self, record: NodeRecord) -> None:
        """See :meth:`gateway.runtime.ports.NodeRegistry.announce`."""
        fields = [word for name, value in record._asdict().items() for word in (name, _field(value))]
        await REGISTRY.run(self._client, (self._names.node(record.holder),), self._ttl_ms, *fields)

    async def leave(self, holder: str) -> None:
        """See :meth:`gateway.runtime.ports.NodeRegistry.leave`."""
        await self._client.answer("DEL", self._names.node(holder))

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """See :meth:`gateway.runtime.ports.NodeRegistry.nodes`.

        What is no record of a node, or that of an incompatible version, is left out.
        """
        answers = await self._client.answers([("HGETALL", key) for key in await self._client.scan(NODES)])
        found = [_record(answer) for answer in answers]
        return tuple(sorted(record for record in found if record is not None))


def _field(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _record(reply: Reply) -> NodeRecord | None:
    if not isinstance(reply, list):
        return None
    try:
        texts = [word.decode() for word in reply if isinstance(word, bytes)]
        fields: Mapping[str, str] = dict(zip(texts[::2], texts[1::2], strict=True))
        record = msgspec.convert([fields[name] for name in NodeRecord._fields], NodeRecord, strict=False)
    except (UnicodeDecodeError, KeyError, ValueError):
        return None
    return record if _is_plausible(record) else None


def _is_plausible(record: NodeRecord) -> bool:
    """Return whether a node can have written *record*: everybody who may write to Redis can write one."""
    texts = (record.node, record.holder, record.version, record.sealing_keys)
    figures = (record.connections, record.links, record.accepts_per_s)
    return all(
        len(text) <= RECORD_CHARS_MAX and text.isascii() and text.isprintable() for text in texts
    ) and all(0 <= figure <= COUNT_MAX for figure in figures)


class _Counter(NamedTuple):
    """A sealed counter. *until_ms*: the wall clock at which its first count expires."""

    failed: int
    until_ms: int


_COUNTER: Final = msgspec.msgpack.Decoder(_Counter)
_LOG_OFF: Final = msgspec.msgpack.Decoder(KeptLogOff)


class RedisStore:
    """See :class:`gateway.runtime.ports.SharedStore`.

    Invariant: a value that no node of this cluster sealed for that very key counts as missing.
    """

    def __init__(self, client: CommandSender, names: KeyNames, seals: Seals, clock: Clock) -> None:
        self._client = client
        self._names = names
        self._seals = seals
        self._clock = clock

    outlives_node: Final = True

    def pseudonym(self, text: str) -> str:
        """See :meth:`gateway.runtime.ports.SharedStore.pseudonym`."""
        return self._names.pseudonym(text)

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.deny`."""
        await self._deny(self._names.denied(handle), reason, ttl_s)

    async def shorten_denial(self, pseudonym: str, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.shorten_denial`."""
        await self._deny(self._names.denied_by(pseudonym), EndReason.UNKNOWN, ttl_s)

    async def _deny(self, key: bytes, reason: EndReason, ttl_s: float) -> None:
        sealed = self._seals.seal_value(key, reason.value.encode())
        await self._client.answer("SET", key, sealed, "PX", _ms(ttl_s))

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.SharedStore.denied`."""
        key = self._names.denied(handle)
        sealed = await self._get(key)
        text = None if sealed is None else self._seals.open_value(key, sealed)
        return None if text is None else _REASONS.get(text, EndReason.UNKNOWN)

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.SharedStore.count`."""
        key, count = self._names.throttled(name), 0
        for _ in range(TRIES):
            sealed = await self._get(key)
            known = self._counter(key, sealed)
            until_ms = self._clock.wall_ms() + _ms(ttl_s) if known is None else known.until_ms
            count = 1 if known is None else min(known.failed + 1, COUNT_MAX)
            new = self._seals.seal_value(key, msgspec.msgpack.encode(_Counter(count, until_ms)))
            ttl_ms = _ms(ttl_s) if known is None else 0
            match await COUNTER.run(self._client, (key,), sealed or b"", new, ttl_ms):
                case 1:
                    return count
                case 0:
                    continue
            raise bus_down(UNEXPECTED)
        return count

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.SharedStore.counted`."""
        key = self._names.throttled(name)
        known = self._counter(key, await self._get(key))
        return 0 if known is None else known.failed

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.forget`."""
        await self._client.answer("DEL", self._names.throttled(name))

    async def reserve(self, name: str, entry: str, ttl_s: float) -> tuple[str, ...]:
        """See :meth:`gateway.runtime.ports.SharedStore.reserve`."""
        key, member = self._names.reservation(name, entry)
        made = await RESERVATION.run(self._client, (key,), member, _ms(ttl_s), RESERVATIONS_MAX)
        if not isinstance(made, list):
            raise bus_down(UNEXPECTED)
        entries = [
            each.rpartition(b" ")[0].decode("utf-8", "replace") for each in made if isinstance(each, bytes)
        ]
        return tuple(
            known
            for known, given in zip(entries, made, strict=False)
            if self._names.reservation(name, known)[1] == given
        )

    async def end_reservation(self, name: str, entry: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.end_reservation`."""
        await self._client.answer("ZREM", *self._names.reservation(name, entry))

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """See :meth:`gateway.runtime.ports.SharedStore.keep_log_off`."""
        member, key = self._names.log_off(kept.ticket.handle)
        sealed = self._seals.seal_value(key, msgspec.msgpack.encode(kept))
        match await LOG_OFF.run(self._client, (LOG_OFFS, key), member, sealed, _ms(ttl_s), LOG_OFFS_MAX):
            case 0 | 1 as is_kept:
                return bool(is_kept)
        raise bus_down(UNEXPECTED)

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """See :meth:`gateway.runtime.ports.SharedStore.log_offs`."""
        members = await self._client.answer("ZRANGE", LOG_OFFS, 0, LOG_OFFS_MAX - 1)
        if not isinstance(members, list):
            raise bus_down(UNEXPECTED)
        keys = [self._names.listed_log_off(member) for member in members if isinstance(member, bytes)]
        found: list[KeptLogOff] = []
        for start in range(0, len(keys), _READ_AT_ONCE):
            asked = keys[start : start + _READ_AT_ONCE]
            values = await self._client.answer("MGET", *asked)
            if not isinstance(values, list) or len(values) != len(asked):
                raise bus_down(UNEXPECTED)
            for key, sealed in zip(asked, values, strict=True):
                kept = self._value(key, sealed, _LOG_OFF) if isinstance(sealed, bytes) else None
                found += [] if kept is None else [kept]
        return tuple(found)

    async def drop_log_off(self, handle: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.drop_log_off`."""
        member, key = self._names.log_off(handle)
        await self._client.answers([("DEL", key), ("ZREM", LOG_OFFS, member)])

    async def _get(self, key: bytes) -> bytes | None:
        match await self._client.answer("GET", key):
            case None:
                return None
            case bytes(sealed):
                return sealed
        raise bus_down(UNEXPECTED)

    def _counter(self, key: bytes, sealed: bytes | None) -> _Counter | None:
        """Return the sealed counter; None: it is out of date, or not of this cluster."""
        known = None if sealed is None else self._value(key, sealed, _COUNTER)
        return None if known is None or self._clock.wall_ms() >= known.until_ms + SKEW_MS else known

    def _value(self, key: bytes, sealed: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
        """Return the sealed value of *key*; None: it is not of this cluster."""
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            return decoder.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(DropReason.UNREADABLE)
            return None


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


ENGINES: Final = {"redis": "Redis", "valkey": "Valkey"}
"""The oldest version of each engine that the gateway works with."""
_SENTINELS_ASKED_S: Final = 1.0
_QUESTIONS: Final[tuple[tuple[Word, ...], ...]] = (
    ("HELLO",),
    ("TIME",),
    ("INFO", "persistence"),
    ("CONFIG", "GET", "save"),
    ("CONFIG", "GET", "appendonly"),
    ("CONFIG", "GET", "maxmemory-policy"),
)
_NODE_TIMEOUT: Final = b"cluster-node-timeout"
_FULL_COVERAGE: Final = b"cluster-require-full-coverage"
_CLUSTER_SETTINGS: Final = (("CONFIG", "GET", _NODE_TIMEOUT), ("CONFIG", "GET", _FULL_COVERAGE))


class BackendOptions(NamedTuple):
    """Options of a backend.

    Attributes:
        ttl: How long things last.
        node: The node that receives; none when it is empty.
        renewed: Called with the seconds that each renewal of leases took.
    """

    ttl: Lifetimes = Lifetimes()
    node: NodeId = NOBODY
    renewed: Callable[[float], None] | None = None


class RedisBackend:
    """A node's connections to one Redis, open while its block lasts, which is entered once.

    It also starts without Redis, and keeps trying; ports raise ``bus_down`` until then. One connection
    each for publishing, for receiving, for scripts and for commands: none waits for another. To a Redis
    Cluster one for publishing to each partition, and to each primary one for scripts and one for commands.

    Args:
        url: See :mod:`gateway.bus.connect`.
        connections: The class of connections without TLS.

    Raises:
        ValueError: The URL is no bus URL, or a key has the wrong length.
        OSError: The URL's file of trusted certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        keys: BusKeys,
        clock: Clock,
        jitter: Callable[[], float],
        draw: Callable[[int], bytes],
        *,
        options: BackendOptions | None = None,
        connections: type[Connection] = Connection,
    ) -> None:
        lasts, node, renewed = options or BackendOptions()
        names = KeyNames(keys.pseudonym)
        self.seals: Final = Seals(keys.sealing, draw)
        self._trial_s = lasts.trial_s
        self._clock = clock
        address = parse_url(url)
        self._servers: OneServer | Shards
        if address.is_cluster:
            topology = Topology(address, clock, connections, lasts.refusal_s)
            self._servers = Shards(topology, clock, jitter, lambda: (LEASE.load,))
        else:
            refusals = Refusals(clock, lasts.refusal_s)
            connector = Connector(address, clock, connections=connections, refusals=refusals)
            self._servers = OneServer(connector, clock, jitter)
        self._scripts, self._commands = self._servers.scripts, self._servers.commands
        self.bus: Final = RedisBus(
            self._servers.partitions, names, self.seals, clock, jitter, draw, node=node
        )
        self.leases: Final = RedisLeases(self._scripts, names, clock, ttl_s=lasts.lease_s, renewed=renewed)
        self.registry: Final = RedisNodeRegistry(self._commands, names, ttl_s=lasts.node_s)
        self.shared: Final = RedisStore(self._commands, names, self.seals, clock)
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    @property
    def clients(self) -> dict[str, RedisClient]:
        """The connections by their use."""
        of_bus = {"publishing": self.bus.publishers, "subscribing": (self.bus.subscriber.client,)}
        return {
            use if len(clients) == 1 else f"{use} {number}": client
            for use, clients in {**of_bus, **self._servers.clients()}.items()
            for number, client in enumerate(clients)
        }

    @property
    def trouble(self) -> str | None:
        """Why one of the connections is down, without text of the server; None: all are up."""
        troubles = [self._servers.trouble, *(each.trouble for each in self.clients.values())]
        return next((trouble for trouble in troubles if trouble is not None), None)

    def refusals(self) -> frozenset[str]:
        """Return what the server refuses now; see :class:`gateway.bus.connect.Refusals`."""
        return self._servers.refusals()

    def dropped(self) -> Mapping[str, int]:
        """Return how many messages were not accepted, by reason."""
        return {why.value: self.seals.dropped[why] for why in DropReason}

    def clock_offset_s(self) -> float | None:
        """Return how far the server's clock is ahead of this node's; None: unknown."""
        return self.leases.clock_offset_s

    async def __aenter__(self) -> Self:
        """Start to connect; does not wait for it."""
        tasks = await self._tasks.__aenter__()
        runs = [self.bus.run(), *self._servers.runs(self.bus), self._try_writes()]
        self._running = [tasks.create_task(run) for run in runs]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        for task in self._running:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:  # an error of the block is raised as it is
            await self._tasks.__aexit__(None, None, None)

    def __repr__(self) -> str:
        return f"RedisBackend({self.trouble or 'connected'})"

    async def _try_writes(self) -> None:
        """Write at intervals: a server may refuse writes while it still carries messages."""
        while True:
            with suppress(GatewayError):  # no reply; a refusal is recorded by the client
                await self._servers.try_writes()
            await self._clock.sleep(self._trial_s)


class OneServer:
    """Connections to one Redis, or to the primary that sentinels elect."""

    trouble: Final = None

    def __init__(self, connector: Connector, clock: Clock, jitter: Callable[[], float]) -> None:
        self.scripts: Final = RedisClient(connector, clock, jitter, SCRIPTS, first=lambda: (LEASE.load,))
        self.commands: Final = RedisClient(connector, clock, jitter, COMMANDS)
        self.partitions: Final = (Partition(connector),)
        self.connector: Final = connector
        self._clock = clock

    def clients(self) -> dict[str, Sequence[RedisClient]]:
        """Return the connections beside those of the bus, by their use."""
        return {"scripts": (self.scripts,), "commands": (self.commands,)}

    def refusals(self) -> frozenset[str]:
        """Return what the server refuses."""
        return self.connector.refusals.present

    async def try_writes(self) -> None:
        """Write, and record whether that is refused."""
        await self.commands.answer(*TRIAL_WRITE)
        self.connector.refusals.clear()

    def runs(self, bus: RedisBus) -> list[Coroutine[None, None, None]]:
        """Return the tasks of the backend."""
        watched = (*bus.publishers, bus.subscriber.client, self.scripts, self.commands)
        sentinels = [self._follow_sentinels(watched)] if self.connector.has_sentinels else []
        return [self.scripts.run(), self.commands.run(), *sentinels]

    async def _follow_sentinels(self, clients: Sequence[RedisClient]) -> None:
        """Disconnect from a former primary that still answers, as in a split network."""
        while True:
            await self._clock.sleep(_SENTINELS_ASKED_S)
            try:
                primary = await self.connector.primary()
            except RedisUnreachable:
                continue
            for client in clients:
                client.leave_unless(primary)


# ---- the check of a server ----


async def inspect(address: BusAddress, clock: Clock) -> ServerFacts:
    """Query the server at *address* for its version and settings, on one connection; bounded in time.

    Raises:
        RedisUnreachable: It cannot be used. Its text says why.
    """
    with MappedErrors(OSError, _named_file_fault):
        connector = Connector(address, clock, "oscc-gateway-survey")
    return await _inspect(connector, clock, TRIAL)


def _named_file_fault(error: OSError) -> RedisUnreachable:
    return RedisUnreachable(f"the file of trusted certificates cannot be read: {error.strerror}")


async def _inspect(connector: Connector, clock: Clock, trial: bytes) -> ServerFacts:
    asked_ms = clock.wall_ms()
    connection, endpoint, replies = await connector.open((*_QUESTIONS, ("SET", trial, *TRIAL_WRITE[2:])))
    await connection.disconnect(nowait=True)
    here_ms = (asked_ms + clock.wall_ms()) / 2
    hello, time, info, save, append, policy, written = replies
    greeting = _pairs(hello)
    evicts = _pairs(policy).get(b"maxmemory-policy")
    return ServerFacts(
        endpoint,
        ENGINES.get(_text(greeting.get(b"server"))),
        _version(_text(greeting.get(b"version"))),
        _persists(info, _pairs(save).get(b"save"), _pairs(append).get(b"appendonly")),
        None if evicts is None else evicts != b"noeviction",
        _offset_s(time, here_ms),
        code(written) if isinstance(written, RedisError) else None,
        greeting.get(b"mode") == b"cluster",
    )


async def inspect_cluster(address: BusAddress, clock: Clock) -> ClusterFacts:
    """Query each primary of the Redis Cluster at *address*, as :func:`inspect` queries one server.

    Raises:
        RedisUnreachable: It cannot be used. Its text says why.
    """
    with MappedErrors(OSError, _named_file_fault):
        topology = Topology(address, clock, Connection, REFUSAL_S)
    await topology.refresh()
    servers: list[ServerFacts] = []
    settings: dict[Reply, Reply] = {}
    for primary in topology.primaries:
        trial = topology.key_at(TRIAL, primary) or TRIAL
        servers.append(await _inspect(topology.connector(primary), clock, trial))
        for reply in await topology.connector(primary).ask_at(primary, *_CLUSTER_SETTINGS):
            settings |= _pairs(reply)
    timeout_ms, coverage = _text(settings.get(_NODE_TIMEOUT)), settings.get(_FULL_COVERAGE)
    return ClusterFacts(
        tuple(servers),
        topology.lost_slots,
        topology.without_replica,
        int(timeout_ms) / 1000 if timeout_ms.isdecimal() else None,
        None if coverage is None else coverage == b"yes",
    )


def _persists(info: Reply, save: Reply, append: Reply) -> bool | None:
    report = info if isinstance(info, bytes) else b""
    if b"aof_enabled:1" in report or append == b"yes" or (isinstance(save, bytes) and save != b""):
        return True
    if isinstance(save, bytes) and append == b"no":
        return False
    return None


def _offset_s(time: Reply, here_ms: float) -> float | None:
    match time:
        case [bytes(seconds), bytes(micros)] if seconds.isdigit() and micros.isdigit():
            return int(seconds) + int(micros) / 1e6 - here_ms / 1e3
    return None


def _pairs(reply: Reply) -> dict[Reply, Reply]:
    """Return a flat list of names and values as a map; an empty one for a refusal."""
    words: Sequence[Reply] = reply if isinstance(reply, list) else ()
    return {
        name: value for name, value in zip(words[::2], words[1::2], strict=False) if isinstance(name, bytes)
    }


def _text(value: Reply) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isascii() and part.isdecimal())
