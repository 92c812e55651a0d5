"""What is counted, and logged for whoever looks for a fault, of the links to an OSCC-E Server?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, get_args

import structlog

from gateway.app.surroundings import Reach
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.link_requests import Directory, LinkAnswer, LinkRequest
from gateway.domain.model import SessionSecret, UserId
from gateway.domain.upstream import (
    About,
    Announced,
    CatalogueChanged,
    FunctionChanged,
    LinkClosed,
    LinkEvent,
    LinkReplaced,
    ObjectChanged,
    Opened,
    Reading,
    ScopeChanged,
    SessionEnded,
    Trouble,
    trouble_of,
)
from gateway.runtime.ports import Link, Upstream
from gateway.telemetry import Telemetry

_LOG: Final = structlog.get_logger("gateway.link")
_REFUSALS: Final[Mapping[str, ErrorCode]] = {
    "unavailable": ErrorCode.UPSTREAM_UNAVAILABLE,
    "lost": ErrorCode.UPSTREAM_UNAVAILABLE,
    "version_unsupported": ErrorCode.UPSTREAM_VERSION_UNSUPPORTED,
}
"""Why a link does not open when the server is not reached. All other reasons are its answers."""
EVENTS: Final[Mapping[type[LinkEvent], str]] = {
    Opened: "opened",
    Reading: "reading",
    ObjectChanged: "object_changed",
    CatalogueChanged: "catalogue_changed",
    ScopeChanged: "scope_changed",
    FunctionChanged: "function_changed",
    SessionEnded: "session_ended",
    LinkReplaced: "link_replaced",
    Announced: "announced",
}
"""Every event, as it is counted."""


class CountedUpstream:
    """The port Upstream, before another one. Invariant: what goes through is not changed.

    An attempt to open a link begins with asking which server it is, so a refusal of that counts too.
    """

    def __init__(self, upstream: Upstream, telemetry: Telemetry, reach: Reach) -> None:
        self._upstream = upstream
        self._telemetry = telemetry
        self._reach = reach
        self._dropped: dict[str, int] = {}
        for cause in get_args(Trouble):
            telemetry.upstream_failures[cause].inc(0)
        self._counts: dict[type[LinkEvent], Callable[[], None]]
        self._counts = {kind: telemetry.upstream_events[name].inc for kind, name in EVENTS.items()}
        self._counts[LinkReplaced] = self._replaced
        """Looked up once: links bring thousands of events a second."""

    def _replaced(self) -> None:
        self._telemetry.upstream_events[EVENTS[LinkReplaced]].inc()
        self._telemetry.link_replaced.inc()

    async def about(self) -> About:
        """Tell which server this is."""
        try:
            return await self._upstream.about()
        except GatewayError as error:
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            self._telemetry.link_opens["version_unsupported" if unsupported else "unavailable"].inc()
            self._note_failure(error.code, error)
            raise

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> Link:
        """Open the user's link."""
        try:
            link = await self._upstream.open(user, secret, token=token, holder=holder)
        except LinkClosed as closed:
            self._telemetry.link_opens[closed.reason].inc()
            self._note_failure(_REFUSALS.get(closed.reason), closed)
            if closed.reason != "unavailable":
                self._telemetry.link_refused[closed.reason].inc()
            raise
        self._telemetry.link_opens["ok"].inc()
        self._reach.note()
        _LOG.debug("link opened", user=user)
        return CountedLink(link, self._counts, user, self._asked)

    def _note_failure(self, refusal: ErrorCode | None, error: Exception) -> None:
        is_unreached = refusal is ErrorCode.UPSTREAM_UNAVAILABLE
        if is_unreached:
            self._telemetry.upstream_failures[trouble_of(error)].inc()
        self._reach.note(refusal, trouble_of(error) if is_unreached else None)

    def _asked(self, user: UserId, answer: LinkAnswer) -> None:
        """Warn of each kind with rows that cannot be read, again only when there are more."""
        if not isinstance(answer, Directory):
            return
        for kind in dict.fromkeys(each.kind for each in answer.dropped):
            faults = [each for each in answer.dropped if each.kind == kind]
            dropped, why = sum(each.rows for each in faults), max(faults, key=lambda each: each.rows).why
            if dropped > self._dropped.get(kind, 0):
                self._dropped[kind] = dropped
                _LOG.warning(
                    "rows of the directory cannot be read",
                    site=user.site,
                    kind=kind,
                    dropped=dropped,
                    why=why,
                )


class CountedLink:
    """The port Link, before another one. Invariant: what goes through is not changed."""

    def __init__(
        self,
        link: Link,
        counts: Mapping[type[LinkEvent], Callable[[], None]],
        user: UserId,
        asked: Callable[[UserId, LinkAnswer], None],
    ) -> None:
        self._asked = asked
        self._link = link
        self._counts = counts
        self._count_reading = counts[Reading]
        self._hear: Callable[[Reading], None] | None = None
        self._user = user
        self._is_over = False

    @property
    def heard_at(self) -> float:
        """When a message of the server was last received."""
        return self._link.heard_at

    @property
    def speaks(self) -> bool:
        """Whether something waits to be received."""
        return self._link.speaks

    async def receive(self, hear: Callable[[Reading], None] | None = None) -> LinkEvent | None:
        """Return the next event."""
        self._hear = hear
        try:
            event = await self._link.receive(None if hear is None else self._heard)
        except LinkClosed as closed:
            self._note_end(closed.reason)
            raise
        if event is not None:
            self._counts[type(event)]()
        return event

    def _heard(self, reading: Reading) -> None:
        self._count_reading()
        if self._hear is not None:
            self._hear(reading)

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Send *request* and wait for its answer."""
        answer = await self._link.request(request)
        self._asked(self._user, answer)
        return answer

    async def close(self) -> None:
        """Close it."""
        self._note_end("closed by this node")
        await self._link.close()

    def _note_end(self, reason: str) -> None:
        """Log the end once, whoever finds it first."""
        if not self._is_over:
            self._is_over = True
            _LOG.debug("link closed", user=self._user, close_reason=reason)
