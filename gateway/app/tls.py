"""By which rules does the gateway speak TLS, to phones and to sites?"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.app.certificates import Pair, chain_of, read, read_pair
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Client, Site
from gateway.upstream.client import tls_context

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 §4.2). All of 1.3 are so."""


def client_context(client: Client) -> ssl.SSLContext | None:
    """Return the context of the listener for phones; None when it speaks clear text.

    TLS 1.2 at least (RFC 9325 §3.1.1). A phone that comes back resumes by a ticket, which costs no
    signature; tickets are sealed by keys of this process, so they end with it.

    Raises:
        ConfigError: A file cannot be read, is no PEM, or the two do not belong together.
    """
    pair = read_pair(client)
    return None if pair is None else context_of(client, pair)


def context_of(client: Client, pair: Pair) -> ssl.SSLContext:
    """Return a context that shows *pair*, what the files that *client* names hold.

    Raises:
        ConfigError: It is no PEM, or the two do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        show(context, pair)
    except (ssl.SSLError, ValueError):
        fault = (
            f"client.certificate {client.certificate} and client.key {client.key} do not work together: "
            "both must be PEM, the key without a password, and the key must be the certificate's."
        )
        raise ConfigError([fault]) from None
    chain_of(client, pair)
    return context


def show(context: ssl.SSLContext, pair: Pair) -> None:
    """Have handshakes of *context* that begin from now on be shown *pair*; others keep what they saw.

    Raises:
        ConfigError: The system has nothing to read them by.
        ssl.SSLError: It is no PEM, or the two do not belong together.
        ValueError: The key has a password.
    """
    with _as_file(pair.certificate) as certificate, _as_file(pair.key) as key:
        # a password is refused rather than asked for on a terminal that nobody watches
        context.load_cert_chain(certificate, key, password=_no_password)


def site_context(place: int, site: Site) -> ssl.SSLContext | None:
    """Return the context by which a site's certificate is verified; None for a clear-text site.

    Raises:
        ConfigError: ``ca_file`` cannot be read or holds no certificate.
    """
    if not site.url.startswith(("https://", "amis://")):
        return None
    held = authorities(place, site)
    return tls_context() if held is None else trusting(place, site, held)


def authorities(place: int, site: Site) -> bytes | None:
    """Return what a site's ``ca_file`` holds; None where the system's authorities are trusted.

    Raises:
        ConfigError: It cannot be read.
    """
    return None if site.ca_file is None else read(_name(place), site.ca_file)


def trusting(place: int, site: Site, held: bytes) -> ssl.SSLContext:
    """Return the context by which a site's certificate is verified with *held*, what its ``ca_file`` holds.

    Raises:
        ConfigError: There is no certificate in it.
    """
    try:
        with _as_file(held) as path:
            return tls_context(Path(path))
    except ssl.SSLError:
        raise ConfigError([f"{_name(place)} {site.ca_file} holds no PEM certificate."]) from None


def _name(place: int) -> str:
    return f"sites[{place}].ca_file"


@contextmanager
def _as_file(held: bytes) -> Iterator[str]:
    """Give bytes a path, which the library asks for, without their ever lying on a disk.

    Raises:
        ConfigError: The system gives none, or the library cannot open it.
    """
    try:
        number = os.memfd_create("pem")
        try:
            with os.fdopen(number, "wb", closefd=False) as file:
                file.write(held)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
    except ssl.SSLError:  # an OSError, too, but one of what the bytes say
        raise
    except OSError as error:
        fault = f"Certificates and keys cannot be held in memory: {error.strerror}."
        raise ConfigError([fault]) from None


def _no_password() -> str:
    raise ValueError("the key has a password")
