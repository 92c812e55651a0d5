"""Sessions of all sites: begun, listed and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

from gateway.core.rate_limits import AdmissionQueue
from gateway.core.registry import Quota
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId, Ticket, UserId
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.runtime.log_off import LogOffs, SiteAuthority, authority_of
from gateway.runtime.log_on import LogOns
from gateway.runtime.ports import Authority, Clock, SharedStore


class Users(Protocol):
    """Whoever serves the sessions."""

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Note that a user logged on, and when that began."""
        ...

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """Note that the user ended a session, here or from his device *by*."""
        ...


class Accounts:
    """Sessions of all sites: begun, listed and ended.

    Invariant: of one session at most one log-off, one listing and one end of another are under way.
    :class:`gateway.runtime.log_on.LogOns` guards the log-ons; log-offs are retried by
    :class:`gateway.runtime.log_off.LogOffs`.
    """

    def __init__(
        self,
        sites: Mapping[str, SiteAuthority],
        queues: Mapping[str, AdmissionQueue],
        clock: Clock,
        users: Users,
        shared: SharedStore,
        log_offs: LogOffs,
        number_changes: Quota[UserId] | None = None,
    ) -> None:
        self._sites = sites
        self._clock = clock
        self._users = users
        self.log_ons: Final = LogOns(queues, clock, shared, number_changes)
        self.log_offs: Final = log_offs
        self._listing: dict[str, asyncio.Future[tuple[SessionInfo, ...]]] = {}
        self._ending: set[str] = set()

    @property
    def log_offs_pending(self) -> int:
        """How many log-offs wait for their confirmation."""
        return len(self.log_offs)

    @property
    def pending(self) -> tuple[Ticket, ...]:
        """The sessions whose log-off waits for its confirmation."""
        return self.log_offs.pending

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
        """End the session, as :meth:`LogOffs.log_off` says."""
        return await self.log_offs.log_off(ticket, by)

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """List the user's sessions; a request of this session that is under way serves all who ask.

        Raises:
            GatewayError: ``upstream_unavailable`` or ``session_ended``.
        """
        under_way = self._listing.get(ticket.handle)
        if under_way is not None:
            try:
                return await asyncio.shield(under_way)
            finally:
                del under_way  # what it raises has this frame in its traceback
        waiting = self._listing[ticket.handle] = asyncio.get_running_loop().create_future()
        waiting.add_done_callback(asyncio.Future.exception)  # there may be nobody else who waits
        try:
            listed = await self._authority(ticket.user.site).sessions(ticket.secret)
        except BaseException as error:
            is_told = isinstance(error, GatewayError)
            waiting.set_exception(error if is_told else _not_reached())
            raise
        else:
            waiting.set_result(listed)
            return listed
        finally:
            del self._listing[ticket.handle], waiting  # what it raises has this frame in its traceback

    async def end(self, ticket: Ticket, session: SessionId, by: str | None = None) -> LoggedOff:
        """End a session of the user; his own as :meth:`log_off` does.

        Of another, ``after_contact`` means: it has ended, and OSCC-E removes the routing by itself.
        *by* is who ends it, as the phone is told: by default the device of *ticket*.

        Raises:
            GatewayError: ``not_found``, ``upstream_unavailable`` or ``session_ended``; ``rate_limited`` while
                another request of this session to end one is under way.
        """
        if session == ticket.session:
            return await self.log_off(ticket)
        if by is None and ticket.handle in self._ending:
            message = "A request of this session to end another one is under way."
            raise GatewayError(ErrorCode.RATE_LIMITED, message, retry_after_s=1.0)
        self._ending.add(ticket.handle)
        try:
            answer = await self._authority(ticket.user.site).end(ticket.secret, session)
        finally:
            self._ending.discard(ticket.handle)
        self._users.logged_off(replace(ticket, session=session), by or ticket.device.name)
        return answer

    async def run(self) -> None:
        """Retry log-offs that were not confirmed, until cancelled."""
        await self.log_offs.run()

    def _authority(self, site: str) -> Authority:
        return authority_of(self._sites, site)


def _not_reached() -> GatewayError:
    return GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "The contact centre was not asked to the end.")
