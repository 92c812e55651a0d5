"""A node's connections to one Redis as the ports of the runtime, and a check of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from redis.asyncio import Connection
from redis.exceptions import RedisError

from gateway.bus.connect import Address, Connector, Endpoint, RedisUnreachable, Reply, Word, code, parse_url
from gateway.bus.keys import TRIAL_WRITE, BusKeys, KeyNames, Lifetimes, Refusals
from gateway.bus.pubsub import RedisBus
from gateway.bus.redis import RedisClient, RedisLimits
from gateway.bus.sealing import Seals
from gateway.bus.stores import LEASE, RedisLeases, RedisNodeRegistry, RedisStore
from gateway.domain.errors import GatewayError
from gateway.runtime.ports import Clock

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
        """Return what the server refuses now, see :class:`gateway.bus.keys.Refusals`."""
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
