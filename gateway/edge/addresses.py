"""From where, and how safely, does a request come?

Behind proxies the peer is not the client: RFC 7239 §7.1 warns that `X-Forwarded-For` is worth as
much as whoever wrote it, so only what trusted proxies appended is believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

NOWHERE: Final = IPv4Address(0)
"""Stands for a peer without an address."""
_ENCRYPTED: Final = frozenset({"https", "wss"})
_HOPS_MAX: Final = 32


def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it, with or without port and brackets; None when it is none."""
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
    """Tell whether *address* is one of the proxies."""
    return any(address in network for network in trusted)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Networks) -> Address:
    """Return the address of the client: the last one that no trusted proxy has.

    Args:
        peer: Who opened the connection.
        forwarded_for: The values of `X-Forwarded-For`, in order.
        trusted: The networks of the proxies.
    """
    address = parse_address(peer or "") or NOWHERE
    hops = [hop for value in forwarded_for for hop in value.split(",")][-_HOPS_MAX:]
    while hops and is_trusted(address, trusted):
        before = parse_address(hops.pop())
        if before is None:
            break
        address = before
    return address


def neighbourhood(address: Address) -> Address | IPv6Network:
    """Return what is limited as one: an IPv4 address, or the /64 that one IPv6 subscriber has (RFC 6177)."""
    if isinstance(address, IPv6Address):
        return IPv6Network((address, 64), strict=False)
    return address


def is_encrypted(*, tls: bool, peer: str | None, forwarded_proto: Sequence[str], trusted: Networks) -> bool:
    """Tell whether the client's connection is encrypted, as far as the gateway can tell.

    A trusted proxy vouches for its client's connection unless it, or one before it, says anything but `https`
    or `wss`: many say nothing, and end TLS. So whoever has an address of theirs is believed, without a word.
    """
    if tls:
        return True
    address = parse_address(peer or "")
    if address is None or not is_trusted(address, trusted):
        return False
    said = {scheme.strip().lower() for value in forwarded_proto for scheme in value.split(",")}
    return said <= _ENCRYPTED
