"""Price of HTTP requests: so many a second of one session, or of one address without a session.

A request beyond the rate waits for its turn for up to :data:`PATIENCE_S`; one that would have to wait
longer is refused, after as long a wait: what waits holds its connection, and a connection asks one thing
at a time, so whoever asks too much is slowed down to what the connections of one address allow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Final, Generic, TypeVar

from aiohttp import hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.bearer import Bearer
from gateway.edge.limits import caller_of
from gateway.edge.problems import Handler
from gateway.edge.settings import DoorLimits
from gateway.edge.visitors import Visitors
from gateway.runtime.ports import Clock

K = TypeVar("K", bound=Hashable)

PATIENCE_S: Final = 1.0
"""How long a request waits at most, whether it is served or refused then."""
EXPORT_PRICE: Final = 20
"""An export counts as so many requests: it is made of thousands of records."""
ASKING_PRICE: Final = 10
"""A list of sessions, or the end of another one, counts as so many: the OSCC-E Server is asked each time."""
_PRICES: Final = {("GET", "/v1/me/export"): EXPORT_PRICE, ("GET", "/v1/sessions"): ASKING_PRICE}
_HAS_ITS_OWN: Final = frozenset({("GET", "/v1/realtime"), ("POST", "/v1/sessions")})
"""Handshakes and log-ons: see :mod:`gateway.edge.limits`."""
_LOOKED_AT: Final = 16


class Paces(Generic[K]):
    """The rate of each of many keys, with a burst. A key without a past costs nothing.

    Invariant: what is admitted of one key in any t seconds is at most ``burst + rate * (t + PATIENCE_S)``.
    Bounded: beyond *keys_max* one that has its whole burst again goes, or else the one used longest ago.

    Args:
        per_s: How much of one key is admitted a second.
        burst: How much at once.
        keys_max: How many are remembered.
    """

    def __init__(self, per_s: float, burst: float, *, keys_max: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._keys_max = keys_max
        self._full_at: OrderedDict[K, float] = OrderedDict()
        """When each key has its whole burst again."""

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, key: K, now: float, price: float) -> float:
        """Return how long *price* of *key* has to wait; up to :data:`PATIENCE_S` it is admitted by that."""
        after = max(self._full_at.get(key, now), now) + price / self._per_s
        wait_s = max(0.0, after - now - self._burst / self._per_s)
        if wait_s <= PATIENCE_S:
            if key not in self._full_at:
                self._make_room(now)
            self._full_at[key] = after
            self._full_at.move_to_end(key)
        return wait_s

    def _make_room(self, now: float) -> None:
        if len(self._full_at) >= self._keys_max:
            oldest = list(islice(self._full_at.items(), _LOOKED_AT))
            gone = next((key for key, full_at in oldest if full_at <= now), oldest[0][0])
            del self._full_at[gone]


class RequestRates:
    """Lets every request pay before it is served, and others have their turn in between.

    Args:
        limits: How much of one session or address is served.
        bearer: Opens tokens.
        visitors: Reads from where a request comes.
        clock: The only time.
    """

    def __init__(self, limits: DoorLimits, bearer: Bearer, visitors: Visitors, clock: Clock) -> None:
        self._of_session: Paces[Hashable] = Paces(
            limits.requests_per_s_of_session, limits.requests_burst_of_session, keys_max=limits.addresses
        )
        self._of_address: Paces[Hashable] = Paces(
            limits.requests_per_s_of_address, limits.requests_burst_of_address, keys_max=limits.addresses
        )
        self._bearer = bearer
        self._visitors = visitors
        self._clock = clock

    def __len__(self) -> int:
        return len(self._of_session) + len(self._of_address)

    @web.middleware
    async def paid(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve *request* when it is its turn: one of a connection in a turn of the loop.

        Raises:
            GatewayError: ``rate_limited``.
        """
        await self._clock.sleep(0)
        if (request.method, request.path) not in _HAS_ITS_OWN:
            await self._pay(request)
        return await handler(request)

    async def _pay(self, request: web.Request) -> None:
        session = self._bearer.session_of(request.headers.getall(hdrs.AUTHORIZATION, []))
        paces = self._of_address if session is None else self._of_session
        key = caller_of(self._visitors.address(request), None) if session is None else session
        wait_s = paces.wait_s(key, self._clock.now(), _price(request))
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, PATIENCE_S))
        if wait_s > PATIENCE_S:
            whose = "from this address" if session is None else "of this session"
            raise GatewayError(
                ErrorCode.RATE_LIMITED, f"Too many requests come {whose}.", retry_after_s=wait_s - PATIENCE_S
            )


def _price(request: web.Request) -> int:
    if request.method == hdrs.METH_DELETE and request.path.startswith("/v1/sessions/"):
        return ASKING_PRICE
    return _PRICES.get((request.method, request.path), 1)
