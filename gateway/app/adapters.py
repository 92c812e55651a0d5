"""Builders of a node's parts from its settings: limits, TLS, keys, bus, tracing, each site's adapter."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import ipaddress
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

import gateway
from gateway.app.config import settings as config_settings
from gateway.app.config import sources as config_sources
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import (
    MEMORY,
    BusSection,
    ClientSection,
    LimitsSection,
    SealingKey,
    SecretsSection,
    Settings,
    SiteSection,
)
from gateway.app.config.settings import TracingSection as TracingSettings
from gateway.app.config.sources import readable_by_others
from gateway.app.metrics import CountedAuthority, CountedUpstream, SiteReach
from gateway.bus import NOBODY
from gateway.bus.memory import MemoryBus, MemoryChannels, MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.core.link import Linger
from gateway.core.rate_limits import SessionLimits
from gateway.core.registry import RegistryLimits
from gateway.domain.model import NodeId
from gateway.edge.policies import NumberPolicies, NumberPolicy
from gateway.edge.request_context import AdmissionLimits, EdgeSettings
from gateway.protocol.bodies import SiteView
from gateway.runtime.event_loop import LinkScheduler
from gateway.runtime.ports import Clock, Cluster, SiteParts, Upstream
from gateway.telemetry import RuntimeCounters, Telemetry
from gateway.upstream.asterisk import AsteriskServer, AsteriskSettings
from gateway.upstream.asterisk.ami import AmiAddress
from gateway.upstream.asterisk.monitor import Monitor, Timing
from gateway.upstream.asterisk.people import Rules
from gateway.upstream.oscce import OsccServer
from gateway.upstream.oscce.http import tls_context

_SPANS_MODULE: Final = "gateway.app.spans"
_LOG: Final = logging.getLogger("gateway.app")


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

    def counters(self, telemetry: Telemetry) -> RuntimeCounters:
        """Return counters; a subclass also traces takeovers."""
        return RuntimeCounters(telemetry)

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
    """Return the configured name of this node, or one made of *host* and its port.

    *holder*, this process's life, distinguishes nodes of one host that listen on any free port.
    """
    if settings.node.name is not None:
        return NodeId(settings.node.name)
    named = _NOT_IN_NAMES.sub("-", host)[:HOST_CHARACTERS].lstrip("-._") or "node"
    return NodeId(f"{named}-{settings.client.port or holder[:8]}")


L = TypeVar("L", SessionLimits, AdmissionLimits, RegistryLimits)


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
        session=limits_of(SessionLimits, settings.limits),
        admission=limits_of(AdmissionLimits, settings.limits),
    )


def limits_of(kind: type[L], limits: LimitsSection) -> L:
    """Return the limits of a *kind*: its fields have the names of the settings, others their defaults."""
    return kind(**limits.model_dump(include={field.name for field in fields(kind)}))


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


# ---- certificates ----


WARNING_S: Final = 30 * 86_400
"""Time before the end of a certificate at which a warning is logged."""
FILE_BYTES_MAX: Final = 256 * 1024
DAY_S: Final = 86_400
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""Errors of the library for an extension or a signature that is missing or unreadable."""


@dataclass(frozen=True, slots=True, repr=False)
class CertificatePair:
    """The content of the files of a certificate and its key. Its repr shows nothing."""

    certificate: bytes
    key: bytes


class CertificateProblem(NamedTuple):
    """A problem, as a sentence. *is_fault*: phones will not connect; otherwise it is advice."""

    text: str
    is_fault: bool


def read_pair(client: ClientSection) -> CertificatePair | None:
    """Return the content of the files; None for a listener in clear text.

    Raises:
        ConfigError: One cannot be read, or every user may read the key.
    """
    if client.certificate is None or client.key is None:
        return None
    if readable_by_others(client.key):
        raise ConfigError([config_sources.readable_fault("client.key", client.key)])
    return CertificatePair(
        read_limited("client.certificate", client.certificate), read_limited("client.key", client.key)
    )


def read_limited(name: str, path: Path) -> bytes:
    """Return the content of the file at *path*, which the setting *name* names.

    Raises:
        ConfigError: It cannot be read, or is much too large.
    """
    try:
        with path.open("rb") as file:
            found = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([f"{name} {path} cannot be read: {error.strerror}."]) from error
    if len(found) > FILE_BYTES_MAX:
        raise ConfigError([f"{name} {path} is larger than {FILE_BYTES_MAX // 1024} KiB."])
    return found


def chain_of(client: ClientSection, pair: CertificatePair) -> list[x509.Certificate]:
    """Return the certificates of *pair*, the listener's own first.

    Raises:
        ConfigError: There is none.
    """
    try:
        return x509.load_pem_x509_certificates(pair.certificate)
    except ValueError as error:
        raise ConfigError([f"client.certificate {client.certificate} is not a PEM certificate."]) from error


def expires_at_s(chain: Sequence[x509.Certificate]) -> float:
    """Return when the first of *chain* ends, in seconds since 1970: after that phones refuse it."""
    return min(each.not_valid_after_utc.timestamp() for each in chain)


def host_names(certificate: x509.Certificate) -> list[str]:
    """Return the hosts of *certificate*. The name of its subject does not count (RFC 9525 §2)."""
    names, addresses = _names_and_addresses(certificate)
    return [*names, *addresses]


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Return whether browsers accept *certificate* for *host*, a name or an address.

    A wildcard stands for the whole first label and for no more (RFC 9525 §6.3), and not right above the last
    one.
    """
    names, addresses = _names_and_addresses(certificate)
    try:
        return str(ipaddress.ip_address(host)) in addresses
    except ValueError:
        sought = _in_ascii(host)
    first, _, rest = sought.partition(".")
    patterns = {sought} | ({f"*.{rest}"} if first and "." in rest else set())
    return not patterns.isdisjoint(map(_in_ascii, names))


def certificate_problems(
    client: ClientSection, chain: Sequence[x509.Certificate], wall_ms: int
) -> Iterator[CertificateProblem]:
    """Yield the faults of *chain* for phones, and advice about it."""
    of = f"client.certificate {client.certificate}"
    yield from _validity(of, chain, wall_ms / 1000)
    if not host_names(chain[0]):
        yield CertificateProblem(
            f"{of} names no host in its subjectAltName: phones refuse it.", is_fault=True
        )
    yield from _chain_order(of, chain)


def _names_and_addresses(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the names and the addresses of *certificate*."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        return [], []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return found.get_values_for_type(x509.DNSName), addresses


def _in_ascii(host: str) -> str:
    """Return *host* in the form of certificates, or unchanged where no certificate can have it."""
    with suppress(UnicodeError):  # a label is empty or too long: no certificate has it
        host = host.encode("idna").decode("ascii")
    return host.lower().removesuffix(".")


def _validity(of: str, chain: Sequence[x509.Certificate], now_s: float) -> Iterator[CertificateProblem]:
    begins_at_s = max(each.not_valid_before_utc.timestamp() for each in chain)
    left_s = expires_at_s(chain) - now_s
    if begins_at_s > now_s:
        yield CertificateProblem(
            f"{of} is not valid before {_day(begins_at_s)}: phones refuse it.", is_fault=True
        )
    if left_s <= 0:
        yield CertificateProblem(
            f"{of} expired on {_day(expires_at_s(chain))}: phones refuse it.", is_fault=True
        )
    elif left_s < WARNING_S:
        yield CertificateProblem(f"{of} expires in {left_s / DAY_S:.0f} days.", is_fault=False)


def _chain_order(of: str, chain: Sequence[x509.Certificate]) -> Iterator[CertificateProblem]:
    """Each certificate must have been issued by the one that follows it (RFC 5246 §7.4.2)."""
    for number, (each, issuer) in enumerate(pairwise(chain), 1):
        if not _issued(each, issuer):
            yield CertificateProblem(
                f"{of}: certificate {number + 1} of {len(chain)} did not issue certificate {number}; the "
                "listener's own comes first, then its issuer, and so on.",
                is_fault=True,
            )
    if len(chain) > 1:
        return
    if _issued(chain[0], chain[0]):
        yield CertificateProblem(
            f"{of} is self-signed: only devices on which it is installed trust it.", is_fault=False
        )
    else:
        yield CertificateProblem(
            f"{of} comes without its issuer: append the issuer to the file, "
            "unless phones trust it as a root.",
            is_fault=False,
        )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_UNREADABLE, TypeError, InvalidSignature):
        return False
    return True


def _day(at_s: float) -> str:
    return f"{dt.datetime.fromtimestamp(at_s, dt.UTC):%Y-%m-%d}"


# ---- TLS contexts ----


CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Cipher suites of TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 §4.2), as all of
1.3.
"""


def client_context(client: ClientSection) -> ssl.SSLContext | None:
    """Return the context of the listener for phones; None when it speaks clear text.

    TLS 1.2 at least (RFC 9325 §3.1.1). A phone that comes back resumes with a ticket, which needs no
    signature. Keys of this process seal the tickets, so they end with it.

    Raises:
        ConfigError: A file cannot be read, is no PEM, or the two do not belong together.
    """
    pair = read_pair(client)
    return None if pair is None else server_context(client, pair)


def server_context(client: ClientSection, pair: CertificatePair) -> ssl.SSLContext:
    """Return a context with *pair*, the content of the files of *client*.

    Raises:
        ConfigError: It is no PEM, or the two do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 1.1 allowed it: one connection, many handshakes
    context.set_ciphers(CIPHERS)
    try:
        load_pair(context, pair)
    except (ssl.SSLError, ValueError) as error:
        fault = (
            f"client.certificate {client.certificate} and client.key {client.key} do not work together: "
            "both must be PEM, the key without a password and long enough (RSA 2048, EC P-256), and the key "
            "must be the certificate's."
        )
        raise ConfigError([fault]) from error
    chain_of(client, pair)
    return context


def load_pair(context: ssl.SSLContext, pair: CertificatePair) -> None:
    """Use *pair* for handshakes of *context* that begin from now on; others keep theirs.

    Raises:
        ConfigError: The system has no means to read them.
        ssl.SSLError: It is no PEM, or the two do not belong together.
        ValueError: The key has a password.
    """
    with _in_memory_file(pair.certificate) as certificate, _in_memory_file(pair.key) as key:
        # a password is refused: without a reader a prompt would block
        context.load_cert_chain(certificate, key, password=_no_password)


def site_context(place: int, site: SiteSection) -> ssl.SSLContext | None:
    """Return the context that verifies a site's certificate; None for a clear-text site.

    Raises:
        ConfigError: ``ca_file`` cannot be read or contains no certificate.
    """
    if not site.url.startswith(("https://", "amis://")):
        return None
    held = read_authorities(place, site)
    return tls_context() if held is None else trust_context(place, site, held)


def read_authorities(place: int, site: SiteSection) -> bytes | None:
    """Return the content of a site's ``ca_file``; None where the system's authorities are trusted.

    Raises:
        ConfigError: It cannot be read.
    """
    return None if site.ca_file is None else read_limited(_ca_setting(place), site.ca_file)


def trust_context(place: int, site: SiteSection, held: bytes) -> ssl.SSLContext:
    """Return the context that verifies a site's certificate with *held*, the content of its ``ca_file``.

    Raises:
        ConfigError: There is no certificate in it.
    """
    try:
        with _in_memory_file(held) as path:
            return tls_context(Path(path))
    except ssl.SSLError as error:
        raise ConfigError([f"{_ca_setting(place)} {site.ca_file} contains no PEM certificate."]) from error


def _ca_setting(place: int) -> str:
    return f"sites[{place}].ca_file"


@contextmanager
def _in_memory_file(held: bytes) -> Iterator[str]:
    """Give bytes a path, as the library needs, without writing them to a disk.

    Raises:
        ConfigError: The system has no such path, or the library cannot open it.
    """
    try:
        number = os.memfd_create("pem")
        try:
            with os.fdopen(number, "wb", closefd=False) as file:
                file.write(held)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
    except ssl.SSLError:  # also an OSError, but about the content
        raise
    except OSError as error:
        fault = f"Certificates and keys cannot be held in memory: {error.strerror}."
        raise ConfigError([fault]) from error


def _no_password() -> str:
    raise ValueError("the key has a password")


# ---- keyring ----


RawKeys = Sequence[tuple[str, bytes]]
"""(id, 32 secret bytes). The first seals, all open."""
KeyUser = Callable[[RawKeys], None]


class Keyring:
    """The sealing keys of one node. Its repr shows none."""

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


def redis_url(bus: BusSection) -> str | None:
    """Return the address of Redis with the log-ins and the authority of *bus*; None for ``memory://``."""
    if bus.url == MEMORY:
        return None
    url = bus.url
    if bus.password is not None:
        scheme, _, rest = url.partition("://")
        url = f"{scheme}://{_quoted(bus.user or '')}:{_quoted(bus.password.get_secret_value())}@{rest}"
    options = {"sentinel_user": bus.sentinel_user, "ca_file": bus.ca_file and str(bus.ca_file)}
    if bus.sentinel_password is not None:
        options["sentinel_password"] = bus.sentinel_password.get_secret_value()
    added = "&".join(f"{name}={_quoted(value)}" for name, value in options.items() if value)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


def _quoted(text: str) -> str:
    return quote(text, safe="")


@asynccontextmanager
async def open_bus(
    bus: BusSection,
    secrets: SecretsSection,
    clock: Clock,
    *,
    jitter: Callable[[], float],
    draw: Callable[[int], bytes],
    node: NodeId = NOBODY,
    renewed: Callable[[float], None] | None = None,
    keyring: Keyring | None = None,
) -> AsyncIterator[Cluster]:
    """Yield the parts that the nodes of a gateway share; the bus may not be connected yet.

    *jitter* draws from [0, 1), *draw* that many unpredictable bytes. *renewed* is called with the seconds
    that each renewal of leases took. Without a *node* the bus receives no messages.

    Raises:
        ConfigError: The file of the authority cannot be used.
    """
    url = redis_url(bus)
    if url is None:
        yield Cluster(
            MemoryBus(MemoryChannels()), MemoryLeases(clock), MemoryNodeRegistry(clock), MemoryStore(clock)
        )
        return
    from gateway.bus.connect import BusKeys  # noqa: PLC0415 - a node without Redis does not need
    from gateway.bus.stores import BackendOptions, RedisBackend  # noqa: PLC0415 - the 7 MB of redis-py

    keys = BusKeys([(key.id, key.key.raw) for key in secrets.sealing_keys], secrets.pseudonym_key.raw)
    options = BackendOptions(node=node, renewed=renewed)
    try:
        site = RedisBackend(url, keys, clock, jitter, draw, options=options)
    except OSError as error:  # ssl.SSLError is one: the file contains no certificate
        raise ConfigError(["bus.ca_file holds no certificate that can be read."]) from error
    if keyring is not None:
        keyring.subscribe(site.seals.rekey)
    async with site:
        ports = site.bus, site.leases, site.registry, site.shared
        yield Cluster(*ports, site.refusals, site.dropped, site.clock_offset_s)


# ---- sites ----


AMI_PORT: Final = 5038
AMI_TLS_PORT: Final = 5039
LINKS_PER_S: Final = 500.0
"""Budget of links of an Asterisk's site: they are views in this process, and send it nothing."""

SiteServer = OsccServer | AsteriskServer


class Randomness(NamedTuple):
    """Sources of random numbers: *jitter* returns numbers in [0, 1), *draw* that many bytes."""

    jitter: Callable[[], float]
    draw: Callable[[int], bytes]


def open_server(
    site: config_settings.SiteSection,
    clock: Clock,
    tls: ssl.SSLContext | None,
    link_scheduler: LinkScheduler,
    *,
    trace: aiohttp.TraceConfig | None,
    is_alone: bool,
    chance: Randomness,
) -> SiteServer:
    """Return the adapter of a site; ``async with`` opens it.

    *tls* None: clear text. *is_alone*: no other node serves the site.
    """
    if site.asterisk is None:
        return OsccServer(site.id, site.url, clock, tls=tls, link_scheduler=link_scheduler, trace=trace)
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
            _show_waiting(site, server.monitor, telemetry)
        else:
            server.unreadable.count = telemetry.upstream_failures["unreadable"].inc
    return {
        site: SiteParts(
            tracing.upstream(CountedUpstream(server, telemetry, reaches[site])),
            CountedAuthority(server, site, telemetry, reaches[site]),
            LINKS_PER_S if isinstance(server, AsteriskServer) else None,
            log_ons_per_s.get(site),
        )
        for site, server in servers.items()
    }


def _show_waiting(site: str, monitor: Monitor, telemetry: Telemetry) -> None:
    telemetry.asterisk_waiting[site, "actions"].set_function(lambda: monitor.under_way)
    telemetry.asterisk_waiting[site, "events"].set_function(lambda: monitor.publisher.waiting)
