"""What does the runtime need from the outside world, and what may it rely on?

Four ports with their contracts in prose. Every adapter passes the contract suite of its
port in ``tests/contracts``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from gateway.domain.link_requests import LinkAnswer, LinkRequest
from gateway.domain.model import NodeId, SessionId, SessionSecret, UserId
from gateway.domain.upstream import About, LinkEvent, LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.protocol.envelopes import Envelope


class Clock(Protocol):
    """Time, and the only way to wait for it."""

    def now(self) -> float:
        """Return monotonic seconds. Never goes back."""
        ...

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC. May jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* of :meth:`now` passed inside it."""
        ...


class Bus(Protocol):
    """Messages between nodes: at most once, in order per channel and sender, possibly lost."""

    async def subscribe(self, channel: str, receive: Callable[[Envelope], None]) -> None:
        """Call *receive* for each envelope published to *channel* from now on.

        When it returns the subscription is in force: what is published afterwards arrives,
        or is lost with the bus. *receive* must not block or raise. One receiver per channel
        and node; a second subscribe replaces the first.
        """
        ...

    async def unsubscribe(self, channel: str) -> None:
        """Stop. Nothing arrives after it returned. Unknown channels are ignored."""
        ...

    async def publish(self, channel: str, envelope: Envelope) -> int:
        """Send; returns how many nodes were subscribed.

        Raises:
            GatewayError: ``bus_down``; the envelope may or may not have been sent.
        """
        ...


class Grant(NamedTuple):
    """Who speaks for a user."""

    node: NodeId
    holder: str
    token: int


class Leases(Protocol):
    """Who owns a user. Tokens only grow, per user, also over forgetful stores.

    Every method raises :class:`GatewayError` ``bus_down`` when no answer came: what was asked may
    or may not have happened.
    """

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """Ask to own *user*. The answer's holder tells who does: compare it with one's own.

        Granted when nobody holds, or the present token equals *expected* (a planned or early
        take-over). A granted token is above *floor* and above every token granted before.
        """
        ...

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """Extend one's own lease, or re-create it when the store forgot it. False: another holds."""
        ...

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """Give one's own lease up; another's is left alone."""
        ...

    async def read(self, user: UserId) -> Grant | None:
        """Tell who owns *user* now."""
        ...


class Link(Protocol):
    """One open link of one user. Used by one owner; ends with :class:`LinkClosed`."""

    @property
    def heard_at(self) -> float:
        """When a message of the server was last received, in seconds of the clock's ``now``."""
        ...

    async def receive(self) -> LinkEvent | None:
        """Return the next event; None when a message came that carries none (an answer, a keep-alive).

        Answers met on the way settle their :meth:`request`, so whoever processes each event
        before calling again sees a request's effect before its answer.

        Raises:
            LinkClosed: The link is gone.
        """
        ...

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Send *request* and wait for its answer; needs a concurrent :meth:`receive`.

        Raises:
            GatewayError: The server refused it, with the protocol's code.
            LinkClosed: The link went before the answer came.
        """
        ...

    async def close(self) -> None:
        """Close it. Requests under way end with :class:`LinkClosed`. Closing twice is fine."""
        ...


class Upstream(Protocol):
    """One organisation's OSCC-E Server: its link door."""

    async def about(self) -> About:
        """Tell which server this is.

        Raises:
            GatewayError: ``upstream_version_unsupported`` or ``upstream_unavailable``.
        """
        ...

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> Link:
        """Open the user's link by any of his live sessions; the first event is ``Opened``.

        Raises:
            LinkClosed: ``session_unknown``, ``stale`` (with the token), ``unavailable``,
                ``version_unsupported``.
        """
        ...


class Authority(Protocol):
    """One organisation's OSCC-E Server: its log-on door. Each call is bounded in time.

    Every method raises :class:`GatewayError` ``upstream_unavailable`` when no answer came, and
    ``session_ended`` when the session is not known (any more).
    """

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session.

        Raises:
            GatewayError: ``invalid_credentials``, ``account_locked``, ``account_blocked``,
                ``role_missing``, ``already_logged_on``, ``remote_number_*``, ``function_unavailable``,
                ``upstream_version_unsupported``.
        """
        ...

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""
        ...

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        ...

    async def end(self, secret: SessionSecret, session: SessionId) -> None:
        """End another session of the same user. Raises ``not_found`` when it is none."""
        ...

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Ask for more life; returns the new end, ms since 1970."""
        ...
