"""Do the TLS files work, and until when?"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Client, Site
from gateway.upstream.client import tls_context


def client_context(client: Client) -> ssl.SSLContext | None:
    """Return the context of the listener for phones; None when it speaks clear text.

    TLS 1.2 at least (RFC 9325 §3.1.1).

    Raises:
        ConfigError: A file cannot be read, is no PEM, or the two do not belong together.
    """
    if client.certificate is None or client.key is None:
        return None
    for name, path in (("certificate", client.certificate), ("key", client.key)):
        _check_readable(f"client.{name}", path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A password is refused rather than asked for on a terminal that nobody watches.
        context.load_cert_chain(client.certificate, client.key, password=_no_password)
    except (ssl.SSLError, ValueError):
        fault = (
            f"client.certificate {client.certificate} and client.key {client.key} do not work together: "
            "both must be PEM, the key without a password, and the key must be the certificate's."
        )
        raise ConfigError([fault]) from None
    return context


def site_context(place: int, site: Site) -> ssl.SSLContext | None:
    """Return the context by which a site's certificate is verified; None for a clear-text site.

    Raises:
        ConfigError: ``ca_file`` cannot be read or holds no certificate.
    """
    if not site.url.startswith("https://"):
        return None
    name = f"sites[{place}].ca_file"
    if site.ca_file is not None:
        _check_readable(name, site.ca_file)
    try:
        return tls_context(site.ca_file)
    except ssl.SSLError:
        raise ConfigError([f"{name} {site.ca_file} holds no PEM certificate."]) from None


def expires_at_s(certificate: Path) -> float:
    """Return when *certificate* expires, in seconds since 1970.

    Raises:
        ConfigError: It cannot be read or is no PEM certificate.
    """
    _check_readable("client.certificate", certificate)
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    except ValueError:
        raise ConfigError([f"client.certificate {certificate} is no PEM certificate."]) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError([f"{name} {path} cannot be read: {error.strerror}."]) from None
