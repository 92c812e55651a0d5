"""How do people log on and off, and what becomes of a log-off that nobody confirmed?"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway.core.quota import Quota
from gateway.core.turnstile import Turnstile
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId, Ticket, UserId
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.runtime.log_on import LogOns
from gateway.runtime.ports import Authority, Clock, Shelf

RETRY_S: Final = 5.0
RETRIES_AT_ONCE: Final = 8
"""Of one site: log-ons find free doors at a server that has many log-offs to hear of."""
_PENDING_MAX: Final = 10_000


class Doors(Protocol):
    """A site as this room needs it."""

    @property
    def authority(self) -> Authority:
        """Its log-on door."""
        ...


class Users(Protocol):
    """Whoever serves the sessions."""

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Note that a user logged on, and when that began."""
        ...

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """Note that the user ended a session, here or from his device *by*."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class _Pending:
    ticket: Ticket
    until_ms: int
    """When the session is over anyway."""


class Account:
    """Sessions of all sites: begun, listed and ended.

    Invariant: a log-off that was not confirmed is retried until the session's life is over.
    :class:`gateway.runtime.log_on.LogOns` guards the log-ons.
    """

    def __init__(
        self,
        sites: Mapping[str, Doors],
        turnstiles: Mapping[str, Turnstile],
        clock: Clock,
        users: Users,
        shelf: Shelf,
        number_changes: Quota[UserId] | None = None,
    ) -> None:
        self._sites = sites
        self._clock = clock
        self._users = users
        self.log_ons: Final = LogOns(turnstiles, clock, shelf, number_changes)
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    @property
    def log_offs_pending(self) -> int:
        """How many log-offs wait for their confirmation."""
        return len(self._pending)

    @property
    def pending(self) -> tuple[Ticket, ...]:
        """The sessions whose log-off waits for its confirmation."""
        return tuple(each.ticket for each in self._pending.values())

    async def log_on(self, site: str, credentials: LogOn, address: str = "") -> LoggedOn:
        """Open a session at OSCC-E. *address*: from where; what is limited as one.

        Raises:
            GatewayError: ``site_unknown``, ``account_locked``, ``rate_limited``, or what OSCC-E says.
        """
        authority = self._authority(site)
        logged_on, began_ms = await self.log_ons.log_on(authority, site, credentials, address)
        self._users.logged_on(logged_on, began_ms)
        return logged_on

    async def log_off(self, ticket: Ticket, by: str = "self") -> LoggedOff:
        """End the session. ``after_contact`` means: not confirmed yet, and tried on by :meth:`run`.

        Its phone is told, and its token refused, at once either way. Cancelled, it is not confirmed yet.

        Args:
            ticket: The session's.
            by: Who ends it, as the phone is told.
        """
        self._users.logged_off(ticket, by)
        try:
            answer = await self._authority(ticket.user.site).log_off(ticket.secret)
        except GatewayError:
            answer = LoggedOff("after_contact", self._routed_until_ms(ticket))
        except asyncio.CancelledError:
            self._try_again(ticket, self._routed_until_ms(ticket))
            raise
        if answer.routing == "after_contact":
            self._try_again(ticket, answer.routed_until_ms or 0)
        else:
            self._pending.pop(ticket.handle, None)
        return answer

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """List the user's sessions.

        Raises:
            GatewayError: ``upstream_unavailable`` or ``session_ended``.
        """
        return await self._authority(ticket.user.site).sessions(ticket.secret)

    async def end(self, ticket: Ticket, session: SessionId, by: str | None = None) -> LoggedOff:
        """End a session of the user; his own as :meth:`log_off` does.

        Of another, ``after_contact`` means: it has ended, and OSCC-E removes the routing by itself.
        *by* is who ends it, as the phone is told: by default the device of *ticket*.

        Raises:
            GatewayError: ``not_found``, ``upstream_unavailable`` or ``session_ended``.
        """
        if session == ticket.session:
            return await self.log_off(ticket)
        answer = await self._authority(ticket.user.site).end(ticket.secret, session)
        self._users.logged_off(replace(ticket, session=session), by or ticket.device.name)
        return answer

    async def run(self) -> None:
        """Retry what was not confirmed, until cancelled. A site that does not answer holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            for site in self._sites:
                tasks.create_task(self._run_retries(site))

    async def _run_retries(self, site: str) -> None:
        while True:
            await self._clock.sleep(RETRY_S)
            waiting = [each for each in self._pending.values() if each.ticket.user.site == site]
            shared = iter(waiting)
            async with asyncio.TaskGroup() as tasks:
                for _ in waiting[:RETRIES_AT_ONCE]:
                    tasks.create_task(self._retry_each(shared))

    async def _retry_each(self, waiting: Iterator[_Pending]) -> None:
        for pending in waiting:
            if self._is_waiting(pending):
                await self._retry(pending)

    async def _retry(self, pending: _Pending) -> None:
        """Try once more, also when its time is over: the session's life may be longer than was known."""
        ticket = pending.ticket
        try:
            answer = await self._authority(ticket.user.site).log_off(ticket.secret)
        except GatewayError:
            answer = None
        is_open = answer is None or answer.routing == "after_contact"
        is_over = self._clock.wall_ms() >= pending.until_ms
        if self._is_waiting(pending) and (is_over or not is_open):
            del self._pending[ticket.handle]

    def _is_waiting(self, pending: _Pending) -> bool:
        """Tell whether it is still open: the phone may have repeated its log-off meanwhile."""
        return self._pending.get(pending.ticket.handle) is pending

    def _try_again(self, ticket: Ticket, routed_until_ms: int) -> None:
        """Remember to retry. Bounded: beyond the limit the oldest is left to the session's own end."""
        self._pending[ticket.handle] = _Pending(ticket, max(ticket.expires_at_ms, routed_until_ms))
        while len(self._pending) > _PENDING_MAX:
            self._pending.popitem(last=False)

    def _routed_until_ms(self, ticket: Ticket) -> int:
        """Return until when calls may arrive though OSCC-E is not reached.

        An expired token does not tell when its session ends: that may have been renewed since.
        """
        now_ms, idle_ms = self._clock.wall_ms(), ticket.idle_timeout_s * 1000
        if idle_ms == 0:
            return ticket.expires_at_ms
        if ticket.expires_at_ms <= now_ms:
            return now_ms + idle_ms
        return min(ticket.expires_at_ms, now_ms + idle_ms)

    def _authority(self, site: str) -> Authority:
        found = self._sites.get(site)
        if found is None:
            raise GatewayError(ErrorCode.SITE_UNKNOWN, "There is no such site.")
        return found.authority
