"""How many connections may wait at a door without having asked for anything?

A connection costs a descriptor before the first byte of a request, and of its handshake of TLS, so it is
counted when it is accepted. Whoever sends nothing, or a header or body drop by drop ("Slowloris"), is let go
after a time; and there are never more of them than the door bears. WebSockets are counted elsewhere: a
connection that was upgraded has left.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

from aiohttp import web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.addresses import Networks, is_trusted, neighbourhood, parse_address
from gateway.edge.limits import Neighbourhood
from gateway.runtime.ports import Clock

HEAD_S: Final = 20.0
"""Within this time the head of a request is there, the first one or the next; else the connection ends."""
BODY_S: Final = 10.0
"""Within this time a body of at most 16 KiB is there."""
BURSTS: Final = 2
"""So many times the handshakes that may come at once may wait, of all and of one address: each stays for as
long as its handshake takes, and some come to ask for something else."""


class Line(Protocol):
    """What carries a caller's connection: a transport, or what was accepted and has none yet."""

    def get_extra_info(self, name: str) -> object:
        """Return the address of the peer for a ``peername``."""
        ...

    def abort(self) -> None:
        """End the connection now."""
        ...


class Callers:
    """The connections of one listener that are not WebSockets.

    Invariants: there are at most *most* of them, and of one address, or one IPv6 subscriber, at most
    *most_of_address*, unless a trusted proxy has it. Of one address the newcomer is refused; when all are too
    many, who waits longest goes: an honest caller is done long before.
    """

    def __init__(self, most: int, most_of_address: int, trusted: Networks = ()) -> None:
        self.dropped = 0
        """How many had to go since the listener opened."""
        self._most = most
        self._most_of_address = most_of_address
        self._trusted = trusted
        self._there: dict[object, tuple[Neighbourhood | None, Line]] = {}
        self._of: Counter[Neighbourhood] = Counter()

    def __len__(self) -> int:
        return len(self._there)

    def came(self, caller: object, line: Line) -> None:
        """Let *caller* in, or send him or another one away; one who is in has another *line* from now on."""
        known = self._there.get(caller)
        if known is not None:
            self._there[caller] = (known[0], line)
            return
        where = self._where(line)
        self._there[caller] = (where, line)
        if where is not None:
            self._of[where] += 1
            if self._of[where] > self._most_of_address:
                self._drop(caller)
                return
        if len(self._there) > self._most:
            self._drop(next(iter(self._there)))

    def left(self, caller: object) -> None:
        """Note that *caller* has gone, or has become a WebSocket."""
        where, _ = self._there.pop(caller, (None, None))
        if where is not None:
            self._of[where] -= 1
            if not self._of[where]:
                del self._of[where]

    def make_way(self) -> None:
        """Send away who waits longest: a newcomer could not be let in."""
        self.dropped += 1
        if self._there:
            self._drop(next(iter(self._there)))

    def _drop(self, caller: object) -> None:
        line = self._there[caller][1]
        self.left(caller)
        self.dropped += 1
        line.abort()

    def _where(self, line: Line) -> Neighbourhood | None:
        peer = line.get_extra_info("peername")
        address = parse_address(str(peer[0])) if isinstance(peer, tuple) else None
        if address is None or is_trusted(address, self._trusted):
            return None
        return neighbourhood(address)


WAITING: Final = web.AppKey("callers", Callers)
"""Where an application says how many may wait at its door."""


async def body_of(request: web.Request, clock: Clock) -> bytes:
    """Return the body of *request*.

    Raises:
        GatewayError: ``bad_request``: it did not come in time.
    """
    try:
        async with clock.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise GatewayError(ErrorCode.BAD_REQUEST, "The body did not come in time.") from None
