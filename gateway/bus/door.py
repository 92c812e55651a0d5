"""How is a connection opened to the Redis that counts now, and how does one get in?"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import hiredis

from gateway.bus.address import Address, Papers, Place
from gateway.bus.wire import Ask, Reply, Wire, Word, pack
from gateway.domain.errors import GatewayError
from gateway.runtime.ports import Clock

OPEN_S: Final = 2.0
"""Within this a connection is there, let in and greeted, or is given up."""
_SENTINEL_S: Final = 0.5
"""A sentinel that says nothing for so long has no vote."""

Dial = Callable[[Wire, Place, ssl.SSLContext | None], Awaitable[None]]


class Unreachable(Exception):  # noqa: N818 - says how things are, not that somebody erred
    """There is no connection. Its text says why, in words that hold nothing of anybody."""


class Greeted(NamedTuple):
    """Where a new connection leads, and what was answered to the caller's greetings."""

    place: Place
    replies: Sequence[Reply]


async def dial(wire: Wire, place: Place, tls: ssl.SSLContext | None) -> None:
    """Connect *wire* to a listener."""
    loop = asyncio.get_running_loop()
    name = place.host if tls is not None else None
    transport, _ = await loop.create_connection(
        lambda: wire, place.host, place.port, ssl=tls, server_hostname=name
    )
    door = transport.get_extra_info("socket")
    if door is not None:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Door:
    """Opens connections to one site's Redis.

    Args:
        address: Where it is.
        clock: The only time.
        name: What the connections are called in the server's list of clients.
        dial: How a connection is made.

    Raises:
        OSError: The file of trusted certificates cannot be read.
    """

    def __init__(self, address: Address, clock: Clock, name: str = "oscc-gateway", dial: Dial = dial) -> None:
        self._address = address
        self._clock = clock
        self._name = name
        self._dial = dial
        self._tls = ssl.create_default_context(cafile=address.ca_file) if address.tls else None

    @property
    def moves(self) -> bool:
        """Whether :meth:`primary` may tell another place next time."""
        return self._address.service is not None

    async def open(self, wire: Wire, greetings: Sequence[Sequence[Word]] = ()) -> Greeted:
        """Connect *wire* to the server, get in, and send *greetings*.

        Raises:
            Unreachable: It did not come about; *wire* is lost.
        """
        try:
            async with self._clock.timeout(OPEN_S):
                place = await self.primary()
                await self._dial(wire, place, self._tls)
                replies = await self._enter(wire, greetings)
        except Unreachable as error:
            wire.drop(str(error))
            raise
        except (OSError, GatewayError, UnicodeError) as error:
            why = wire.why if wire.lost.is_set() else _why(error)
            wire.drop(why)
            raise Unreachable(why) from None
        except asyncio.CancelledError:
            wire.drop("given up")
            raise
        return Greeted(place, replies)

    async def primary(self) -> Place:
        """Return the server: the one of the address, or the one for which most sentinels are.

        All sentinels are asked each time: one that is cut off may still speak for the past.

        Raises:
            Unreachable: No sentinel knows.
        """
        if self._address.service is None:
            return self._address.places[0]
        votes: Counter[Place] = Counter()
        async with asyncio.TaskGroup() as tasks:
            for sentinel in self._address.places:
                tasks.create_task(self._poll(sentinel, self._address.service, votes))
        if not votes:
            raise Unreachable("no sentinel knows the primary")
        return votes.most_common(1)[0][0]

    async def _poll(self, sentinel: Place, service: str, votes: Counter[Place]) -> None:
        wire = Wire()
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        try:
            async with self._clock.timeout(_SENTINEL_S):
                await self._dial(wire, sentinel, self._tls)
                *_, answer = await self._ask(wire, [*_papers_shown(self._address.sentinel_papers), question])
        except (OSError, GatewayError, UnicodeError):
            return
        finally:
            wire.drop("all was said")
        match answer:
            case [bytes(host), bytes(port)] if port.isdigit():
                votes[Place(host.decode(errors="replace"), int(port))] += 1

    async def _enter(self, wire: Wire, greetings: Sequence[Sequence[Word]]) -> Sequence[Reply]:
        must: list[Sequence[Word]] = [*_papers_shown(self._address.papers)]
        if self._address.db:
            must.append(("SELECT", self._address.db))
        must.append(("PING",))
        replies = await self._ask(wire, [*must, ("ROLE",), ("CLIENT", "SETNAME", self._name), *greetings])
        for words, reply in zip(must, replies, strict=False):
            if isinstance(reply, hiredis.ReplyError):
                raise Unreachable(f"it refused {words[0]!s}: {code(reply)}")
        match replies[len(must)]:
            case [b"slave", *_]:
                raise Unreachable("it is a replica")
        return replies[len(must) + 2 :]

    async def _ask(self, wire: Wire, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        loop, now = asyncio.get_running_loop(), self._clock.now()
        asks = [Ask(pack(*words), loop.create_future(), now) for words in commands]
        wire.send(asks)
        try:
            return [await ask.answer for ask in asks]
        finally:
            for ask in asks:  # those behind the first that failed: nobody waits for them any more
                if ask.answer.done() and not ask.answer.cancelled():
                    ask.answer.exception()
                ask.answer.cancel()


def code(error: hiredis.ReplyError) -> str:
    """Return the first word of what Redis says, as ``NOAUTH``. The rest may quote what was sent."""
    return str(error).partition(" ")[0]


def _papers_shown(papers: Papers) -> list[Sequence[Word]]:
    if papers.password is None:
        return []
    return [("AUTH", papers.password) if papers.user is None else ("AUTH", papers.user, papers.password)]


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason}"
        case _:
            return "nobody listens there" if isinstance(error, ConnectionRefusedError) else "no way there"
