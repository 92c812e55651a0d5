"""Dependencies of the application for clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from gateway.domain.model import Ticket
from gateway.edge.connection_stats import ConnectionSummary
from gateway.edge.export import RemoteHoldings
from gateway.edge.limits import SocketAdmission
from gateway.edge.notices import NoticesInForce
from gateway.edge.ports import AccountService, SessionNode
from gateway.edge.remote_numbers import NumberPolicies
from gateway.edge.scheduler import Scheduler
from gateway.edge.settings import EdgeSettings
from gateway.edge.socket import PhoneSocket
from gateway.edge.token import Tokens
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry


async def _nowhere(_: Ticket) -> RemoteHoldings:
    """Return no holdings of other nodes."""
    return RemoteHoldings({}, complete=True)


def _forget(_: ConnectionSummary) -> None:
    """Discard the summary of a closed connection."""


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """Dependencies of the edge.

    *scheduler* serves the sockets while it runs. *jitter* returns numbers in [0, 1). *on_close* receives the
    summary of each closed connection. *elsewhere* collects what all nodes hold about a user.
    """

    settings: EdgeSettings
    node: SessionNode
    accounts: AccountService
    tokens: Tokens
    notices: NoticesInForce
    numbers: NumberPolicies
    admission: SocketAdmission
    clock: Clock
    scheduler: Scheduler[PhoneSocket]
    jitter: Callable[[], float]
    telemetry: Telemetry
    on_close: Callable[[ConnectionSummary], None] = _forget
    elsewhere: Callable[[Ticket], Awaitable[RemoteHoldings]] = _nowhere

    @property
    def phones(self) -> Collection[PhoneSocket]:
        """The open sockets, with and without a `hello`."""
        return self.scheduler.sockets.keys()
