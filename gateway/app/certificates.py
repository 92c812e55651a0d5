"""TLS: contexts for phones and sites, checks of the server certificate, and its reload."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from gateway.app.config import sources as config_sources
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import ClientSection, SiteSection
from gateway.app.config.sources import readable_by_others
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry
from gateway.upstream.oscce.http import tls_context

WARNING_S: Final = 30 * 86_400
"""Time before the end of a certificate at which a warning is logged."""
FILE_BYTES_MAX: Final = 256 * 1024
_DAY_S: Final = 86_400
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
        raise ConfigError([f"{name} {path} cannot be read: {error.strerror}."]) from None
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
    except ValueError:
        raise ConfigError([f"client.certificate {client.certificate} is not a PEM certificate."]) from None


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
    client: ClientSection, pair: CertificatePair, wall_ms: int
) -> Iterator[CertificateProblem]:
    """Yield the faults of *pair* for phones, and advice about it.

    Raises:
        ConfigError: It contains no certificate.
    """
    chain = chain_of(client, pair)
    of = f"client.certificate {client.certificate}"
    yield from _validity(of, chain, wall_ms / 1000)
    if not host_names(chain[0]):
        yield CertificateProblem(
            f"{of} names no host in its subjectAltName: phones refuse it.", is_fault=True
        )
    yield from _chain_order(of, chain)


def describe_chain(chain: Sequence[x509.Certificate]) -> str:
    """Return the names and the end of a certificate as text."""
    until = dt.datetime.fromtimestamp(expires_at_s(chain), dt.UTC)
    return f"for {', '.join(host_names(chain[0])) or 'no host'} until {until:%Y-%m-%d %H:%M} UTC"


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
        yield CertificateProblem(f"{of} is not valid before {_day(begins_at_s)}.", is_fault=True)
    if left_s <= 0:
        yield CertificateProblem(
            f"{of} expired on {_day(expires_at_s(chain))}: phones refuse it.", is_fault=True
        )
    elif left_s < WARNING_S:
        yield CertificateProblem(f"{of} expires in {left_s / _DAY_S:.0f} days.", is_fault=False)


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
    except (ssl.SSLError, ValueError):
        fault = (
            f"client.certificate {client.certificate} and client.key {client.key} do not work together: "
            "both must be PEM, the key without a password, and the key must be the certificate's."
        )
        raise ConfigError([fault]) from None
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
    except ssl.SSLError:
        raise ConfigError([f"{_ca_setting(place)} {site.ca_file} contains no PEM certificate."]) from None


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
        raise ConfigError([fault]) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


# ---- reload of the certificate ----


WARN_EVERY_MS: Final = 86_400_000
_LOG: Final = structlog.get_logger("gateway.app")


class CertificateReloader:
    """The certificate in force, kept equal to its files.

    Invariants: a certificate that phones would refuse changes nothing and is reported once. Open connections
    are not affected, as only handshakes use the context.

    Args:
        client: Has the paths of the files; without them the listener uses clear text and nothing is read.
        clock: Shows how long the certificate is still valid.
        telemetry: Shows when it ends, and whether the content of the files is in force.

    Raises:
        ConfigError: The files cannot be used now.
    """

    def __init__(self, client: ClientSection, clock: Clock, telemetry: Telemetry) -> None:
        self._client = client
        self._clock = clock
        self._telemetry = telemetry
        self._seen: CertificatePair | ConfigError | None = read_pair(client)
        self._faults: tuple[str, ...] = ()
        self._ends_at_s = 0.0
        self._names: list[str] = []
        self._sort: type[object] = object
        self._warned_at_ms: int | None = None
        self.context: Final = self._start(self._seen)
        """The TLS context of the listener, for its whole life."""

    async def look(self) -> Literal["certificate"] | None:
        """Put the content of the files in force, and log a warning before the end of the certificate.

        Returns the name of this part if they cannot be used.
        """
        if self.context is None:
            return None
        # in a thread: a network volume may block its reader, and must not block the phones
        found = await asyncio.to_thread(self._read)
        # try again what failed: the certificate may be valid by now, or the system have descriptors
        if self._faults or found != self._seen:
            self._seen = found
            self._take(found, self.context)
        self._warn()
        return "certificate" if self._faults else None

    def _start(self, pair: CertificatePair | None) -> ssl.SSLContext | None:
        if pair is None:
            return None
        context = server_context(self._client, pair)
        for flaw in certificate_problems(self._client, pair, self._clock.wall_ms()):
            # phones refuse a faulty certificate; a node that does not start would not help them
            (_LOG.error if flaw.is_fault else _LOG.warning)("certificate_problem", fault=flaw.text)
        self._note(pair)
        return context

    def _read(self) -> CertificatePair | ConfigError:
        try:
            pair = read_pair(self._client)
        except ConfigError as error:
            return error
        assert pair is not None  # noqa: S101 - without files there is no context, and no look
        return pair

    def _take(self, found: CertificatePair | ConfigError, context: ssl.SSLContext) -> None:
        try:
            faults = found.faults if isinstance(found, ConfigError) else tuple(self._flaws(found))
            if isinstance(found, CertificatePair) and not faults:
                load_pair(context, found)
        except ConfigError as error:
            faults = error.faults
        if not isinstance(found, CertificatePair) or faults:
            self._stay(faults)
            return
        before = self._names
        self._note(found)
        new = chain_of(self._client, found)[0]
        _LOG.info("certificate_reloaded", new=", ".join(self._names), days_left=self._days_left())
        if gone := [name for name in before if not covers(new, name)]:
            _LOG.warning("certificate_covers_fewer_names", gone=", ".join(gone))

    def _stay(self, faults: tuple[str, ...]) -> None:
        if faults != self._faults:
            self._faults = faults
            self._telemetry.reload_failed["certificate"].set(1)
            _LOG.error("certificate_reload_failed", fault=" ".join(faults))

    def _flaws(self, found: CertificatePair) -> list[str]:
        """Return why *found* must not be used.

        Raises:
            ConfigError: It cannot be used.
        """
        server_context(self._client, found)  # the present pair must not become half of a new one
        faults = [
            flaw.text
            for flaw in certificate_problems(self._client, found, self._clock.wall_ms())
            if flaw.is_fault
        ]
        # a context has one pair for each type of key, and would still use the old one beside the new
        if self._sort_of(found) is not self._sort:
            faults.append("The key has another type (RSA, EC) than the one in force: restart the node.")
        return faults

    def _sort_of(self, pair: CertificatePair) -> type[object]:
        return type(chain_of(self._client, pair)[0].public_key())

    def _note(self, pair: CertificatePair) -> None:
        self._sort = self._sort_of(pair)
        chain = chain_of(self._client, pair)
        self._ends_at_s, self._names = expires_at_s(chain), host_names(chain[0])
        self._telemetry.certificate_expiry_timestamp_seconds.set(self._ends_at_s)
        self._telemetry.reload_failed["certificate"].set(0)
        self._warned_at_ms = None
        self._faults = ()

    def _warn(self) -> None:
        """Log once a day."""
        now_ms, warned_at_ms = self._clock.wall_ms(), self._warned_at_ms
        if self._ends_at_s - now_ms / 1000 >= WARNING_S:
            return
        if warned_at_ms is None or now_ms - warned_at_ms >= WARN_EVERY_MS:
            self._warned_at_ms = now_ms
            _LOG.warning("certificate_expires_soon", days_left=self._days_left())

    def _days_left(self) -> int:
        """Return whole days until its end, below 0 after it."""
        return int((self._ends_at_s - self._clock.wall_ms() / 1000) // _DAY_S)
