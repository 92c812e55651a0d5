"""Client addresses, encryption and web origins of requests.

Behind proxies the peer is not the client. RFC 7239 §7.1 warns that `X-Forwarded-For` can be forged, so only
what trusted proxies appended is used. Browsers send the origin of a page (RFC 6454 §7); apps send none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

NO_ADDRESS: Final = IPv4Address(0)
"""Placeholder for a peer without an address."""
_ENCRYPTED: Final = frozenset({"https", "wss"})
_HOPS_MAX: Final = 32


def parse_address(text: str) -> Address | None:
    """Parse an address as proxies write it, with or without port and brackets; None when it is invalid."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_trusted(address: Address, trusted: Networks) -> bool:
    """Return whether *address* is a trusted proxy."""
    return any(address in network for network in trusted)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Networks) -> Address:
    """Return the client's address: the last one that is not a trusted proxy's.

    Args:
        peer: The address of the connection's peer.
        forwarded_for: The values of `X-Forwarded-For`, in order.
        trusted: The networks of the proxies.
    """
    address = parse_address(peer or "") or NO_ADDRESS
    hops = [hop for value in forwarded_for for hop in value.split(",")][-_HOPS_MAX:]
    while hops and is_trusted(address, trusted):
        before = parse_address(hops.pop())
        if before is None:
            break
        address = before
    return address


def address_group(address: Address) -> Address | IPv6Network:
    """Return what is limited together: an IPv4 address, or the /64 of an IPv6 subscriber (RFC 6177)."""
    if isinstance(address, IPv6Address):
        return IPv6Network((address, 64), strict=False)
    return address


def is_encrypted(*, tls: bool, peer: str | None, forwarded_proto: Sequence[str], trusted: Networks) -> bool:
    """Return whether the client's connection is known to be encrypted.

    A connection through a trusted proxy counts as encrypted, unless a proxy sent a scheme other than `https`
    or `wss`: many end TLS and send no scheme.
    """
    if tls:
        return True
    address = parse_address(peer or "")
    if address is None or not is_trusted(address, trusted):
        return False
    schemes = {scheme.strip().lower() for value in forwarded_proto for scheme in value.split(",")}
    return schemes <= _ENCRYPTED


_DEFAULT_PORT: Final = {"http": 80, "https": 443}
_METHODS: Final = "GET, POST, DELETE"
_HEADERS: Final = "Authorization, Content-Type"
_PREFLIGHT_S: Final = 600


def may_connect(origin: str, host: str | None, allowed: AbstractSet[str], *, tls: bool) -> bool:
    """Return whether *origin* is on the list or, without a list, is that of *host*.

    Args:
        origin: The value of `Origin`. `null` is refused.
        host: The value of `Host`.
        allowed: Exact origins; empty: the same host only.
        tls: The listener speaks TLS, so its own pages are `https` ones.
    """
    if origin == "null":
        return False
    if allowed:
        return origin in allowed
    parts = _authority(origin)
    if parts is None or host is None or (tls and parts[0] != "https"):
        return False
    scheme, name, port = parts
    own = _authority(f"{scheme}://{host}")
    return own is not None and own[1:] == (name, port)


def cors_headers(origin: str) -> dict[str, str]:
    """Return the CORS headers that let a page of *origin* read a response."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def preflight_headers() -> dict[str, str]:
    """Return the headers of the answer to a preflight request (Fetch §3.2.2)."""
    return {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _HEADERS,
        "Access-Control-Max-Age": str(_PREFLIGHT_S),
    }


def _authority(origin: str) -> tuple[str, str, int] | None:
    """Split an origin into scheme, host and port; None when it is not exactly one."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname:
        return None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORT[parts.scheme]
