"""Settings of the edge. The configuration fills them; the defaults are the protocol's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from gateway.core.effects import SessionLimits
from gateway.protocol.bodies import SiteView
from gateway.protocol.frames import COMMANDS


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Limits of admission. Each refusal contains the time to retry."""

    connections: int = 20_000
    """WebSockets of this node."""
    unhelloed: int = 2_000
    """WebSockets of this node without a valid token."""
    unhelloed_per_address: int = 200
    """The same for one address, or for the user of the upgrade's token: beyond it the oldest is closed. All
    phones of an office may share an address."""
    handshakes_per_s: float = 500.0
    """Upgrades and log-ons of this node: what it can serve after another node has ended."""
    handshakes_burst: int = 2_000
    handshakes_per_s_of_address: float = 100.0
    handshakes_burst_of_address: int = 500
    requests_per_s_of_session: float = 20.0
    """HTTP requests that show the token of one session; an export counts as 20, a list or an end as 10."""
    requests_burst_of_session: int = 400
    requests_per_s_of_address: float = 200.0
    """HTTP requests of one address without a valid token: all users of an office may load the web client."""
    requests_burst_of_address: int = 4_000
    addresses: int = 20_000
    """Addresses whose rate is stored; the one used longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Settings of the edge."""

    version: str
    sites: tuple[SiteView, ...]
    """Allowed sites. Clients send the id of a site, never an address."""
    name: str = "OSCC gateway"
    tls: bool = False
    """Whether the listener uses TLS."""
    insecure: bool = False
    """Whether passwords and tokens are accepted in clear text without a trusted proxy."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of the proxies that end TLS for clients."""
    origins: frozenset[str] = frozenset()
    """Exact origins whose pages may connect; empty: the same host only."""
    privacy_contact: str | None = None
    privacy_statement_url: str | None = None
    app_minimum: Mapping[str, str] = field(default_factory=dict)
    """Platform → oldest version of the app that may log on. Other platforms have no minimum."""
    capabilities: tuple[str, ...] = tuple(COMMANDS)
    session: SessionLimits = field(default_factory=SessionLimits)
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    log_on_floor_s: float = 0.3
    """Refused credentials are answered after a multiple of this time, whatever was wrong with them."""
    log_off_grace_s: float = 24 * 3600.0
    """How long an expired token still logs off."""
