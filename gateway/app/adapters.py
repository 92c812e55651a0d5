"""Builders of a node's parts from its settings: limits, bus, tracing, and each site's upstream adapter."""

from __future__ import annotations

import asyncio
import importlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web

import gateway
from gateway.app.config import settings as config_settings
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import (
    BusSection,
    LimitsSection,
    SealingKey,
    SecretsSection,
    Settings,
    redis_url,
)
from gateway.app.config.settings import TracingSection as TracingSettings
from gateway.app.metrics import CountedAuthority, CountedUpstream
from gateway.app.status import SiteReach
from gateway.bus.connect import BusKeys
from gateway.bus.memory import MemoryBus, MemoryChannels, MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.bus.stores import BackendOptions, RedisBackend
from gateway.core.link import Linger
from gateway.core.rate_limits import SessionLimits
from gateway.core.registry import RegistryLimits
from gateway.domain.model import NodeId
from gateway.edge.policies import NumberPolicies, NumberPolicy
from gateway.edge.request_context import AdmissionLimits, EdgeSettings
from gateway.protocol.bodies import SiteView
from gateway.runtime.event_loop import Turns
from gateway.runtime.node import Cluster, SiteParts
from gateway.runtime.ports import Clock, Upstream
from gateway.telemetry import Tally, Telemetry
from gateway.upstream.asterisk.ami import AmiAddress
from gateway.upstream.asterisk.monitor import Timing
from gateway.upstream.asterisk.people import Rules
from gateway.upstream.asterisk.server import AsteriskServer, AsteriskSettings
from gateway.upstream.oscce.client import OsccServer

_SPANS_MODULE: Final = "gateway.app.spans"
_LOG: Final = structlog.get_logger("gateway.app")


class Tracing:
    """Tracing that does nothing: each argument is returned unchanged. A subclass traces."""

    def outgoing(self) -> aiohttp.TraceConfig | None:
        """Return the hook that adds the context of a trace to requests to OSCC-E; None: there is none."""
        return None

    def enter(self, app: web.Application) -> None:
        """Trace the log-ons that arrive at *app*, which is not started yet."""

    def upstream(self, upstream: Upstream) -> Upstream:
        """Return *upstream* with traced commands on its links."""
        return upstream

    def tally(self, telemetry: Telemetry) -> Tally:
        """Return a tally that counts, and traces takeovers."""
        return Tally(telemetry)

    def trace_id(self) -> str | None:
        """Return the id of the current task's trace, if there is one and it is sampled."""
        return None

    def close(self) -> None:
        """Send the remaining spans, within seconds. Blocks."""


@asynccontextmanager
async def open_tracing(settings: TracingSettings, clock: Clock) -> AsyncIterator[Tracing]:
    """Yield the tracing of the settings; it does nothing without a collector, or without the extra."""
    tracing = Tracing()
    if settings.endpoint is not None:
        try:
            tracing = importlib.import_module(_SPANS_MODULE).exporting(
                settings.endpoint, settings.sampled, clock
            )
        except ImportError:
            _LOG.warning("tracing_unavailable")
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)


HOST_CHARACTERS: Final = 48
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")


def node_id(settings: Settings, host: str, holder: str) -> NodeId:
    """Return the name of this node.

    Args:
        settings: May contain the name.
        host: Name of the machine, pod or container.
        holder: This process's life; distinguishes nodes of one host that listen on any free port.
    """
    if settings.node.name is not None:
        return NodeId(settings.node.name)
    named = _NOT_IN_NAMES.sub("-", host)[:HOST_CHARACTERS].lstrip("-._") or "node"
    return NodeId(f"{named}-{settings.client.port or holder[:8]}")


def edge_settings(settings: Settings) -> EdgeSettings:
    """Return the settings of the listeners for phones."""
    client = settings.client
    minimum = dict(text.split("=", maxsplit=1) for text in client.app_minimum)
    return EdgeSettings(
        version=gateway.__version__,
        sites=tuple(SiteView(site.id, site.display_name, site.applications) for site in settings.sites),
        tls=client.certificate is not None,
        insecure=client.insecure,
        trusted_proxies=client.trusted_proxies,
        origins=frozenset(client.origins),
        privacy_contact=settings.privacy.contact or None,
        privacy_statement_url=settings.privacy.statement_url,
        app_minimum=minimum,
        compress=client.compress,
        session=session_limits(settings.limits),
        admission=admission_limits(settings.limits),
    )


def session_limits(limits: LimitsSection) -> SessionLimits:
    """Return the limits of one connection."""
    return SessionLimits(
        devices=limits.devices,
        ping_s=limits.ping_s,
        pace_min_s=limits.pace_min_s,
        frames_per_s=limits.frames_per_s,
        frames_burst=limits.frames_burst,
        commands_in_flight=limits.commands_in_flight,
    )


def admission_limits(limits: LimitsSection) -> AdmissionLimits:
    """Return the limits of admission."""
    return AdmissionLimits(
        connections=limits.connections,
        unhelloed=limits.unhelloed,
        unhelloed_per_address=limits.unhelloed_per_address,
        handshakes_per_s=limits.handshakes_per_s,
        handshakes_burst=limits.handshakes_burst,
        handshakes_per_s_of_address=limits.handshakes_per_s_of_address,
        handshakes_burst_of_address=limits.handshakes_burst_of_address,
        requests_per_s_of_session=limits.requests_per_s_of_session,
        requests_burst_of_session=limits.requests_burst_of_session,
        requests_per_s_of_address=limits.requests_per_s_of_address,
        requests_burst_of_address=limits.requests_burst_of_address,
    )


def registry_limits(limits: LimitsSection) -> RegistryLimits:
    """Return the limits of phones."""
    return RegistryLimits(connections=limits.connections, devices=limits.devices)


def numbers(settings: Settings) -> NumberPolicies:
    """Return the remote numbers that each site allows."""
    return NumberPolicies(
        {
            site.id: NumberPolicy(
                country=site.country,
                allow=site.remote_numbers.allow,
                deny=site.remote_numbers.deny,
                own=site.remote_numbers.own,
            )
            for site in settings.sites
        }
    )


def linger(limits: LimitsSection) -> Linger:
    """Return how long users are kept whose phones have left."""
    return Linger(limits.linger_s, limits.linger_remote_assistant_s)


# ---- keyring ----


RawKeys = Sequence[tuple[str, bytes]]
"""(id, 32 secret bytes). The first seals, all open."""
KeyUser = Callable[[RawKeys], None]


class Keyring:
    """The sealing keys of one node. Its repr shows none.

    Args:
        keys: The first keys in force.
    """

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        self._keys: tuple[SealingKey, ...] = tuple(keys)
        self._holders: Final[list[KeyUser]] = []

    @property
    def raw(self) -> RawKeys:
        """The keys in the form that their users need."""
        return [(key.id, key.key.raw) for key in self._keys]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids, which may be shown."""
        return tuple(key.id for key in self._keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Their ids with check values, which may be shown as well."""
        return tuple(key.name for key in self._keys)

    def subscribe(self, holder: KeyUser) -> None:
        """Call *holder* with changed keys."""
        self._holders.append(holder)

    def replace(self, keys: Sequence[SealingKey]) -> bool:
        """Put *keys* in force everywhere; return whether another one seals now."""
        before, self._keys = self._keys, tuple(keys)
        if self._keys != before:
            for holder in self._holders:
                holder(self.raw)
        return self._keys[0] != before[0]


# ---- bus ----


@asynccontextmanager
async def open_bus(
    bus: BusSection,
    secrets: SecretsSection,
    clock: Clock,
    *,
    jitter: Callable[[], float],
    draw: Callable[[int], bytes],
    options: BackendOptions | None = None,
    keyring: Keyring | None = None,
) -> AsyncIterator[Cluster]:
    """Yield the parts that the nodes of a gateway share; the bus may not be connected yet.

    Args:
        bus: The settings of the bus.
        secrets: The secrets of all nodes.
        clock: The only time.
        jitter: Draws from [0, 1).
        draw: Draws that many unpredictable bytes.
        options: See :class:`gateway.bus.stores.BackendOptions`.
        keyring: Passes on changed sealing keys.

    Raises:
        ConfigError: The file of the authority cannot be used.
    """
    url = redis_url(bus)
    if url is None:
        yield Cluster(
            MemoryBus(MemoryChannels()), MemoryLeases(clock), MemoryNodeRegistry(clock), MemoryStore(clock)
        )
        return
    keys = BusKeys([(key.id, key.key.raw) for key in secrets.sealing_keys], secrets.pseudonym_key.raw)
    try:
        site = RedisBackend(url, keys, clock, jitter, draw, options=options)
    except OSError:  # ssl.SSLError is one: the file contains no certificate
        raise ConfigError(["bus.ca_file holds no certificate that can be read."]) from None
    if keyring is not None:
        keyring.subscribe(site.seals.rekey)
    async with site:
        yield Cluster(site.bus, site.leases, site.registry, site.shared, site.refusals)


# ---- sites ----


AMI_PORT: Final = 5038
AMI_TLS_PORT: Final = 5039
LINKS_PER_S: Final = 500.0
"""Budget of links of an Asterisk's site: they are views in this process, and send it nothing."""

SiteServer = OsccServer | AsteriskServer
"""The server behind a site."""


class Randomness(NamedTuple):
    """Sources of random numbers: *jitter* returns numbers in [0, 1), *draw* that many bytes."""

    jitter: Callable[[], float]
    draw: Callable[[int], bytes]


def open_server(
    site: config_settings.SiteSection,
    clock: Clock,
    tls: ssl.SSLContext | None,
    turns: Turns,
    *,
    trace: aiohttp.TraceConfig | None,
    is_alone: bool,
    chance: Randomness,
) -> SiteServer:
    """Return the adapter of a site; ``async with`` opens it.

    Args:
        site: As configured.
        clock: The only time.
        tls: Verifies the server; None for clear text.
        turns: Reads the links.
        trace: Called for each HTTP request.
        is_alone: Whether no other node serves the site.
        chance: Sources of random numbers and bytes.
    """
    if site.asterisk is None:
        return OsccServer(site.id, site.url, clock, tls=tls, turns=turns, trace=trace)
    settings = asterisk_settings(site, site.asterisk, tls, is_alone=is_alone)
    return AsteriskServer(site.id, settings, clock, jitter=chance.jitter, draw=chance.draw)


def asterisk_settings(
    site: config_settings.SiteSection,
    asterisk: config_settings.AsteriskSection,
    tls: ssl.SSLContext | None,
    *,
    is_alone: bool,
) -> AsteriskSettings:
    """Return the settings of the adapter for an Asterisk."""
    parts = urlsplit(site.url)
    port = parts.port or (AMI_PORT if parts.scheme == "ami" else AMI_TLS_PORT)
    secret = asterisk.secret.get_secret_value()
    return AsteriskSettings(
        address=AmiAddress(parts.hostname or "", port, asterisk.user, secret, tls),
        people_file=asterisk.people_file,
        rules=Rules(
            begin_reason=asterisk.begin_reason,
            unavailable_reasons=asterisk.unavailable_reasons,
            work_reasons=asterisk.work_reasons,
            wrap_up_s=asterisk.wrap_up_s,
            rejoins=asterisk.wrap_up == "rejoin",
            penalty_max=asterisk.penalty_max,
            remote_context=asterisk.remote_context,
            shared_last_call=asterisk.shared_last_call,
        ),
        timing=Timing(asterisk.look_s, asterisk.figures_s),
        idle_timeout_s=asterisk.idle_timeout_s,
        session_s=asterisk.session_s,
        is_alone=is_alone,
    )


def rates(settings: Settings) -> Mapping[str, float | None]:
    """Return the rate of log-ons of each site; None: the general one."""
    return {site.id: site.log_ons_per_s for site in settings.sites}


def measured_sites(
    servers: Mapping[str, SiteServer],
    telemetry: Telemetry,
    tracing: Tracing,
    reaches: Mapping[str, SiteReach],
    log_ons_per_s: Mapping[str, float | None],
) -> Mapping[str, SiteParts]:
    """Return the sites of *servers* by id, with counters and tracing; *reaches* records each reach.

    *log_ons_per_s*: rates of sites with a rate of their own.
    """
    for site, server in servers.items():
        if isinstance(server, AsteriskServer):
            telemetry.asterisk_waiting[site, "actions"].set_function(partial(_actions, server))
            telemetry.asterisk_waiting[site, "events"].set_function(partial(_events, server))
    return {
        site: SiteParts(
            tracing.upstream(CountedUpstream(server, telemetry, reaches[site])),
            CountedAuthority(server, site, telemetry, reaches[site]),
            LINKS_PER_S if isinstance(server, AsteriskServer) else None,
            log_ons_per_s.get(site),
        )
        for site, server in servers.items()
    }


def _actions(server: AsteriskServer) -> int:
    return server.monitor.under_way


def _events(server: AsteriskServer) -> int:
    return server.monitor.publisher.waiting
