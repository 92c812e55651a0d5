"""Client addresses: proxies are believed as far as they are trusted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.request_context import (
    NO_ADDRESS,
    address_group,
    client_address,
    is_encrypted,
    parse_address,
)

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"), (" 192.0.2.1:443 ", "192.0.2.1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("unknown", None), ("", None), ("1.2.3.4.5", None),
    ],
)  # fmt: skip
def test_addresses_are_read_as_proxies_write_them(text: str, address: str | None) -> None:
    assert parse_address(text) == (None if address is None else ip_address(address))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.9"], "10.0.0.9"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_no_trusted_proxy_has(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == ip_address(client)


def test_a_peer_without_an_address_is_nowhere() -> None:
    assert client_address(None, ["198.51.100.7"], TRUSTED) == NO_ADDRESS


@given(st.lists(st.text(max_size=30), max_size=50))
def test_whatever_an_untrusted_peer_says_is_ignored(forwarded: list[str]) -> None:
    assert client_address("192.0.2.1", forwarded, TRUSTED) == IPv4Address("192.0.2.1")


@given(st.lists(st.text(max_size=30), max_size=50))
def test_nothing_that_a_proxy_passes_on_does_harm(forwarded: list[str]) -> None:
    assert isinstance(client_address("10.0.0.1", forwarded, TRUSTED), IPv4Address | IPv6Address)


def test_one_subscriber_is_limited_as_one() -> None:
    assert address_group(IPv4Address("192.0.2.1")) == IPv4Address("192.0.2.1")
    assert address_group(IPv6Address("2001:db8::1:2:3:4")) == IPv6Network("2001:db8::/64")


@pytest.mark.parametrize(
    ("tls", "peer", "proto", "encrypted"),
    [
        (True, "192.0.2.1", None, True), (False, "192.0.2.1", None, False),
        (False, "192.0.2.1", "https", False), (False, "10.0.0.1", None, True),
        (False, "10.0.0.1", "HTTPS", True), (False, "10.0.0.1", "wss", True),
        (False, "10.0.0.1", "https, https", True), (False, "10.0.0.1", "https, http", False),
        (False, "10.0.0.1", "http, https", False), (False, "10.0.0.1", "http", False),
        (False, "10.0.0.1", "ws", False), (False, "10.0.0.1", "", False), (False, None, "https", False),
    ],
)  # fmt: skip
def test_vouching_for_encryption(*, tls: bool, peer: str | None, proto: str | None, encrypted: bool) -> None:
    said = [] if proto is None else [proto]
    assert is_encrypted(tls=tls, peer=peer, forwarded_proto=said, trusted=TRUSTED) is encrypted


def test_networks_of_both_kinds_may_be_trusted() -> None:
    mixed = (IPv6Network("::1/128"), IPv4Network("127.0.0.0/8"))
    assert client_address("127.0.0.1", ["198.51.100.7"], mixed) == IPv4Address("198.51.100.7")
