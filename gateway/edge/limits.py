"""Limits of how many sockets there are, and of how fast handshakes and log-ons come.

Each is one of the node, and one of a caller: the user whose token opens, or else the address, as
many people may share one. All refusals happen before an upgrade and say when to come back, where
that is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network
from typing import Final

from gateway.core.throttle import Buckets, TokenBucket
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.edge.addresses import Address, neighbourhood
from gateway.edge.settings import DoorLimits

_RETRY_MAX_S: Final = 60.0

Neighbourhood = Address | IPv6Network


Caller = Neighbourhood | UserId
"""Whose sockets and handshakes are limited together."""


def caller_of(address: Address, user: UserId | None) -> Caller:
    """Return whom a request counts for: the *user* whose token opens, else the *address*."""
    return neighbourhood(address) if user is None else user


class Place:
    """The place of one socket among those that are counted. It is given back once.

    A socket that has said no hello yet has a place of its own; all others share one.

    Args:
        doors: Counts it.
        caller: Whose socket has said no hello yet; None: the place of all others.
    """

    __slots__ = ("_caller", "_doors", "_drop", "_is_taken")

    def __init__(self, doors: Doors, caller: Caller | None) -> None:
        self._doors = doors
        self._caller = caller
        self._drop: Callable[[], None] | None = None
        self._is_taken = False

    def on_taken(self, drop: Callable[[], None]) -> None:
        """Call *drop* when a newer socket takes the place, at once if one has: then the socket closes."""
        if self._is_taken:
            drop()
        else:
            self._drop = drop

    def take(self) -> None:
        """Have its socket closed: a newer one of the same caller comes. It still gives the place back."""
        drop, self._is_taken = self._drop, True
        self.helloed()
        if drop is not None:
            drop()

    def helloed(self) -> Place:
        """Count a hello whose token opens; returns the place that the socket has from now on."""
        caller, self._caller, self._drop = self._caller, None, None
        if caller is not None:
            self._doors.forget(caller, self)
        return self._doors.inside

    def leave(self) -> None:
        """Give it back."""
        self.helloed()
        self._doors.sockets -= 1


class Doors:
    """Counts who is in and how fast they come.

    Invariant: *sockets* counts the places given out and not given back, *unhelloed* those of them
    whose socket has said no hello with a valid token yet.
    """

    def __init__(self, limits: DoorLimits) -> None:
        self.sockets = 0
        self.unhelloed = 0
        self.inside: Final = Place(self, None)
        """The place of each socket that has shown a token."""
        self._silent: dict[Caller, dict[Place, None]] = {}
        """Places of sockets that have said no hello, of each caller, the oldest first."""
        self._limits = limits
        self._rate = TokenBucket(limits.handshakes_per_s, limits.handshakes_burst)
        self._rate_of: Buckets[Caller] = Buckets(
            limits.handshakes_per_s_of_address,
            limits.handshakes_burst_of_address,
            keys_max=limits.addresses,
        )
        self._appointment = 0.0

    @property
    def remembered(self) -> int:
        """How many addresses have a rate."""
        return len(self._rate_of)

    def knock(self, address: Address, now: float, user: UserId | None = None) -> None:
        """Count one handshake or log-on; one of a *user* whose token opens does not count for the address.

        Raises:
            GatewayError: ``rate_limited`` for the caller, ``over_capacity`` for the node.
        """
        caller = caller_of(address, user)
        if not self._rate_of.take(caller, now):
            wait_s = self._rate_of.wait_s(caller, now)
            what = "of this user" if user is not None else "from this address"
            raise GatewayError(
                ErrorCode.RATE_LIMITED, f"Too many requests come {what}.", retry_after_s=wait_s
            )
        if not self._rate.take(now):
            raise GatewayError(
                ErrorCode.OVER_CAPACITY, "Too many come at once.", retry_after_s=self._next_appointment(now)
            )

    def enter(self, address: Address, user: UserId | None = None) -> Place:
        """Take a place for a socket of the *user* whose token opens, or else of the *address*.

        When too many sockets of the caller have said no hello, the oldest of them is closed.

        Raises:
            GatewayError: ``over_capacity``: the node is full.
        """
        caller, limits = caller_of(address, user), self._limits
        silent = self._silent.get(caller, {})
        is_crowded = len(silent) >= limits.unhelloed_per_address
        if self.sockets >= limits.connections or (self.unhelloed >= limits.unhelloed and not is_crowded):
            raise GatewayError(ErrorCode.OVER_CAPACITY, "This node is full.")
        if is_crowded:
            next(iter(silent)).take()
        self.sockets += 1
        self.unhelloed += 1
        place = Place(self, caller)
        self._silent.setdefault(caller, {})[place] = None
        return place

    def forget(self, caller: Caller, place: Place) -> None:
        """Count a socket of *caller* no longer among those that have said no hello."""
        self.unhelloed -= 1
        silent = self._silent[caller]
        del silent[place]
        if not silent:
            del self._silent[caller]

    def _next_appointment(self, now: float) -> float:
        """Return when to come back: as far apart as the rate allows, lest a crowd return as one."""
        self._appointment = max(self._appointment, now) + 1 / self._limits.handshakes_per_s
        self._appointment = min(self._appointment, now + _RETRY_MAX_S)
        return self._appointment - now
