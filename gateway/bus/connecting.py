"""What does a node need of one Redis, all of it together?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from gateway.bus.address import parse
from gateway.bus.cable import Cable
from gateway.bus.door import Door, Unreachable
from gateway.bus.leases import LEASE, RedisLeases
from gateway.bus.line import Line, Pace
from gateway.bus.names import TRIAL_WRITE, Names
from gateway.bus.redis import RedisBus
from gateway.bus.refusals import LASTS_S, Refusals
from gateway.bus.roll import RedisRoll
from gateway.bus.sealing import Seals
from gateway.bus.shelf import RedisShelf
from gateway.core.lease import TTL_S
from gateway.domain.errors import GatewayError
from gateway.runtime.ports import NODE_TTL_S, Clock

COMMANDS: Final = Pace()
SCRIPTS: Final = Pace(deadline_s=1.0)
"""A second: renewals of thousands of users may be due at once, and leases last long enough for it."""
_SENTINELS_ASKED_S: Final = 1.0


class BusKeys(NamedTuple):
    """The cluster's secrets, as far as the bus needs them: 32 bytes each."""

    sealing: Sequence[tuple[str, bytes]]
    """(id, secret). The first seals, all open."""
    pseudonym: bytes

    def __repr__(self) -> str:
        return "BusKeys(…)"


class Lifetimes(NamedTuple):
    """How many seconds things last.

    Attributes:
        lease_s: A lease that is not renewed.
        node_s: A node's record, likewise.
        refusal_s: What the server refused, at least.
        trial_s: From one trial whether it takes writes to the next; less than *refusal_s*.
    """

    lease_s: float = TTL_S
    node_s: float = NODE_TTL_S
    refusal_s: float = LASTS_S
    trial_s: float = 3.0


class RedisSite:
    """A node's doors to one Redis, open while its block lasts, which is entered once.

    It begins without Redis as well and keeps trying; ports tell ``bus_down`` meanwhile. One connection
    each for publishing, for hearing, for scripts and for commands: none waits for another.

    Args:
        url: See :mod:`gateway.bus.address`.
        keys: The cluster's secrets.
        clock: The only time.
        jitter: Draws from [0, 1).
        draw: Draws that many unpredictable bytes.
        ttl: How long things last; as the defaults say when None.
        renewed: Told how many seconds each renewal of a lease took.
        cables: What is dialled without TLS.

    Raises:
        ValueError: The URL is none, or a key has the wrong length.
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
        cables: type[Cable] = Cable,
    ) -> None:
        lasts = ttl or Lifetimes()
        names = Names(keys.pseudonym)
        self.seals: Final = Seals(keys.sealing, draw)
        refusals = Refusals(clock, lasts.refusal_s)
        self._door = Door(parse(url), clock, cables=cables, refusals=refusals)
        self._trial_s = lasts.trial_s
        self._clock = clock
        self._scripts = Line(self._door, clock, jitter, SCRIPTS, greetings=lambda: (LEASE.greeting,))
        self._commands = Line(self._door, clock, jitter, COMMANDS)
        self.bus: Final = RedisBus(self._door, names, self.seals, clock, jitter, draw)
        self.leases: Final = RedisLeases(self._scripts, names, clock, ttl_s=lasts.lease_s, renewed=renewed)
        self.roll: Final = RedisRoll(self._commands, names, ttl_s=lasts.node_s)
        self.shelf: Final = RedisShelf(self._commands, names, self.seals, clock)
        self._tasks = asyncio.TaskGroup()
        self._kept: list[asyncio.Task[None]] = []

    @property
    def lines(self) -> dict[str, Line]:
        """The connections by what they are for."""
        return {
            "publishing": self.bus.mouth,
            "listening": self.bus.ears.line,
            "scripts": self._scripts,
            "commands": self._commands,
        }

    @property
    def trouble(self) -> str | None:
        """Why one of the connections is not there, in words that hold nothing of anybody; None: all are."""
        return next((line.trouble for line in self.lines.values() if line.trouble is not None), None)

    def refusals(self) -> frozenset[str]:
        """Return what the server refuses now, see :class:`gateway.bus.refusals.Refusals`."""
        return self._door.refusals.present

    async def __aenter__(self) -> Self:
        """Begin to connect; does not wait for it."""
        tasks = await self._tasks.__aenter__()
        runs = [self.bus.run(), self._scripts.run(), self._commands.run(), self._try_writes()]
        if self._door.moves:
            runs.append(self._follow_sentinels())
        self._kept = [tasks.create_task(run) for run in runs]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        for task in self._kept:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:  # what went wrong in the block goes its way as it is
            await self._tasks.__aexit__(None, None, None)

    def __repr__(self) -> str:
        return f"RedisSite({self.trouble or 'connected'})"

    async def _try_writes(self) -> None:
        """Write now and then: a server may take no writes while it carries messages as ever."""
        while True:
            with suppress(GatewayError):  # without an answer; a refusal is noted by the line
                await self._commands.answer(*TRIAL_WRITE)
                self._door.refusals.over()
            await self._clock.sleep(self._trial_s)

    async def _follow_sentinels(self) -> None:
        """Leave a server that is not primary any more, though it still answers: a network may be split."""
        while True:
            await self._clock.sleep(_SENTINELS_ASKED_S)
            try:
                place = await self._door.primary()
            except Unreachable:
                continue
            for line in self.lines.values():
                line.leave_unless(place)
