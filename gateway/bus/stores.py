"""Redis as the ports of the runtime: leases, records of nodes, shared values, and a check of the server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
from redis.asyncio import Connection
from redis.exceptions import RedisError

from gateway.bus.connect import (
    LOG_OFFS,
    NODES,
    TRIAL_WRITE,
    UNEXPECTED,
    Address,
    BusKeys,
    Connector,
    Endpoint,
    KeyNames,
    Lifetimes,
    RedisUnreachable,
    Refusals,
    Reply,
    Word,
    bus_down,
    code,
    parse_url,
)
from gateway.bus.pubsub import RedisBus
from gateway.bus.redis import RedisClient, RedisLimits, Script
from gateway.bus.sealing import DropReason, Seals
from gateway.core.lease import TTL_S
from gateway.domain.errors import EndReason, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.ports import LOG_OFFS_MAX, NODE_TTL_S, Clock, Grant, KeptLogOff

LEASE: Final = Script("lease.lua")
REGISTRY: Final = Script("registry.lua")
COUNTER: Final = Script("counter.lua")
LOG_OFF: Final = Script("log_off.lua")
FLOOR_TTL_S: Final = 30 * 24 * 3600.0
TOKEN_MAX: Final = 2**53
"""Tokens are compared as doubles in Redis; microseconds since 1970 stay below until the year 2255."""
TRIES: Final = 5
"""How often a counter is tried that other nodes change at the same time; then this one is not counted."""
SKEW_MS: Final = 60_000
"""How far the clocks of nodes may differ before a counter is taken for an old one."""
COUNT_MAX: Final = 2**53
_SCANNED: Final = 2_000
"""Keys that one step of the scan looks at: each user has two of them beside the nodes'."""
_READ_AT_ONCE: Final = 500
"""Log-offs read by one command."""
_REASONS: Final = {reason.value.encode(): reason for reason in EndReason}


class RedisLeases:
    """See :class:`gateway.runtime.ports.Leases`.

    Args:
        client: Runs the script. What is asked in one turn of the loop leaves in one batch of its window.
        names: Names keys.
        clock: The only time.
        ttl_s: How long a lease lasts that is not renewed.
        renewed: Called with the seconds that each answered renewal took.
    """

    def __init__(
        self,
        client: RedisClient,
        names: KeyNames,
        clock: Clock,
        *,
        ttl_s: float = TTL_S,
        renewed: Callable[[float], None] | None = None,
    ) -> None:
        self.clock_offset_s: float | None = None
        """How far the wall clock of Redis is ahead of this node's, at the last reply; None before any."""
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
        asked_at = self._clock.now()
        answer = await self._ask("renew", user, node, holder, token)
        if self._renewed is not None:
            self._renewed(self._clock.now() - asked_at)
        return answer[-1] == 1

    async def renew_many(self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]) -> list[bool]:
        """See :meth:`gateway.runtime.ports.Leases.renew_many`."""
        names = [self._names.user(user) for user, _ in held]
        keys = tuple(key for name in names for key in (name.own, name.tok))
        tokens = [token for _, token in held]
        asked_at = self._clock.now()
        answer = await self._run(keys, "renew", node, holder, tokens[0], *self._ttls_ms, *tokens[1:])
        if len(answer) != 2 + len(held):
            raise bus_down(UNEXPECTED)
        if self._renewed is not None:
            self._renewed(self._clock.now() - asked_at)
        return [each == 1 for each in answer[2:]]

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """See :meth:`gateway.runtime.ports.Leases.release`."""
        await self._ask("release", user, "", holder, token)

    async def read(self, user: UserId) -> Grant | None:
        """See :meth:`gateway.runtime.ports.Leases.read`."""
        match await self._client.answer("HMGET", self._names.user(user).own, "node", "holder", "token"):
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
                # read at some moment between these two: the middle is the best estimate
                here_ms = (asked_ms + self._clock.wall_ms()) / 2
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
        client: Sends commands.
        names: Names keys.
        ttl_s: How long a record lasts that is not renewed.
    """

    def __init__(self, client: RedisClient, names: KeyNames, *, ttl_s: float = NODE_TTL_S) -> None:
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
        answers = await self._client.answers([("HGETALL", key) for key in await self._keys()])
        found = [_record(answer) for answer in answers]
        return tuple(sorted(record for record in found if record is not None))

    async def _keys(self) -> set[bytes]:
        keys: set[bytes] = set()
        cursor = b"0"
        while True:
            match await self._client.answer("SCAN", cursor, "MATCH", NODES, "COUNT", _SCANNED):
                case [bytes(cursor), list(found)]:
                    keys.update(found)
                case _:
                    raise bus_down(UNEXPECTED)
            if cursor == b"0":
                return keys


def _field(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _record(reply: Reply) -> NodeRecord | None:
    if not isinstance(reply, list):
        return None
    try:
        texts = [word.decode() for word in reply if isinstance(word, bytes)]
        fields: Mapping[str, str] = dict(zip(texts[::2], texts[1::2], strict=True))
        return msgspec.convert([fields[name] for name in NodeRecord._fields], NodeRecord, strict=False)
    except (UnicodeDecodeError, KeyError, ValueError):
        return None


class _Counter(NamedTuple):
    """A sealed counter. *until_ms*: the wall clock at which its first count expires."""

    failed: int
    until_ms: int


_COUNTER: Final = msgspec.msgpack.Decoder(_Counter)
_LOG_OFF: Final = msgspec.msgpack.Decoder(KeptLogOff)


class RedisStore:
    """See :class:`gateway.runtime.ports.SharedStore`.

    Invariant: a value that no node of this cluster sealed for that very key counts as missing.

    Args:
        client: Sends commands.
        names: Names keys.
        seals: Seals and opens values.
        clock: Dates counters.
    """

    def __init__(self, client: RedisClient, names: KeyNames, seals: Seals, clock: Clock) -> None:
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
            known = None if sealed is None else self._counter(key, sealed)
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
        sealed = await self._get(key)
        known = None if sealed is None else self._counter(key, sealed)
        return 0 if known is None else known.failed

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.forget`."""
        await self._client.answer("DEL", self._names.throttled(name))

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
                kept = self._log_off(key, sealed) if isinstance(sealed, bytes) else None
                found += [] if kept is None else [kept]
        return tuple(found)

    async def drop_log_off(self, handle: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.drop_log_off`."""
        member, key = self._names.log_off(handle)
        await self._client.answers([("DEL", key), ("ZREM", LOG_OFFS, member)])

    def _log_off(self, key: bytes, sealed: bytes) -> KeptLogOff | None:
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            return _LOG_OFF.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(DropReason.UNREADABLE)
            return None

    async def _get(self, key: bytes) -> bytes | None:
        match await self._client.answer("GET", key):
            case None:
                return None
            case bytes(sealed):
                return sealed
        raise bus_down(UNEXPECTED)

    def _counter(self, key: bytes, sealed: bytes) -> _Counter | None:
        """Return the sealed counter; None: it is out of date, or not of this cluster."""
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            known = _COUNTER.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(DropReason.UNREADABLE)
            return None
        return known if self._clock.wall_ms() < known.until_ms + SKEW_MS else None


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


COMMANDS: Final = RedisLimits()
SCRIPTS: Final = RedisLimits(deadline_s=1.0)
"""A second: renewals of thousands of users may be due at once, and leases last long enough for it."""
ENGINES: Final = {"redis": "Redis", "valkey": "Valkey"}
OLDEST: Final = {"Redis": (7, 2), "Valkey": (8, 0)}
"""The oldest version of each engine that the gateway works with."""
_SENTINELS_ASKED_S: Final = 1.0
_QUESTIONS: Final[tuple[tuple[Word, ...], ...]] = (
    ("HELLO",),
    ("TIME",),
    ("INFO", "persistence"),
    ("CONFIG", "GET", "save"),
    ("CONFIG", "GET", "appendonly"),
    ("CONFIG", "GET", "maxmemory-policy"),
    TRIAL_WRITE,
)


class RedisBackend:
    """A node's connections to one Redis, open while its block lasts, which is entered once.

    It starts without Redis as well and keeps trying; ports raise ``bus_down`` meanwhile. One connection
    each for publishing, for receiving, for scripts and for commands: none waits for another.

    Args:
        url: See :mod:`gateway.bus.connect`.
        keys: The cluster's secrets.
        clock: The only time.
        jitter: Draws from [0, 1).
        draw: Draws that many unpredictable bytes.
        ttl: How long things last; the defaults when None.
        renewed: Called with the seconds that each renewal of a lease took.
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
        ttl: Lifetimes | None = None,
        renewed: Callable[[float], None] | None = None,
        connections: type[Connection] = Connection,
    ) -> None:
        lasts = ttl or Lifetimes()
        names = KeyNames(keys.pseudonym)
        self.seals: Final = Seals(keys.sealing, draw)
        refusals = Refusals(clock, lasts.refusal_s)
        self._connector = Connector(parse_url(url), clock, connections=connections, refusals=refusals)
        self._trial_s = lasts.trial_s
        self._clock = clock
        self._scripts = RedisClient(self._connector, clock, jitter, SCRIPTS, first=lambda: (LEASE.load,))
        self._commands = RedisClient(self._connector, clock, jitter, COMMANDS)
        self.bus: Final = RedisBus(self._connector, names, self.seals, clock, jitter, draw)
        self.leases: Final = RedisLeases(self._scripts, names, clock, ttl_s=lasts.lease_s, renewed=renewed)
        self.registry: Final = RedisNodeRegistry(self._commands, names, ttl_s=lasts.node_s)
        self.shared: Final = RedisStore(self._commands, names, self.seals, clock)
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    @property
    def clients(self) -> dict[str, RedisClient]:
        """The connections by their use."""
        return {
            "publishing": self.bus.publisher,
            "subscribing": self.bus.subscriber.client,
            "scripts": self._scripts,
            "commands": self._commands,
        }

    @property
    def trouble(self) -> str | None:
        """Why one of the connections is down, without text of the server; None: all are up."""
        return next((each.trouble for each in self.clients.values() if each.trouble is not None), None)

    def refusals(self) -> frozenset[str]:
        """Return what the server refuses now, see :class:`gateway.bus.connect.Refusals`."""
        return self._connector.refusals.present

    async def __aenter__(self) -> Self:
        """Start to connect; does not wait for it."""
        tasks = await self._tasks.__aenter__()
        runs = [self.bus.run(), self._scripts.run(), self._commands.run(), self._try_writes()]
        if self._connector.has_sentinels:
            runs.append(self._follow_sentinels())
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
                await self._commands.answer(*TRIAL_WRITE)
                self._connector.refusals.clear()
            await self._clock.sleep(self._trial_s)

    async def _follow_sentinels(self) -> None:
        """Leave a former primary that still answers, as in a split network."""
        while True:
            await self._clock.sleep(_SENTINELS_ASKED_S)
            try:
                primary = await self._connector.primary()
            except RedisUnreachable:
                continue
            for client in self.clients.values():
                client.leave_unless(primary)


# ---- the check of a server ----


class ServerFacts(NamedTuple):
    """What a server reports of itself; None where its ACL does not let this user ask."""

    endpoint: Endpoint
    engine: str | None
    version: tuple[int, ...]
    persists: bool | None
    """Whether it writes its data to a disk."""
    evicts: bool | None
    """Whether it evicts keys when it is full, instead of refusing writes."""
    clock_offset_s: float | None
    """How far its wall clock is ahead of this machine's."""
    write_refusal: str | None = None
    """The word with which it refuses writes; None: it accepts them."""

    @property
    def is_too_old(self) -> bool:
        """Whether it is known to be older than :data:`OLDEST`."""
        return self.engine is not None and self.version < OLDEST.get(self.engine, ())


async def inspect(address: Address, clock: Clock) -> ServerFacts:
    """Ask the server at *address* for its version and settings, on one connection; bounded in time.

    Raises:
        RedisUnreachable: It cannot be used. Its text says why.
    """
    try:
        connector = Connector(address, clock, "oscc-gateway-survey")
    except OSError as error:
        raise RedisUnreachable(f"the file of trusted certificates cannot be read: {error.strerror}") from None
    asked_ms = clock.wall_ms()
    connection, endpoint, replies = await connector.open(_QUESTIONS)
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
