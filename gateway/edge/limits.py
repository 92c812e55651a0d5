"""Limits of connections, handshakes, log-ons and HTTP requests.

Each limit exists once for the node and once per caller: the user whose token opens, or else the address, as
many people may share one. A refusal happens before an upgrade and contains the time of the next attempt when
it is known.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Hashable
from ipaddress import IPv6Network
from typing import Final, Protocol

from aiohttp import hdrs, web

from gateway.core.rate_limits import KeyedRates, TokenBucket
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import UserId
from gateway.edge.credentials import BearerAuth
from gateway.edge.request_context import (
    AdmissionLimits,
    Handler,
    IPAddress,
    Networks,
    RequestContext,
    address_group,
    is_trusted,
    parse_address,
)
from gateway.runtime.ports import Clock

_RETRY_MAX_S: Final = 60.0
_LOG: Final = logging.getLogger(__name__)

AddressGroup = IPAddress | IPv6Network


Caller = AddressGroup | UserId
"""The user or address whose sockets and handshakes are limited together."""


def caller_of(address: IPAddress, user: UserId | None) -> Caller:
    """Return the caller of a request: the *user* whose token opens, or else the *address*."""
    return address_group(address) if user is None else user


class SocketSlot:
    """Slot of one counted socket. It is released once.

    Each socket without a `hello` has a slot of its own; all that wait for their session share one, and so do
    all that are served.

    *caller* None: a shared slot.
    """

    __slots__ = ("_admission", "_caller", "_close_socket", "_is_evicted")

    def __init__(self, admission: SocketAdmission, caller: Caller | None) -> None:
        self._admission = admission
        self._caller = caller
        self._close_socket: Callable[[], None] | None = None
        self._is_evicted = False

    def on_evicted(self, drop: Callable[[], None]) -> None:
        """Call *drop*, which closes the socket, when a newer socket takes the slot."""
        if self._is_evicted:
            drop()
        else:
            self._close_socket = drop

    def evict(self) -> None:
        """Close its socket for a newer one of the same caller. It still releases the slot."""
        drop, self._is_evicted = self._close_socket, True
        self._forget()
        if drop is not None:
            drop()

    def hello_accepted(self, *, is_user_present: bool = False) -> SocketSlot:
        """Count a `hello` whose token opens. Return the slot of the socket until :meth:`served`.

        *is_user_present*: the node has its user already, and so counts the user's link.

        Raises:
            SessionRefused: ``over_capacity``: no descriptor is left for a link of the user.
        """
        if self._caller is None:
            return self
        if not is_user_present:
            self._admission.check_link()
        self._forget()
        return self._admission.opened(is_user_present=is_user_present)

    def served(self) -> SocketSlot:
        """Count a socket that has its session. Return its slot from now on."""
        return self._admission.served(self)

    def release(self) -> None:
        """Release the slot."""
        self._forget()
        self._admission.release(self)

    def _forget(self) -> None:
        caller, self._caller, self._close_socket = self._caller, None, None
        if caller is not None:
            self._admission.forget(caller, self)


FREE_AGAIN: Final = 0.99
"""Descriptors are no longer short when a phone is accepted with this part of them: a full node accepts one
each time that another has left.
"""
LAGGING_S: Final = 0.5
"""Mean delay of the event loop above which phones are admitted only as fast as others are served."""
OPENING_S: Final = 3.0
"""Then as many phones may wait for their session at a time as were served within this time."""
OPENING_MIN: Final = 8
"""Number of phones that may wait in any case."""
_LAG_WEIGHT: Final = 0.3
"""Weight of the last interval in the means of delay and of served phones."""


class _Retries:
    """Appointments of the phones that were refused for one reason: they come again one after the other.

    More phones than can come within a minute share its second half evenly: else all would come at its end.
    """

    def __init__(self) -> None:
        self._at = 0.0
        """The latest appointment."""

    def next_s(self, now: float, per_s: float) -> float:
        """Return the seconds until the next try, of which *per_s* are to come per second."""
        self._at = max(self._at, now) + 1 / per_s
        if self._at > now + _RETRY_MAX_S:
            self._at = now + _RETRY_MAX_S / 2
        return self._at - now


class SocketAdmission:
    """Admission of sockets, handshakes and log-ons.

    Invariant: *sockets* counts the slots in use, *unhelloed* those of them whose socket has not sent a
    `hello` with a valid token, and *opening* those with a `hello` that wait for their session.

    A node that does not get its core refuses phones beyond the few that it is serving, each with the time at
    which it will have served those before. Otherwise all would wait in it, give up, and come again.

    *files* returns how many descriptors phones may have: those that the process may open, without its own and
    without those of the links that present users may need.
    """

    def __init__(self, limits: AdmissionLimits, files: Callable[[], float] = lambda: math.inf) -> None:
        self.sockets = 0
        self.unhelloed = 0
        self.opening = 0
        """Sockets that have sent a `hello` and wait for their session."""
        self._arriving = 0
        """Those of them whose users were not present: each may need a descriptor for a link."""
        self.opening_slot: Final = SocketSlot(self, None)
        """The slot of all sockets that wait for their session, of users who were present."""
        self.arriving_slot: Final = SocketSlot(self, None)
        """The slot of all that wait, of users who were not."""
        self.served_slot: Final = SocketSlot(self, None)
        """The slot of all sockets with a session."""
        self._silent: dict[Caller, dict[SocketSlot, None]] = {}
        """Slots of sockets without a `hello`, by caller, the oldest first."""
        self._limits, self._files = limits, files
        self._is_short = False
        """Whether phones are refused for want of descriptors, which was logged."""
        self._rate = TokenBucket(limits.handshakes_per_s, limits.handshakes_burst)
        self._rate_of: KeyedRates[Caller] = KeyedRates(
            limits.handshakes_per_s_of_address,
            limits.handshakes_burst_of_address,
            keys_max=limits.addresses,
        )
        self._retries, self._retries_when_late = _Retries(), _Retries()
        self._lag_s = 0.0
        self._lagged_at = 0.0
        self._served = 0
        self._served_per_s = 0.0

    def opened(self, *, is_user_present: bool) -> SocketSlot:
        """Count a phone that waits for its session; return its slot."""
        self.opening += 1
        if is_user_present:
            return self.opening_slot
        self._arriving += 1
        return self.arriving_slot

    def served(self, slot: SocketSlot) -> SocketSlot:
        """Count the phone in *slot* that has its session, if it waited; return its slot from now on."""
        if not self._end_wait(slot):
            return slot
        self._served += 1
        return self.served_slot

    def release(self, slot: SocketSlot) -> None:
        """Remove the socket in *slot*."""
        self.sockets -= 1
        self._end_wait(slot)

    def _end_wait(self, slot: SocketSlot) -> bool:
        """Count a phone in *slot* no longer as waiting; return whether it waited."""
        is_arriving = slot is self.arriving_slot
        is_opening = is_arriving or slot is self.opening_slot
        self.opening -= is_opening
        self._arriving -= is_arriving
        return is_opening

    def lagged(self, lag_s: float, now: float) -> None:
        """Record by how much the event loop was late at *now*; called twice a second."""
        served_per_s = self._served / max(now - self._lagged_at, 0.001)
        self._lagged_at, self._served = now, 0
        self._lag_s += _LAG_WEIGHT * (lag_s - self._lag_s)
        self._served_per_s += _LAG_WEIGHT * (served_per_s - self._served_per_s)

    def check_pace(self, now: float) -> None:
        """Refuse a handshake while this node is late and enough phones wait for their session.

        Sockets without a `hello` of one caller count as half of these at most: alone they keep nobody out.

        Raises:
            GatewayError: ``over_capacity``.
        """
        if self._lag_s < LAGGING_S:
            return
        most = max(OPENING_MIN, OPENING_S * self._served_per_s)
        silent = sum(min(len(slots), most / 2) for slots in self._silent.values())
        if silent + self.opening >= most:
            raise GatewayError(
                ErrorCode.OVER_CAPACITY,
                "This node is busy. Try again after the given time.",
                retry_after_s=self._retries_when_late.next_s(now, max(1.0, self._served_per_s)),
            )

    @property
    def remembered(self) -> int:
        """Number of addresses with a stored rate."""
        return len(self._rate_of)

    def check_handshake(self, address: IPAddress, now: float, user: UserId | None = None) -> None:
        """Count a handshake, see :meth:`check_rate`; the node also refuses it by :meth:`check_pace`.

        The caller's own limit is the first, so that one that floods does not change the times of others.

        Raises:
            GatewayError: ``rate_limited`` for the caller, ``over_capacity`` for the node.
        """
        self._check_caller(address, now, user)
        self.check_pace(now)
        self._check_node(now)

    def check_rate(self, address: IPAddress, now: float, user: UserId | None = None) -> None:
        """Count a handshake or log-on of the *user* whose token opens, or else of the *address*.

        Raises:
            GatewayError: ``rate_limited`` for the caller, ``over_capacity`` for the node.
        """
        self._check_caller(address, now, user)
        self._check_node(now)

    def _check_caller(self, address: IPAddress, now: float, user: UserId | None) -> None:
        caller = caller_of(address, user)
        if self._rate_of.take(caller, now) > 0:
            wait_s = self._rate_of.appointment_s(caller, now, _RETRY_MAX_S)
            what = "of this user" if user is not None else "from this address"
            raise GatewayError(
                ErrorCode.RATE_LIMITED, f"Too many requests come {what}.", retry_after_s=wait_s
            )

    def _check_node(self, now: float) -> None:
        if not self._rate.take(now):
            raise GatewayError(
                ErrorCode.OVER_CAPACITY,
                "Too many connections at once. Try again after the given time.",
                retry_after_s=self._retries.next_s(now, self._limits.handshakes_per_s),
            )

    @property
    def is_full(self) -> bool:
        """Whether the node accepts no further phone."""
        return self.sockets >= self._limits.connections or self._lacks_files()

    def _lacks_files(self, part: float = 1.0) -> bool:
        """Return whether a further phone and its user's link might find no descriptor in this part of them.

        Users who were not present at the `hello` are counted twice from when they are, until their phone has
        its session. Sockets without a `hello` count as phones only: when many phones come back at once, their
        users are present. :meth:`check_link` refuses the others.
        """
        return self.sockets + self._arriving + 2 > part * self._files()

    def check_link(self) -> None:
        """Refuse a `hello` whose user is not present and could get no link.

        Raises:
            SessionRefused: ``over_capacity``.
        """
        if self.sockets + self._arriving + 1 > self._files():
            self._log_shortage()
            raise SessionRefused(CloseCode.OVER_CAPACITY, CloseCode.OVER_CAPACITY.name.lower())

    def _log_shortage(self) -> None:
        """Log that descriptors are short, once until some more are free."""
        if not self._is_short:
            self._is_short = True
            _LOG.warning("file_limit_reached", extra={"connections": self.sockets})

    def open_slot(self, address: IPAddress, user: UserId | None = None) -> SocketSlot:
        """Return a slot for a socket of the *user* whose token opens, or else of the *address*.

        When the caller has too many sockets without a `hello`, the oldest of them is closed.

        Raises:
            GatewayError: ``over_capacity``: the node is full.
        """
        caller, limits = caller_of(address, user), self._limits
        silent = self._silent.get(caller, {})
        is_crowded = len(silent) >= limits.unhelloed_per_address
        if self.is_full or (self.unhelloed >= limits.unhelloed and not is_crowded):
            if self.sockets < limits.connections and self._lacks_files():
                self._log_shortage()
            raise GatewayError(
                ErrorCode.OVER_CAPACITY, "This node is full. Try another one, or try again later."
            )
        if is_crowded:
            next(iter(silent)).evict()
        self._is_short = self._is_short and self._lacks_files(FREE_AGAIN)
        self.sockets += 1
        self.unhelloed += 1
        slot = SocketSlot(self, caller)
        self._silent.setdefault(caller, {})[slot] = None
        return slot

    def prune(self, now: float) -> None:
        """Remove callers whose handshakes and log-ons no longer count."""
        self._rate_of.prune(now)

    def forget(self, caller: Caller, slot: SocketSlot) -> None:
        """Remove a slot of *caller* from those without a `hello`."""
        self.unhelloed -= 1
        silent = self._silent[caller]
        del silent[slot]
        if not silent:
            del self._silent[caller]


HEAD_S: Final = 20.0
"""Time limit for the head of a request, the first one or the next. After it the connection ends."""
BURSTS: Final = 2
"""Limit of pending connections, as a multiple of the burst of handshakes, for all and for one address. Each
stays as long as its handshake takes, and some send other requests.
"""


class PendingTransport(Protocol):
    """Carrier of a connection: its transport, or an accepted socket that has none yet."""

    def get_extra_info(self, name: str) -> object:
        """Return the address of the peer for a ``peername``."""

    def abort(self) -> None:
        """End the connection now."""


class PendingConnections:
    """Connections of one listener that are not WebSockets.

    A connection costs a descriptor before the first byte of a request, so it is counted before any other
    limit. An upgraded connection has left.

    A connection is silent until the head of its first request is complete.

    Invariants: there are at most *most* of them, and of one address, or one IPv6 subscriber, at most
    *most_of_address*, unless it is a trusted proxy. Beyond the limit of an address its oldest silent
    connection is closed; when no other one is silent, the new one is closed. Beyond the limit of all the
    oldest is closed: a client that behaves is done long before. One address does no more TLS handshakes,
    which cost a millisecond of CPU each, than *handshakes* allows.
    """

    def __init__(
        self,
        most: int,
        most_of_address: int,
        trusted: Networks = (),
        handshakes: KeyedRates[AddressGroup] | None = None,
    ) -> None:
        self.dropped = 0
        """Connections closed by these limits since the listener opened."""
        self._most = most
        self._most_of_address = most_of_address
        self._trusted = trusted
        self._handshakes = handshakes
        self._open: dict[object, tuple[AddressGroup | None, PendingTransport]] = {}
        self._of: Counter[AddressGroup] = Counter()
        self._silent: dict[AddressGroup, dict[object, None]] = {}
        """Silent connections by address, the oldest first."""

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: object, transport: PendingTransport) -> None:
        """Count *connection*; close one when there are too many. A known one gets a new *transport*."""
        known = self._open.get(connection)
        if known is not None:
            self._open[connection] = (known[0], transport)
            return
        address = self._address_of(transport)
        self._open[connection] = (address, transport)
        if address is not None:
            self._of[address] += 1
            silent = self._silent.setdefault(address, {})
            silent[connection] = None
            if self._of[address] > self._most_of_address:
                self._drop(next(iter(silent)))
                return
        if len(self._open) > self._most:
            self._drop(next(iter(self._open)))

    def head_received(self, connection: object) -> None:
        """Record that the head of a request of *connection* is complete: it is not silent."""
        address, _ = self._open.get(connection, (None, None))
        if address is not None:
            self._mark_not_silent(address, connection)

    def handshake_wait_s(self, connection: object, now: float) -> float:
        """Return how long a TLS handshake has to wait; beyond :data:`WAIT_MAX_S` it is refused."""
        address, _ = self._open.get(connection, (None, None))
        if address is None or self._handshakes is None:
            return 0.0
        wait_s = self._handshakes.take(address, now, 1.0, WAIT_MAX_S)
        self.dropped += wait_s > WAIT_MAX_S
        return wait_s

    def _mark_not_silent(self, address: AddressGroup, connection: object) -> None:
        silent = self._silent.get(address)
        if silent is not None:
            silent.pop(connection, None)
            if not silent:
                del self._silent[address]

    def closed(self, connection: object) -> None:
        """Remove *connection*, which has closed or become a WebSocket."""
        address, _ = self._open.pop(connection, (None, None))
        if address is not None:
            self._mark_not_silent(address, connection)
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    def prune(self, now: float) -> None:
        """Remove addresses whose TLS handshakes no longer count."""
        if self._handshakes is not None:
            self._handshakes.prune(now)

    def close_oldest(self) -> None:
        """Close the oldest connection: a new one could not be accepted."""
        self.dropped += 1
        if self._open:
            self._drop(next(iter(self._open)))

    def _drop(self, connection: object) -> None:
        transport = self._open[connection][1]
        self.closed(connection)
        self.dropped += 1
        transport.abort()

    def _address_of(self, transport: PendingTransport) -> AddressGroup | None:
        peer = transport.get_extra_info("peername")
        address = parse_address(str(peer[0])) if isinstance(peer, tuple) else None
        if address is None or is_trusted(address, self._trusted):
            return None
        return address_group(address)


PENDING_CONNECTIONS: Final = web.AppKey("pending_connections", PendingConnections)
"""Key of an application's pending connections."""


WAIT_MAX_S: Final = 1.0
"""Longest wait of a request, whether it is served or refused then."""
EXPORT_PRICE: Final = 20
"""Price of an export in requests: it contains thousands of records."""
ASKING_PRICE: Final = 10
"""Price of a list of sessions, or of ending another one, in requests: both ask the OSCC-E Server."""
_PRICES: Final = {("GET", "/v1/me/export"): EXPORT_PRICE, ("GET", "/v1/sessions"): ASKING_PRICE}
_HAS_ITS_OWN: Final = frozenset({("GET", "/v1/realtime"), ("POST", "/v1/sessions")})
"""Handshakes and log-ons have limits of their own: see :class:`SocketAdmission`."""


class RequestRates:
    """Rate limits of HTTP requests: per session, and per address without a session.

    A request beyond the rate waits for up to :data:`WAIT_MAX_S`. One that would have to wait longer is
    refused, after that wait: it holds its connection, and a connection has one request at a time, so a flood
    is slowed down to what the connections of one address allow.
    """

    def __init__(
        self, limits: AdmissionLimits, bearer: BearerAuth, context: RequestContext, clock: Clock
    ) -> None:
        self._of_session: KeyedRates[Hashable] = KeyedRates(
            limits.requests_per_s_of_session, limits.requests_burst_of_session, keys_max=limits.addresses
        )
        self._of_address: KeyedRates[Hashable] = KeyedRates(
            limits.requests_per_s_of_address, limits.requests_burst_of_address, keys_max=limits.addresses
        )
        self._bearer = bearer
        self._context = context
        self._clock = clock

    def __len__(self) -> int:
        return len(self._of_session) + len(self._of_address)

    def prune(self, now: float) -> None:
        """Remove what no longer limits anybody."""
        self._of_session.prune(now)
        self._of_address.prune(now)

    @web.middleware
    async def limit_rate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve *request* when its rate allows, at most one of a connection per turn of the event loop.

        Raises:
            GatewayError: ``rate_limited``.
        """
        await self._clock.sleep(0)  # from Python 3.12 on aiohttp starts pipelined requests in one turn
        if (request.method, request.path) not in _HAS_ITS_OWN:
            await self._wait_turn(request)
        return await handler(request)

    async def _wait_turn(self, request: web.Request) -> None:
        ticket = self._bearer.ticket_in(request.headers.getall(hdrs.AUTHORIZATION, []))
        rates = self._of_address if ticket is None else self._of_session
        key = address_group(self._context.address(request)) if ticket is None else ticket.handle
        wait_s = rates.take(key, self._clock.now(), _price(request), WAIT_MAX_S)
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, WAIT_MAX_S))
        if wait_s > WAIT_MAX_S:
            whose = "from this address" if ticket is None else "of this session"
            raise GatewayError(
                ErrorCode.RATE_LIMITED, f"Too many requests come {whose}.", retry_after_s=wait_s - WAIT_MAX_S
            )


REQUEST_RATES: Final = web.AppKey("request_rates", RequestRates)
"""Key of an application's rate limits of requests."""


def _price(request: web.Request) -> int:
    if request.method == hdrs.METH_DELETE and request.path.startswith("/v1/sessions/"):
        return ASKING_PRICE
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method  # the same work
    return _PRICES.get((method, request.path), 1)
