"""What can be set about the doors for phones?

Filled by the configuration; the defaults are the protocol's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from gateway.core.effects import SessionLimits
from gateway.protocol.bodies import SiteView
from gateway.protocol.frames import COMMANDS


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """How many may come in, and how fast. Whatever is refused is told when to come back."""

    connections: int = 20_000
    """WebSockets of this node."""
    unhelloed: int = 2_000
    """WebSockets of this node that have not shown a valid token yet."""
    unhelloed_per_address: int = 200
    """The same of one address, or of one user whose token the upgrade shows: beyond it the oldest goes. A
    whole office may come back behind one address."""
    handshakes_per_s: float = 500.0
    """Upgrades and log-ons of this node: what it bears after another node's end."""
    handshakes_burst: int = 2_000
    handshakes_per_s_of_address: float = 100.0
    handshakes_burst_of_address: int = 500
    requests_per_s_of_session: float = 20.0
    """HTTP requests that show the token of one session; an export counts as 20, a list or an end as 10."""
    requests_burst_of_session: int = 400
    requests_per_s_of_address: float = 200.0
    """HTTP requests of one address that show no token that opens: a whole office may load the web client."""
    requests_burst_of_address: int = 4_000
    addresses: int = 20_000
    """Addresses whose rate is remembered; the one that came longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Everything that the edge is told about its place in the world."""

    version: str
    sites: tuple[SiteView, ...]
    """The allow-list: clients name an id of these, never an address."""
    name: str = "OSCC gateway"
    tls: bool = False
    """The listener itself speaks TLS."""
    insecure: bool = False
    """Passwords and tokens may come in clear text without a trusted proxy."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Who ends TLS for clients, and vouches for it unless he says otherwise."""
    origins: frozenset[str] = frozenset()
    """Exact origins whose pages may connect; empty: the same host only."""
    privacy_contact: str | None = None
    privacy_statement_url: str | None = None
    app_minimum: Mapping[str, str] = field(default_factory=dict)
    """Platform → the oldest version of the app that may log on; others may always."""
    capabilities: tuple[str, ...] = tuple(COMMANDS)
    session: SessionLimits = field(default_factory=SessionLimits)
    doors: DoorLimits = field(default_factory=DoorLimits)
    log_on_floor_s: float = 0.3
    """Refused credentials are answered after a multiple of this, whatever was wrong with them."""
    log_off_grace_s: float = 24 * 3600.0
    """For how long an expired token still logs off."""
