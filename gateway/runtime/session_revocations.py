"""Session revocations: ended sessions, announced to all nodes.

A fast path only: OSCC-E accepts or refuses each session when it is attached.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.core.denylist import Denylist, End
from gateway.domain.errors import EndReason, GatewayError, SessionRefused
from gateway.domain.model import SessionId, Ticket, UserId, handle_of
from gateway.protocol.envelopes import Control, SessionOver
from gateway.runtime.cluster_transport import Exchange
from gateway.runtime.faults import log_fault
from gateway.runtime.ports import Clock, SharedStore
from gateway.runtime.spawn import spawn
from gateway.runtime.tally import Tally
from gateway.runtime.world import refusal

_LOG: Final = logging.getLogger(__name__)
DENIED_BEYOND_MS: Final = 24 * 3_600_000
"""For so long after its life a token may still be shown, for a log-off; how it ended is known till then."""

_FORGOTTEN_S: Final = 60.0
"""For how long it is still said that a session has ended whose end does not matter any more: then OSCC-E
says it."""


class SessionRevocations:
    """The sessions that are known to have ended.

    Args:
        clock: The node's time.
        exchange: How the other nodes are told.
        shared: Stores the ends for nodes that missed them.
        tally: Counts faults.
    """

    def __init__(
        self, clock: Clock, exchange: Exchange, shared: SharedStore, tally: Tally | None = None
    ) -> None:
        self._tally = tally or Tally()
        self._clock = clock
        self._exchange = exchange
        self._shared = shared
        self.denied: Final = Denylist()
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self.denied)

    async def run(self) -> None:
        """Store each end for nodes that miss it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def known(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when that is known here."""
        end = self.denied.get(ticket.handle, self._clock.wall_ms())
        return None if end is None else refusal(ticket, end.reason, end.by)

    async def known_elsewhere(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when another node noted it."""
        try:
            reason = await self._shared.denied(ticket.handle)
        except GatewayError:
            return None
        return None if reason is None else refusal(ticket, reason, None)

    def tell(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Note that a session ended, and let every node know."""
        self.note(ticket, reason, by)
        self._exchange.send(Control(), SessionOver(ticket, reason, by))
        left_s = (ticket.expires_at_ms + DENIED_BEYOND_MS - self._clock.wall_ms()) / 1000
        if left_s > 0:
            spawn(self._tasks, self._keep(ticket.handle, reason, left_s))

    def note(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Note that a session ended."""
        until_ms = ticket.expires_at_ms + DENIED_BEYOND_MS
        self.denied.add(
            ticket.user, ticket.handle, End(reason, by), since_ms=self._clock.wall_ms(), until_ms=until_ms
        )

    def logged_on(self, user: UserId, session: SessionId, began_ms: int) -> None:
        """Forget what was said of the user's sessions before they began to log on; a log-off holds for good.

        Of the new session nothing was said: a server that began anew gives ids again.
        """
        for handle in self.denied.clear(user, began_ms, new=handle_of(user, session)):
            spawn(self._tasks, self._keep(handle, EndReason.UNKNOWN, _FORGOTTEN_S))

    async def _keep(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        try:
            await self._shared.deny(handle, reason, ttl_s)
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one note's fault must not end the node
            log_fault(_LOG, "end_not_noted", fault)
            self._tally.faulted("endings")
