"""May another one come in now?

Two bounds, each for the node and for an address: how many sockets there are, above all such as
have shown no token yet, and how fast new ones and log-ons come. All refusals happen before an
upgrade and say when to come back, where that is known here.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Network
from typing import Final

from gateway.core.throttle import Buckets, TokenBucket
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.addresses import Address, neighbourhood
from gateway.edge.settings import DoorLimits

_RETRY_MAX_S: Final = 60.0

Neighbourhood = Address | IPv6Network


class Place:
    """A place in the house. Whoever has it gives it back once.

    One that has shown no token has a place of its own; all others have the same.

    Args:
        doors: Who counts it.
        where: From where the socket came that has shown no token; None: the place of all others.
    """

    __slots__ = ("_doors", "_where")

    def __init__(self, doors: Doors, where: Neighbourhood | None) -> None:
        self._doors = doors
        self._where = where

    def helloed(self) -> Place:
        """Note that a valid token was shown; returns the place that the socket has from now on."""
        where, self._where = self._where, None
        if where is not None:
            self._doors.forget(where)
        return self._doors.inside

    def leave(self) -> None:
        """Give it back."""
        self.helloed()
        self._doors.sockets -= 1


class Doors:
    """Counts who is in and how fast they come.

    Invariant: *sockets* counts the places given out and not given back, *unhelloed* those of them
    that have shown no valid token yet.
    """

    def __init__(self, limits: DoorLimits) -> None:
        self.sockets = 0
        self.unhelloed = 0
        self.inside: Final = Place(self, None)
        """The place of each socket that has shown a token."""
        self._unhelloed_of: Counter[Neighbourhood] = Counter()
        self._limits = limits
        self._rate = TokenBucket(limits.handshakes_per_s, limits.handshakes_burst)
        self._rate_of: Buckets[Neighbourhood] = Buckets(
            limits.handshakes_per_s_of_address,
            limits.handshakes_burst_of_address,
            keys_max=limits.addresses,
        )
        self._appointment = 0.0

    @property
    def remembered(self) -> int:
        """How many addresses have a rate."""
        return len(self._rate_of)

    def knock(self, address: Address, now: float) -> None:
        """Count one handshake or log-on.

        Raises:
            GatewayError: ``rate_limited`` for the address, ``over_capacity`` for the node.
        """
        where = neighbourhood(address)
        if not self._rate_of.take(where, now):
            wait_s = self._rate_of.wait_s(where, now)
            raise GatewayError(
                ErrorCode.RATE_LIMITED, "Too many requests come from this address.", retry_after_s=wait_s
            )
        if not self._rate.take(now):
            raise GatewayError(
                ErrorCode.OVER_CAPACITY, "Too many come at once.", retry_after_s=self._next_appointment(now)
            )

    def enter(self, address: Address) -> Place:
        """Take a place for a socket.

        Raises:
            GatewayError: ``over_capacity`` when the node is full, ``rate_limited`` when too many
                sockets of the address have shown no token.
        """
        where, limits = neighbourhood(address), self._limits
        if self.sockets >= limits.connections or self.unhelloed >= limits.unhelloed:
            raise GatewayError(ErrorCode.OVER_CAPACITY, "This node is full.")
        if self._unhelloed_of[where] >= limits.unhelloed_per_address:
            raise GatewayError(ErrorCode.RATE_LIMITED, "Too many sockets of this address wait.")
        self.sockets += 1
        self.unhelloed += 1
        self._unhelloed_of[where] += 1
        return Place(self, where)

    def forget(self, where: Neighbourhood) -> None:
        """Note that one socket from there has shown a token, or left without."""
        self.unhelloed -= 1
        self._unhelloed_of[where] -= 1
        if not self._unhelloed_of[where]:
            del self._unhelloed_of[where]

    def _next_appointment(self, now: float) -> float:
        """Return when to come back: as far apart as the rate allows, lest a crowd return as one."""
        self._appointment = max(self._appointment, now) + 1 / self._limits.handshakes_per_s
        self._appointment = min(self._appointment, now + _RETRY_MAX_S)
        return self._appointment - now
