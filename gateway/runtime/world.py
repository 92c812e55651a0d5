"""World: the ports, limits and shared parts that an owner is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.bus_health import StoreWrites
from gateway.core.lease import AssumedTokens
from gateway.core.link import Linger, Pauses
from gateway.core.rate_limits import AdmissionQueue
from gateway.core.registry import Quota
from gateway.core.session import LOG_ON_WINDOW_S
from gateway.domain.errors import CloseCode, EndReason, SessionRefused, close_for
from gateway.domain.model import Application, NodeId, NumberAct, Ticket, UserId
from gateway.runtime.cluster import Exchange
from gateway.runtime.lease_renewals import LeaseRenewals
from gateway.runtime.ports import Authority, Clock, Leases, Upstream
from gateway.runtime.tally import Tally


@dataclass(frozen=True, slots=True)
class World:
    """What the owners of one site's users need of the outside."""

    node: NodeId
    holder: str
    """This process's life: another start of the same node is another holder."""
    upstream: Upstream
    authority: Authority
    leases: Leases
    clock: Clock
    jitter: Callable[[], float]
    session_ended: Callable[[Ticket, EndReason, str | None], None]
    """Called with each session that OSCC-E ended or refused; the ticket says when it would have ended."""
    admission_queue: AdmissionQueue
    """The queue before the site's budget of log-ons and links."""
    number_changes: Quota[UserId]
    """How often users may change their remote number."""
    audit: Callable[[NumberAct], None]
    exchange: Exchange
    """This node's place among the others."""
    is_draining: Callable[[], bool]
    is_leaving: Callable[[str], bool]
    """Returns whether another node has begun to leave, by its holder."""
    cut_off: Callable[[], None]
    """Called when others live and this node does not reach them."""
    renewals: LeaseRenewals
    """Renews leases together with those of the node's other users."""
    assumed: AssumedTokens
    """Tokens of users that are taken without the store."""
    refuses_writes: Callable[[], bool] = lambda: False
    """Returns whether the store of leases is there and takes no writes."""
    writes: StoreWrites = field(default_factory=StoreWrites)
    """For how long it has taken none."""
    devices: int = 5
    """Phones of one user at a time, on all nodes."""
    linger: Linger = field(default_factory=Linger)
    pauses: Pauses = field(default_factory=Pauses)
    """When this process stood still."""
    tally: Tally = field(default_factory=Tally)
    """Gets the events that are counted."""


def refusal(ticket: Ticket, reason: EndReason, by: str | None) -> SessionRefused:
    """Return how a phone is refused whose session ended for *reason*."""
    code = close_for(reason, remote_assistant=ticket.application is Application.REMOTE_ASSISTANT)
    window_s = LOG_ON_WINDOW_S if code is CloseCode.SESSION_ENDED else None
    return SessionRefused(code, reason, by=by, window_s=window_s)
