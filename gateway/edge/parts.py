"""What is the edge made of?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from gateway.domain.model import Ticket
from gateway.edge.gathering import Elsewhere
from gateway.edge.limits import Doors
from gateway.edge.notices import Notices
from gateway.edge.numbers import Numbers
from gateway.edge.ports import Accounts, Sessions
from gateway.edge.pump import Pump
from gateway.edge.settings import EdgeSettings
from gateway.edge.socket import PhoneSocket
from gateway.edge.token import Tokens
from gateway.edge.witness import Life
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry


async def _nowhere(_: Ticket) -> Elsewhere:
    """Hold nothing anywhere else."""
    return Elsewhere({}, complete=True)


def _forget(_: Life) -> None:
    """Keep nothing of a connection that is over."""


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """What whoever puts a gateway together gives its edge.

    *pump* serves the sockets, as long as it runs; *jitter* draws from [0, 1); *note* is told what is
    left of each connection at its end; *elsewhere* gathers what all nodes hold about a user.
    """

    settings: EdgeSettings
    node: Sessions
    accounts: Accounts
    tokens: Tokens
    notices: Notices
    numbers: Numbers
    doors: Doors
    clock: Clock
    pump: Pump[PhoneSocket]
    jitter: Callable[[], float]
    telemetry: Telemetry
    note: Callable[[Life], None] = _forget
    elsewhere: Callable[[Ticket], Awaitable[Elsewhere]] = _nowhere

    @property
    def phones(self) -> Collection[PhoneSocket]:
        """The sockets that are open now, whether or not they have said hello."""
        return self.pump.sockets.keys()
