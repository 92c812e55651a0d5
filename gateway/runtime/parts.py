"""Parts and limits of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.core.link import Linger
from gateway.core.rate_limits import LOG_ON_PART, Budget
from gateway.core.registry import RegistryLimits
from gateway.domain.model import NodeId
from gateway.runtime.ports import Authority, Bus, Leases, NodeRegistry, SharedStore, Upstream


class Cluster(NamedTuple):
    """What the nodes of a gateway share."""

    bus: Bus
    leases: Leases
    registry: NodeRegistry
    shared: SharedStore
    refusals: Callable[[], frozenset[str]] = frozenset
    """Returns what the server of these refuses now: words of ``ENTRY_REFUSALS`` and ``WRITE_REFUSALS``."""


class SiteParts(NamedTuple):
    """One organisation's contact centre."""

    upstream: Upstream
    authority: Authority
    links_per_s: float | None = None
    """Log-ons and links that it is asked for; None: as many as log-ons."""
    log_ons_per_s: float | None = None
    """What *links_per_s* is without a number of its own, and twice the log-ons; None: as any site."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node is, and how much it takes."""

    node: NodeId
    holder: str
    """This process's life: another start of the same node is another holder."""
    limits: RegistryLimits = field(default_factory=RegistryLimits)
    linger: Linger = field(default_factory=Linger)
    log_ons_per_s: float = 20.0
    """Log-ons that a site is asked for."""
    log_ons_in_flight: int = 32
    version: str = ""
    accepts_per_s: float = 100.0
    """Handshakes that it takes on."""
    key_names: Callable[[], tuple[str, ...]] = tuple
    """Returns what may be shown of the sealing keys in force, the one that seals first."""

    def links_per_s(self, site: SiteParts) -> float:
        """Return how many log-ons and links a site is asked for, by all nodes together."""
        return site.links_per_s or site.log_ons_per_s or self.log_ons_per_s

    def budget(self, site: SiteParts) -> Budget:
        """Return a site's budget. Log-ons have half of its rate of log-ons, also where links may be more."""
        rate_per_s = self.links_per_s(site)
        return Budget(
            rate_per_s=rate_per_s,
            burst=rate_per_s,
            in_flight_max=self.log_ons_in_flight,
            log_ons_max_per_s=LOG_ON_PART * (site.log_ons_per_s or self.log_ons_per_s),
        )
