"""May another one come in now?

Two bounds, each for the node and for an address: how many sockets there are, above all such as
have shown no token yet, and how fast new ones and log-ons come. All refusals happen before an
upgrade and say when to come back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from ipaddress import IPv6Network
from typing import Final

from gateway.core.throttle import TokenBucket
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.addresses import Address, neighbourhood
from gateway.edge.settings import DoorLimits

_FULL_RETRY_S: Final = 5.0
_RETRY_MAX_S: Final = 60.0

Neighbourhood = Address | IPv6Network


class Rate:
    """A token bucket that gives those it refuses appointments.

    Invariant: appointments are as far apart as the rate allows, so that a crowd that was sent
    away does not come back as one.
    """

    __slots__ = ("_bucket", "_next_at", "_per_s")

    def __init__(self, per_s: float, burst: int) -> None:
        self._bucket = TokenBucket(per_s, burst)
        self._per_s = per_s
        self._next_at = 0.0

    def wait_s(self, now: float) -> float | None:
        """Take one; None when there was one, else after how long to come back."""
        if self._bucket.take(now):
            return None
        self._next_at = max(self._next_at, now) + 1 / self._per_s
        return min(self._next_at - now, _RETRY_MAX_S)


class Place:
    """One socket's place in the house. Invariant: it is given back once, however often it is asked."""

    __slots__ = ("_doors", "_helloed", "_left", "_where")

    def __init__(self, doors: Doors, where: Neighbourhood) -> None:
        self._doors = doors
        self._where = where
        self._helloed = False
        self._left = False

    def helloed(self) -> None:
        """Note that a valid token was shown."""
        if not self._helloed:
            self._helloed = True
            self._doors.forget(self._where)

    def leave(self) -> None:
        """Give it back."""
        if not self._left:
            self._left = True
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
        self._unhelloed_of: Counter[Neighbourhood] = Counter()
        self._limits = limits
        self._rate = Rate(limits.handshakes_per_s, limits.handshakes_burst)
        self._rate_of: OrderedDict[Neighbourhood, Rate] = OrderedDict()

    @property
    def remembered(self) -> int:
        """How many addresses have a rate."""
        return len(self._rate_of)

    def knock(self, address: Address, now: float) -> None:
        """Count one handshake or log-on.

        Raises:
            GatewayError: ``rate_limited`` for the address, ``overloaded`` for the node.
        """
        wait_s = self._rate_at(neighbourhood(address)).wait_s(now)
        if wait_s is not None:
            raise GatewayError(
                ErrorCode.RATE_LIMITED, "Too many requests come from this address.", retry_after_s=wait_s
            )
        wait_s = self._rate.wait_s(now)
        if wait_s is not None:
            raise GatewayError(ErrorCode.OVERLOADED, "Too many come at once.", retry_after_s=wait_s)

    def enter(self, address: Address) -> Place:
        """Take a place for a socket.

        Raises:
            GatewayError: ``over_capacity`` when the node is full, ``rate_limited`` when too many
                sockets of the address have shown no token.
        """
        where, limits = neighbourhood(address), self._limits
        if self.sockets >= limits.connections or self.unhelloed >= limits.unhelloed:
            raise GatewayError(ErrorCode.OVER_CAPACITY, "This node is full.", retry_after_s=_FULL_RETRY_S)
        if self._unhelloed_of[where] >= limits.unhelloed_per_address:
            raise GatewayError(
                ErrorCode.RATE_LIMITED, "Too many sockets of this address wait.", retry_after_s=_FULL_RETRY_S
            )
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

    def _rate_at(self, where: Neighbourhood) -> Rate:
        rate = self._rate_of.get(where)
        if rate is None:
            rate = Rate(self._limits.handshakes_per_s_of_address, self._limits.handshakes_burst_of_address)
            self._rate_of[where] = rate
            if len(self._rate_of) > self._limits.addresses:
                self._rate_of.popitem(last=False)
        self._rate_of.move_to_end(where)
        return rate
