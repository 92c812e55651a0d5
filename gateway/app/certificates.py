"""Is a certificate fit to be shown to phones, and if not, why?"""

from __future__ import annotations

import datetime as dt
import ipaddress
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.app import file_access
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Client
from gateway.app.file_access import readable_by_others

WARNING_S: Final = 30 * 86_400
"""So long before a certificate ends one is told of it."""
FILE_BYTES_MAX: Final = 256 * 1024
_OTHERS: Final = stat.S_IRWXO
_DAY_S: Final = 86_400
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library says of an extension or a signature that is not there, or that it cannot read."""


@dataclass(frozen=True, slots=True, repr=False)
class Pair:
    """What the files of a certificate and of its key say. Its repr shows nothing."""

    certificate: bytes
    key: bytes


class Flaw(NamedTuple):
    """What is wrong, as a sentence. *is_fault*: phones will not connect; else it is worth a thought."""

    text: str
    is_fault: bool


def read_pair(client: Client) -> Pair | None:
    """Return what the files hold; None for a listener that speaks clear text.

    Raises:
        ConfigError: One cannot be read, or every user may read the key.
    """
    if client.certificate is None or client.key is None:
        return None
    if readable_by_others(client.key):
        raise ConfigError([file_access.told("client.key", client.key)])
    return Pair(read("client.certificate", client.certificate), read("client.key", client.key))


def read(name: str, path: Path) -> bytes:
    """Return what the file at *path*, which the setting *name* names, holds.

    Raises:
        ConfigError: It cannot be read, or is far too large to be what it should.
    """
    try:
        with path.open("rb") as file:
            found = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([f"{name} {path} cannot be read: {error.strerror}."]) from None
    if len(found) > FILE_BYTES_MAX:
        raise ConfigError([f"{name} {path} is larger than {FILE_BYTES_MAX // 1024} KiB."])
    return found


def chain_of(client: Client, pair: Pair) -> list[x509.Certificate]:
    """Return the certificates of *pair*, the listener's own first.

    Raises:
        ConfigError: There is none.
    """
    try:
        return x509.load_pem_x509_certificates(pair.certificate)
    except ValueError:
        raise ConfigError([f"client.certificate {client.certificate} is no PEM certificate."]) from None


def ends_at_s(chain: Sequence[x509.Certificate]) -> float:
    """Return when the first of *chain* ends, in seconds since 1970: from then on phones refuse it."""
    return min(each.not_valid_after_utc.timestamp() for each in chain)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the hosts that *certificate* is for. The subject's own name counts for none (RFC 9525 §2)."""
    names, addresses = _names(certificate)
    return [*names, *addresses]


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Tell whether browsers take *certificate* for *host*, a name or an address.

    A wildcard stands for the whole first label and for no more (RFC 9525 §6.3), and not right above the
    last one.
    """
    names, addresses = _names(certificate)
    try:
        return str(ipaddress.ip_address(host)) in addresses
    except ValueError:
        sought = _in_ascii(host)
    first, _, rest = sought.partition(".")
    patterns = {sought} | ({f"*.{rest}"} if first and "." in rest else set())
    return not patterns.isdisjoint(map(_in_ascii, names))


def flaws(client: Client, pair: Pair, wall_ms: int) -> Iterator[Flaw]:
    """Yield what phones would not accept of *pair*, and what is worth a thought.

    Raises:
        ConfigError: It holds no certificate.
    """
    chain = chain_of(client, pair)
    of = f"client.certificate {client.certificate}"
    yield from _times(of, chain, wall_ms / 1000)
    if not names_of(chain[0]):
        yield Flaw(f"{of} names no host in its subjectAltName: no phone accepts it.", is_fault=True)
    if not _is_for_servers(chain[0]):
        yield Flaw(f"{of} is not for servers: its extendedKeyUsage lacks serverAuth.", is_fault=True)
    yield from _order(of, chain)
    yield from _authorities(of, chain)
    if client.key is not None:
        yield from _permissions(client.key)


def told(chain: Sequence[x509.Certificate]) -> str:
    """Return for whom and until when a certificate is, in words."""
    until = dt.datetime.fromtimestamp(ends_at_s(chain), dt.UTC)
    return f"for {', '.join(names_of(chain[0])) or 'no host'} until {until:%Y-%m-%d %H:%M} UTC"


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the names and the addresses that *certificate* is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        return [], []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return found.get_values_for_type(x509.DNSName), addresses


def _in_ascii(host: str) -> str:
    """Return *host* as certificates write it, or as it is where no certificate can."""
    with suppress(UnicodeError):  # a label is empty or too long: no certificate has it
        host = host.encode("idna").decode("ascii")
    return host.lower().removesuffix(".")


def _times(of: str, chain: Sequence[x509.Certificate], now_s: float) -> Iterator[Flaw]:
    begins_at_s = max(each.not_valid_before_utc.timestamp() for each in chain)
    left_s = ends_at_s(chain) - now_s
    if begins_at_s > now_s:
        yield Flaw(f"{of} is not valid before {_day(begins_at_s)}.", is_fault=True)
    if left_s <= 0:
        yield Flaw(f"{of} expired on {_day(ends_at_s(chain))}: no phone accepts it.", is_fault=True)
    elif left_s < WARNING_S:
        yield Flaw(f"{of} expires in {left_s / _DAY_S:.0f} days.", is_fault=False)


def _order(of: str, chain: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    """Each certificate must have been issued by the one that follows it (RFC 5246 §7.4.2)."""
    for number, (each, issuer) in enumerate(pairwise(chain), 1):
        if not _issued(each, issuer):
            yield Flaw(
                f"{of}: certificate {number + 1} of {len(chain)} did not issue certificate {number}; the "
                "listener's own comes first, then its issuer, and so on.",
                is_fault=True,
            )
    if len(chain) > 1:
        return
    if _issued(chain[0], chain[0]):
        yield Flaw(f"{of} is signed by itself: only who was given it trusts it.", is_fault=False)
    else:
        yield Flaw(
            f"{of} comes without its issuer: unless phones know that one as a root, append it to the file.",
            is_fault=False,
        )


def _authorities(of: str, chain: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    """Whoever issued a certificate must have been allowed to (RFC 5280 §6.1.4 k and n)."""
    for number, issuer in enumerate(chain[1:], 2):
        which = f"{of}: certificate {number} of {len(chain)}"
        if not _is_authority(issuer):
            lacks = "is no authority's: its basicConstraints lack CA"
            yield Flaw(f"{which} {lacks}, so no phone accepts what it issued.", is_fault=True)
        if not _may_sign(issuer):
            yield Flaw(f"{which} may sign no certificates: its keyUsage lacks keyCertSign.", is_fault=True)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except _UNREADABLE:
        return False


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
    except _UNREADABLE:
        return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_UNREADABLE, TypeError, InvalidSignature):
        return False
    return True


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except _UNREADABLE:
        return False
    return bool({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage))


def _permissions(key: Path) -> Iterator[Flaw]:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError:
        return  # told when it is read
    if mode & _OTHERS:
        yield Flaw(
            f"client.key {key} has mode {mode:04o}, so others than its owner and group may use it: "
            "chmod 600, or 640 for a group.",
            is_fault=False,
        )


def _day(at_s: float) -> str:
    return f"{dt.datetime.fromtimestamp(at_s, dt.UTC):%Y-%m-%d}"
