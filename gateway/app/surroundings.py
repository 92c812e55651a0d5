"""What does the log say of the world around a node: the bus, the sites, the other owners?

One line when something changes, however many users it meets; nothing while it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import structlog

from gateway.core.bus_state import BusState
from gateway.domain.errors import ErrorCode
from gateway.domain.upstream import Trouble
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

LOOK_S: Final = 1.0
"""How often is looked; what comes and goes in between leaves no line."""

_LOG: Final = structlog.get_logger("gateway.app")
_AWAY: Final = frozenset({ErrorCode.UPSTREAM_UNAVAILABLE, ErrorCode.UPSTREAM_VERSION_UNSUPPORTED})
"""All other refusals come from a server that was reached."""


class Reach:
    """How the latest log-on, log-off or opening of a link at one site ended."""

    def __init__(self) -> None:
        self.error: ErrorCode | None = None
        """Why the site was not reached; None: it was, or nobody has asked."""
        self.cause: Trouble | None = None
        """What was in the way, when no usable answer came."""

    def note(self, refusal: ErrorCode | None = None, cause: Trouble | None = None) -> None:
        """Note how one more ended; None: well."""
        self.error = refusal if refusal in _AWAY else None
        self.cause = None if self.error is None else cause


class Facts(NamedTuple):
    """How a node stands at one moment."""

    bus: BusState
    log_offs: int
    """That no OSCC-E Server has confirmed, now."""
    fences: int
    """Leases that ran out as no renewal was answered, since the node began."""
    two_owners: int
    """Users for whom another owner was seen, since the node began."""
    refused: frozenset[str] = frozenset()
    """What the server of the bus refuses now, in its words."""


class Surroundings:
    """Compares what it is told with what it was told before, and logs what has changed.

    Invariant: one :meth:`look` writes at most one line for each thing, and none for what did not change.

    Args:
        sites: Their ids.
    """

    def __init__(self, sites: Iterable[str]) -> None:
        self.reaches: Final[Mapping[str, Reach]] = {site: Reach() for site in sites}
        self._away: Final[dict[str, set[Trouble | None]]] = {}
        """Sites that are not reached, and what was in the way since they were."""
        self._was = Facts(BusState.DEGRADED, 0, 0, 0)  # as a bus begins: nothing to tell yet

    def look(self, now: Facts) -> None:
        """Log what is otherwise than at the last look."""
        was, self._was = self._was, now
        if now.bus is not was.bus:
            (_LOG.warning if now.bus is BusState.DOWN else _LOG.info)("the bus has changed", bus=now.bus)
        for word in sorted(now.refused - was.refused):
            _LOG.error("bus_refuses", reason=word)
        for word in sorted(was.refused - now.refused):
            _LOG.info("bus_refuses_no_more", reason=word)
        if now.fences > was.fences:
            why = ",".join(sorted(now.refused)) or None
            _LOG.warning(
                "leases ran out: no renewal was answered", users=now.fences - was.fences, refused=why
            )
        if now.two_owners > was.two_owners:
            _LOG.warning("another node owns users of this one", users=now.two_owners - was.two_owners)
        self._tell_log_offs(was.log_offs, now.log_offs)
        for site, reach in self.reaches.items():
            self._tell_site(site, reach)

    def _tell_log_offs(self, before: int, now: int) -> None:
        if now and not before:
            _LOG.warning("log-offs wait for the OSCC-E Server", log_offs=now)
        elif before and not now:
            _LOG.info("no log-off waits any more")

    def _tell_site(self, site: str, reach: Reach) -> None:
        if reach.error is not None:
            causes = self._away.setdefault(site, set())
            if reach.cause not in causes:
                causes.add(reach.cause)
                cause = {} if reach.cause is None else {"cause": reach.cause}
                _LOG.warning("a site cannot be reached", site=site, error=reach.error, **cause)
        elif self._away.pop(site, None) is not None:
            _LOG.info("a site is reached again", site=site)


async def watch(surroundings: Surroundings, node: Node, telemetry: Telemetry, clock: Clock) -> None:
    """Let *surroundings* look at *node* every :data:`LOOK_S`, until cancelled."""
    counters = telemetry.self_fences, telemetry.dual_owner_observed
    while True:
        await clock.sleep(LOOK_S)
        fences, two_owners = (int(next(iter(each.collect())).samples[0].value) for each in counters)
        state, log_offs = node.exchange.machine.state, node.account.log_offs_pending
        surroundings.look(Facts(state, log_offs, fences, two_owners, node.bus_refusals))
