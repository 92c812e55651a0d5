"""The contact centres of a node's sites: which adapter each has, and what is counted of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from gateway.app import config_sections
from gateway.app.counted_authority import CountedAuthority
from gateway.app.counted_upstream import CountedUpstream
from gateway.app.surroundings import Reach
from gateway.app.tracing import Tracing
from gateway.runtime.parts import Site
from gateway.runtime.ports import Clock
from gateway.runtime.turns import Turns
from gateway.telemetry import Telemetry
from gateway.upstream.asterisk.connection import AmiAddress
from gateway.upstream.asterisk.monitor import Timing
from gateway.upstream.asterisk.server import AsteriskServer, AsteriskSettings
from gateway.upstream.asterisk.view import Rules
from gateway.upstream.client import OsccServer

AMI_PORT: Final = 5038
AMI_TLS_PORT: Final = 5039
LINKS_PER_S: Final = 500.0
"""Links of an Asterisk's site are views in this process: they ask nothing of it."""

Server = OsccServer | AsteriskServer
"""What stands behind a site."""


class Chance(NamedTuple):
    """Where random numbers come from: *jitter* returns numbers in [0, 1), *draw* so many bytes."""

    jitter: Callable[[], float]
    draw: Callable[[int], bytes]


def open_server(
    site: config_sections.Site,
    clock: Clock,
    tls: ssl.SSLContext | None,
    turns: Turns,
    *,
    trace: aiohttp.TraceConfig | None,
    is_alone: bool,
    chance: Chance,
) -> Server:
    """Return the adapter of a site; ``async with`` opens it.

    Args:
        site: As configured.
        clock: The only time.
        tls: Verifies the server; None for clear text.
        turns: When links are read.
        trace: Is called for each HTTP request.
        is_alone: Whether no other node serves the site.
        chance: Where random numbers and bytes come from.
    """
    if site.asterisk is None:
        return OsccServer(site.id, site.url, clock, tls=tls, turns=turns, trace=trace)
    settings = asterisk_settings(site, site.asterisk, tls, is_alone=is_alone)
    return AsteriskServer(site.id, settings, clock, jitter=chance.jitter, draw=chance.draw)


def asterisk_settings(
    site: config_sections.Site,
    asterisk: config_sections.Asterisk,
    tls: ssl.SSLContext | None,
    *,
    is_alone: bool,
) -> AsteriskSettings:
    """Return what the adapter for an Asterisk needs of the configuration."""
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


def counted_sites(
    servers: Mapping[str, Server], telemetry: Telemetry, tracing: Tracing, reaches: Mapping[str, Reach]
) -> Mapping[str, Site]:
    """Return the sites of *servers*: counted, traced, and each noted in *reaches*, all by the site's id."""
    return {
        site: Site(
            tracing.upstream(CountedUpstream(server, telemetry, reaches[site])),
            CountedAuthority(server, site, telemetry, reaches[site]),
            LINKS_PER_S if isinstance(server, AsteriskServer) else None,
        )
        for site, server in servers.items()
    }
