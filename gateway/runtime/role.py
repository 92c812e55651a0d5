"""Role of a node for one of its users: owner or follower."""

from __future__ import annotations

import math
from typing import Final, NamedTuple, Protocol

from gateway.domain.commands import Call, History, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Ticket
from gateway.protocol.envelopes import Lingering, SessionFacts
from gateway.runtime.ports import Grant, Takeover

RECONNECT_WINDOW_S: Final = (1.0, 10.0)


class RoleOverError(Exception):
    """The node's role for the user has changed: ask again what it is."""


class Local(NamedTuple):
    """A session with a phone on this node."""

    ticket: Ticket
    topics: tuple[str, ...]


class Start(NamedTuple):
    """How an ownership begins.

    *expected*: the lease may be taken from the holder of that token. *floor*: the highest token seen.
    *assumed*: the store is away, OSCC-E decides. *history*, *lingering*: from the owner that gave, good
    when the lease is granted *by* that time; later the owner may have gone on.
    *kind*: of another owner's user; None of one that no node owns, or one's own. *entered*: the user already
    has a place in the site's admission queue. It is given back when the link is open, or will not be opened.
    """

    expected: int | None = None
    floor: int = 0
    assumed: bool = False
    history: History | None = None
    by: float = math.inf
    lingering: tuple[Lingering, ...] = ()
    kind: Takeover | None = None
    entered: bool = False


class Role(Protocol):
    """What a user state does for its phones."""

    async def attach(self, ticket: Ticket, topics: tuple[str, ...]) -> SessionFacts:
        """Return when OSCC-E has accepted the session in this epoch and the mirror shows what it follows.

        Raises:
            SessionRefused: It has ended, or no answer came in time.
            RoleOverError: The role ended meanwhile.
        """
        ...

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Listen to what the session follows now."""
        ...

    def leave(self, handle: str) -> None:
        """Record that the session's phone left this node."""
        ...

    def let_go(self, handle: str) -> None:
        """Act for a session no longer."""
        ...

    async def execute(self, call: Call) -> Outcome | None:
        """Have a command executed at most once, and return what became of it.

        None: nothing, since the role is over or is about to be.
        """
        ...

    def owned(self, grant: Grant) -> None:
        """Record that another node owns the user, as it says itself: the store of leases takes no writes."""
        ...

    def tick(self, now: float) -> None:
        """Do what is due by time."""
        ...

    def due_at(self, now: float) -> float:
        """Return when :meth:`tick` has something to do if nothing happens before; *now*: each time."""
        ...

    def stop(self) -> None:
        """End: :meth:`run` returns soon."""
        ...

    async def run(self) -> None:
        """Play the role until it is over."""
        ...


RETRY_S: Final = 4.0
"""For how long the owner of the user is asked for the outcome of a command whose deadline has passed."""


def patience_s(call: Call, wall_ms: int) -> float:
    """Return for how long the user's owner may be asked; a command sent again is asked about in any case."""
    left_s = (call.deadline_ms - wall_ms) / 1000
    return max(left_s, RETRY_S) if call.retry else left_s


def not_begun(call: Call, code: ErrorCode, why: str) -> Outcome:
    """Return the outcome of a command that no node was asked to execute.

    One that is sent again may have been executed when it was sent first.
    """
    if call.retry:
        message = "Outcome unknown: the owner is unreachable. Check the state, then retry with a new key."
        return Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OWNER_LOST, message))
    return Outcome(Status.REJECTED, GatewayError(code, why))


def not_reached(*, for_bus: bool = False) -> SessionRefused:
    """Return how a phone is refused whose session no node could act for in time.

    *for_bus*: since no lease is to be had, though the store is there.
    """
    why = ErrorCode.BUS_DOWN if for_bus else ErrorCode.UPSTREAM_UNAVAILABLE
    return SessionRefused(CloseCode.INTERNAL, why, window_s=RECONNECT_WINDOW_S)
