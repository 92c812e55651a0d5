"""Certificates for the tests of TLS, created on each call."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from gateway.app.adapters import client_context
from gateway.app.config.settings import ClientSection
from gateway.runtime.event_loop import SystemClock


def make(
    folder: Path, name: str = "server", *, password: bytes | None = None, days: int = 90
) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key; returns their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begins = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    built = _builder(subject, subject, key, begins, begins + dt.timedelta(days=days), key)
    built = built.add_extension(x509.SubjectAlternativeName([_name("127.0.0.1")]), critical=False)
    own = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return _written(folder / name, own, key, password)


EXPIRES_AT_S = dt.datetime(2026, 4, 1, tzinfo=dt.UTC).timestamp()
"""Of a certificate of 90 days."""
LOCAL = ("127.0.0.1", "localhost")
SERVERS = (ExtendedKeyUsageOID.SERVER_AUTH,)


_CA_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Issues certificates; a root, or by another authority's leave.

    Args:
        name: Its own.
        above: Who issued its certificate.
        extensions: What its certificate says of it.
    """

    def __init__(
        self,
        name: str = "Root",
        above: Authority | None = None,
        extensions: tuple[x509.ExtensionType, ...] = (
            x509.BasicConstraints(ca=True, path_length=None),
            _CA_USAGE,
        ),
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = self if above is None else above
        begins, ends = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2070, 1, 1, tzinfo=dt.UTC)
        built = _builder(self.name, issuer.name, self.key, begins, ends, issuer.key)
        for extension in extensions:
            built = built.add_extension(extension, critical=True)
        self.certificate = built.sign(issuer.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, folder: Path, name: str = "ca") -> Path:
        path = folder / f"{name}.pem"
        path.write_bytes(self.pem)
        return path

    def issue(
        self,
        folder: Path,
        name: str = "server",
        *,
        hosts: tuple[str, ...] = LOCAL,
        begins_d: float = -1.0,
        ends_d: float = 90.0,
        now: dt.datetime | None = None,
        usage: tuple[ObjectIdentifier, ...] = SERVERS,
        chain: tuple[Authority, ...] = (),
        is_rsa: bool = False,
    ) -> tuple[Path, Path]:
        """Write a certificate for *hosts*, those of *chain* behind it, and its key; returns their paths.

        Args:
            folder: Where.
            name: Of the files.
            hosts: Names and addresses; none: no subjectAltName.
            begins_d: When it begins, in days from *now*.
            ends_d: When it ends.
            now: None: the machine's clock.
            usage: Its extendedKeyUsage; none: it has none.
            chain: Whose certificates follow.
            is_rsa: Whether its key is of the older sort.
        """
        now = now or _now()
        key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begins, ends = now + dt.timedelta(begins_d), now + dt.timedelta(ends_d)
        built = _builder(subject, self.name, key, begins, ends, self.key)
        if hosts:
            names = x509.SubjectAlternativeName([_name(host) for host in hosts])
            built = built.add_extension(names, critical=False)
        if usage:
            built = built.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        own = built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return _written(folder / name, own + b"".join(each.pem for each in chain), key)


def _written(
    path: Path,
    certificates: bytes,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    password: bytes | None = None,
) -> tuple[Path, Path]:
    paths = path.with_name(f"{path.name}.crt"), path.with_name(f"{path.name}.key")
    paths[0].write_bytes(certificates)
    protection = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    )
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    )
    paths[1].chmod(0o600)
    return paths


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    begins: dt.datetime,
    ends: dt.datetime,
    signed_by: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    """Begin a certificate with the key identifiers of RFC 5280, which Python 3.13 asks for."""
    built = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), begins, ends
    )
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return built.add_extension(own, critical=False).add_extension(above, critical=False)


def _now() -> dt.datetime:
    return dt.datetime.fromtimestamp(SystemClock().wall_ms() // 1000, dt.UTC)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def both_ends(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate; returns the context of a node that has it, and of a phone that trusts it."""
    certificate, key = make(folder, days=100_000)
    tls = client_context(ClientSection(certificate=certificate, key=key))
    assert tls is not None
    return tls, ssl.create_default_context(cafile=certificate)
