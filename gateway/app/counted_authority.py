"""What is counted of the log-ons and log-offs that a site is asked for?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from gateway.app.surroundings import Reach
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId, SessionSecret
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo, trouble_of
from gateway.runtime.ports import Authority
from gateway.telemetry import Telemetry

ANSWERED: Final = "answered"
UNAVAILABLE: Final = "unavailable"
_OF_THE_SITE: Final = frozenset(
    {
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.UPSTREAM_VERSION_UNSUPPORTED,
        ErrorCode.FUNCTION_UNAVAILABLE,
        ErrorCode.BUSY,
    }
)
"""Refusals of a log-on that meet everybody. All others are of a person: the site has answered."""
_ALL: Final = frozenset(ErrorCode)
"""A log-off that is refused, for whatever reason, is as open as one that is not heard."""


class CountedAuthority:
    """The port Authority, before another one. Invariant: what goes through is not changed.

    All that is counted is there from the start: what appears with its first event does not increase.

    Args:
        authority: The site's.
        site: Its id.
        telemetry: Where it is counted.
        reach: Where it is noted whether the site was reached.
    """

    def __init__(self, authority: Authority, site: str, telemetry: Telemetry, reach: Reach) -> None:
        self._authority = authority
        self._reach = reach
        self._failures = telemetry.upstream_failures
        results = (ANSWERED, UNAVAILABLE)
        self._log_ons = {result: telemetry.site_log_ons[site, result].inc for result in results}
        self._log_offs = {result: telemetry.site_log_offs[site, result].inc for result in results}

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session."""
        with self._counting(self._log_ons, _OF_THE_SITE):
            return await self._authority.log_on(credentials)

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session."""
        with self._counting(self._log_offs, _ALL):
            return await self._authority.log_off(secret)

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        return await self._authority.sessions(secret)

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user."""
        return await self._authority.end(secret, session)

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Ask for more life."""
        return await self._authority.keep_alive(secret)

    @contextmanager
    def _counting(
        self, counts: Mapping[str, Callable[[], None]], unavailable: frozenset[ErrorCode]
    ) -> Iterator[None]:
        """Count how the block ends; one that is cancelled has no end that says anything of the site."""
        try:
            yield
        except GatewayError as error:
            counts[UNAVAILABLE if error.code in unavailable else ANSWERED]()
            is_unreached = error.code is ErrorCode.UPSTREAM_UNAVAILABLE
            if is_unreached:
                self._failures[trouble_of(error)].inc()
            self._reach.note(error.code, trouble_of(error) if is_unreached else None)
            raise
        counts[ANSWERED]()
        self._reach.note()
