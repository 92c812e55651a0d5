"""What do the settings mean to the rooms that obey them?"""

from __future__ import annotations

import re
from typing import Final

import gateway
from gateway.app.config_sections import Limits, Settings
from gateway.core.effects import SessionLimits
from gateway.core.linger import Linger
from gateway.core.registry import RegistryLimits
from gateway.domain.model import NodeId
from gateway.edge.numbers import Numbers, Policy
from gateway.edge.settings import DoorLimits, EdgeSettings
from gateway.protocol.bodies import SiteView

HOST_CHARACTERS: Final = 48
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")


def node_id(settings: Settings, host: str, holder: str) -> NodeId:
    """Return what other nodes call this one.

    Args:
        settings: Name it, or not.
        host: Name of the machine, pod or container.
        holder: This process's life; tells nodes of one host apart that listen on any free port.
    """
    if settings.node.name is not None:
        return NodeId(settings.node.name)
    named = _NOT_IN_NAMES.sub("-", host)[:HOST_CHARACTERS].lstrip("-._") or "node"
    return NodeId(f"{named}-{settings.client.port or holder[:8]}")


def edge_settings(settings: Settings) -> EdgeSettings:
    """Return what the doors for phones are told."""
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
        session=session_limits(settings.limits),
        doors=door_limits(settings.limits),
    )


def session_limits(limits: Limits) -> SessionLimits:
    """Return what one connection may take."""
    return SessionLimits(
        devices=limits.devices,
        ping_s=limits.ping_s,
        pace_min_s=limits.pace_min_s,
        frames_per_s=limits.frames_per_s,
        frames_burst=limits.frames_burst,
        commands_in_flight=limits.commands_in_flight,
    )


def door_limits(limits: Limits) -> DoorLimits:
    """Return how many may come in, and how fast."""
    return DoorLimits(
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


def registry_limits(limits: Limits) -> RegistryLimits:
    """Return how many phones there may be."""
    return RegistryLimits(connections=limits.connections, devices=limits.devices)


def numbers(settings: Settings) -> Numbers:
    """Return which remote numbers each site allows."""
    return Numbers(
        {
            site.id: Policy(
                country=site.country,
                allow=site.remote_numbers.allow,
                deny=site.remote_numbers.deny,
                own=site.remote_numbers.own,
            )
            for site in settings.sites
        }
    )


def linger(limits: Limits) -> Linger:
    """Return how long users stay whose phones have left."""
    return Linger(limits.linger_s, limits.linger_remote_assistant_s)
