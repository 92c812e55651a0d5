"""Dependencies of the owners of one site: ports, limits, and the renewals of all their leases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from gateway.core.due_times import DueSlots
from gateway.core.lease import AssumedTokens, StoreWrites
from gateway.core.link import Linger
from gateway.core.rate_limits import AdmissionQueue, Quota
from gateway.domain.errors import (
    EndReason,
    GatewayError,
    SessionRefused,
    close_for,
    log_on_window_s,
)
from gateway.domain.model import Application, NodeId, NumberAct, Ticket, UserId
from gateway.runtime.cluster import Exchange
from gateway.runtime.event_loop import Pauses, log_fault, spawn
from gateway.runtime.ports import Authority, Clock, Leases, Upstream
from gateway.telemetry import Tally

RENEWED_AT_ONCE: Final = 200
"""Leases that one request renews: the store serves no other request during this time."""
FAULT_S: Final = 1.0
"""Time after which a renewal is tried again that could not be sent because of a fault."""
_LOG: Final = logging.getLogger(__name__)


class Renewal(NamedTuple):
    """A lease to renew."""

    user: UserId
    token: int


class Renewer(Protocol):
    """The sender of a renewal."""

    slot: int
    """When it is due: see :class:`gateway.core.due_times.DueSlots`."""

    def renew(self, now: float) -> None:
        """Send a renewal now, through :meth:`LeaseRenewals.add`, if one is needed."""
        ...

    def renewed(self, token: int, is_renewed: bool | None, tasks: asyncio.TaskGroup | None) -> None:
        """Process the answer; None: there was none. Follow-up work runs in *tasks*."""
        ...


class LeaseRenewals:
    """The renewals of one node: when each is due, and those that have not been sent yet.

    Invariants: a lease whose renewal is not due costs nothing. Each renewal gets one answer, which may be
    None. It is sent in the next turn of the loop.

    Args:
        leases: The store.
        node: This node.
        holder: Its life.
    """

    def __init__(self, leases: Leases, node: NodeId, holder: str) -> None:
        self._leases = leases
        self._node = node
        self._holder = holder
        self._due: DueSlots[Renewer] = DueSlots()
        self.put: Final = self._due.put
        """Set when the next renewal of a renewer is due."""
        self.drop: Final = self._due.drop
        """Send no more renewals of a renewer."""
        self._waiting: list[tuple[Renewal, Renewer]] = []
        self._tasks: asyncio.TaskGroup | None = None

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Send renewals from now on; None ends sending."""
        self._tasks = tasks

    def renew_due(self, now: float) -> None:
        """Send the renewals that are due, of all users at once: work for users in slices may take seconds."""
        for renewer in self._due.take(now):
            try:
                renewer.renew(now)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from theirs
                log_fault(_LOG, "lease_not_renewed", fault)
                self.put(renewer, now + FAULT_S)

    def add(self, renewal: Renewal, renewer: Renewer) -> None:
        """Renew a lease, together with all others of this turn of the loop."""
        self._waiting.append((renewal, renewer))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), RENEWED_AT_ONCE):
            batch = waiting[start : start + RENEWED_AT_ONCE]
            if not spawn(self._tasks, self._renew(batch)):
                self._answer(batch, [None] * len(batch))

    async def _renew(self, batch: list[tuple[Renewal, Renewer]]) -> None:
        answers: list[bool | None] = [None] * len(batch)
        try:
            renewals = [renewal for renewal, _ in batch]
            answers[:] = await self._leases.renew_many(self._node, self._holder, renewals)
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one request's fault must not end the node
            log_fault(_LOG, "leases_not_renewed", fault)
        finally:
            self._answer(batch, answers)

    def _answer(self, batch: list[tuple[Renewal, Renewer]], answers: list[bool | None]) -> None:
        for (renewal, renewer), is_renewed in zip(batch, answers, strict=True):
            try:
                renewer.renewed(renewal.token, is_renewed, self._tasks)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from their answers
                log_fault(_LOG, "renewal_not_noted", fault)


@dataclass(slots=True)
class OpenLinks:
    """The number of open links of one node."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """Ports, limits and callbacks that the owners of one site's users need."""

    node: NodeId
    holder: str
    """This process's life: each start of the same node has another holder."""
    upstream: Upstream
    authority: Authority
    leases: Leases
    clock: Clock
    jitter: Callable[[], float]
    session_ended: Callable[[Ticket, EndReason, str | None], None]
    """Called with each session that OSCC-E ended or refused; the ticket has the end of its life."""
    admission_queue: AdmissionQueue
    """The queue for the site's budget of log-ons and links."""
    number_changes: Quota[UserId]
    """How often users may change their remote number."""
    audit: Callable[[NumberAct], None]
    exchange: Exchange
    """The exchange of messages with the other nodes."""
    is_draining: Callable[[], bool]
    is_leaving: Callable[[str], bool]
    """Returns whether the node of a holder has begun to leave."""
    heard_at: Callable[[str], float]
    """Returns when the node of a holder last announced itself; -inf when that is not known."""
    cut_off: Callable[[], None]
    """Called when other nodes live and this node does not reach them."""
    renewals: LeaseRenewals
    """Renews leases together with those of the node's other users."""
    assumed: AssumedTokens
    """Tokens of users who are taken without the store."""
    open_links: OpenLinks
    refuses_writes: Callable[[], bool] = lambda: False
    """Returns whether the store of leases is reachable and accepts no writes."""
    writes: StoreWrites = field(default_factory=StoreWrites)
    """Seconds for which it has accepted none."""
    unread_s: Callable[[], float] = lambda: 0.0
    """Returns how long messages of links may have waited in this process; 0 while it keeps up."""
    devices: int = 5
    """Maximum of one user's phones at a time, on all nodes."""
    linger: Linger = field(default_factory=Linger)
    pauses: Pauses = field(default_factory=Pauses)
    """When this process was stopped."""
    tally: Tally = field(default_factory=Tally)
    """Receives the events that are counted."""


def refusal(ticket: Ticket, reason: EndReason, by: str | None) -> SessionRefused:
    """Return how to refuse a phone whose session ended for *reason*."""
    code = close_for(reason, remote_assistant=ticket.application is Application.REMOTE_ASSISTANT)
    return SessionRefused(code, reason, by=by, window_s=log_on_window_s(code))
