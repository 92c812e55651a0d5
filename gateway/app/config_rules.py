"""Which settings do not fit together? One sentence per fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.app.config_bus_url import MEMORY, address
from gateway.app.config_sections import Admin, Client, Ops, Settings, Site
from gateway.app.config_types import LOOPBACK, socket_path
from gateway.domain.model import Application

ADMIN_TOKEN_CHARACTERS: Final = 16
"""Fewer could be guessed."""


def faults(settings: Settings) -> Iterator[str]:
    """Yield what must not be, although each setting alone is within its bounds."""
    yield from _transport(settings)
    yield from _bus(settings)
    yield from _keys(settings)
    yield from _listeners(settings)
    yield from _admin_token(settings)
    seen = Counter(site.id for site in settings.sites)
    for site_id, times in seen.items():
        if times > 1:
            yield f"{times} sites have the id {site_id}: an id names one site."
    for place, site in enumerate(settings.sites):
        yield from _site(place, site)


def _transport(settings: Settings) -> Iterator[str]:
    client = settings.client
    if (client.certificate is None) != (client.key is None):
        there, missing = ("certificate", "key") if client.key is None else ("key", "certificate")
        yield f"client.{there} is set without client.{missing}: TLS needs both."
    elif client.certificate is None and not client.insecure and not client.trusted_proxies:
        yield (
            "The client listener would speak clear text: set client.certificate and client.key, name the "
            "proxy that ends TLS in client.trusted_proxies, or accept it with client.insecure = true."
        )
    if client.certificate is not None and client.insecure:
        yield "client.insecure and client.certificate contradict each other: keep one."


def _bus(settings: Settings) -> Iterator[str]:
    bus = settings.bus
    where = address(bus.url)
    if bus.ca_file is not None and (where is None or not where.tls):
        yield "bus.ca_file is set, but bus.url is not rediss:// or rediss+sentinel://."
    elif bus.ca_file is not None and where is not None and where.ca_file is not None:
        yield "bus.ca_file and the ca_file of bus.url are both set: keep one."
    if bus.url != MEMORY and settings.secrets is None:
        yield (
            "[secrets] is missing: only a single node on memory:// makes its own; "
            "make them once with `oscc-gateway keys` and give them to all nodes."
        )


def _listeners(settings: Settings) -> Iterator[str]:
    socket = socket_path(settings.admin.host)
    if settings.admin.host not in LOOPBACK and socket is None:
        yield (
            "admin.host must be 127.0.0.1, ::1, localhost or unix:/path: "
            "operators come from this machine only."
        )
    named: list[tuple[str, Client | Ops | Admin]] = [("client", settings.client), ("ops", settings.ops)]
    if socket is None:
        named.append(("admin", settings.admin))
    ports: dict[int, str] = {}
    for name, listener in named:
        if listener.port in ports:
            yield f"{name}.port is {listener.port}, which {ports[listener.port]}.port is already."
        elif listener.port != 0:
            ports[listener.port] = name


def _admin_token(settings: Settings) -> Iterator[str]:
    token = settings.admin.token
    if token is not None and len(token.get_secret_value()) < ADMIN_TOKEN_CHARACTERS:
        yield (
            f"admin.token has fewer than {ADMIN_TOKEN_CHARACTERS} characters: it could be guessed. Make one "
            "with `openssl rand -hex 24`."
        )


def _site(place: int, site: Site) -> Iterator[str]:
    if Application.REMOTE_ASSISTANT in site.applications and site.country is None:
        yield (
            f"sites[{place}].country is missing: site {site.id} offers the Remote Assistant, whose numbers "
            'are checked against the site\'s country; name it, or set applications = ["dashboard"].'
        )
    parts = urlsplit(site.url)
    if site.asterisk is not None or parts.scheme in {"ami", "amis"}:
        yield from _asterisk(place, site, parts)
        return
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not site.insecure:
        yield (
            f"sites[{place}].url is clear text to another machine: use https://, "
            f"or accept it with insecure = true for site {site.id}."
        )
    if parts.scheme == "http" and site.ca_file is not None:
        yield f"sites[{place}].ca_file is set, but sites[{place}].url is not https://."


def _asterisk(place: int, site: Site, parts: SplitResult) -> Iterator[str]:
    if site.asterisk is None:
        yield f"sites[{place}].url is an Asterisk's, but site {site.id} has no table [sites.asterisk]."
    elif parts.scheme not in {"ami", "amis"}:
        yield f"sites[{place}] has a table [sites.asterisk], so its url must be ami:// or amis://."
    if parts.scheme == "ami" and parts.hostname not in LOOPBACK and not site.insecure:
        yield (
            f"sites[{place}].url is clear text to another machine: use amis://, "
            f"or accept it with insecure = true for site {site.id}."
        )
    if parts.scheme == "ami" and site.ca_file is not None:
        yield f"sites[{place}].ca_file is set, but sites[{place}].url is not amis://."


def _keys(settings: Settings) -> Iterator[str]:
    keys = settings.secrets.sealing_keys if settings.secrets is not None else ()
    for key_id, times in Counter(key.id for key in keys).items():
        if times > 1:
            yield f"{times} keys of secrets.sealing_keys have the id {key_id}: an id names one key."
