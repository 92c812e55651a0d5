"""Does the certificate fit the host?"""

from __future__ import annotations

import ipaddress
import ssl

import pytest
from cryptography import x509

from gateway.simulator.web import self_signed, server_context


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "oscce.example"])
def test_it_names_the_host_and_the_loopback(host: str) -> None:
    certificate, _ = self_signed(host)
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = names.value.get_values_for_type(x509.IPAddress)
    assert ipaddress.ip_address("127.0.0.1") in addresses
    assert host in [*map(str, addresses), *names.value.get_values_for_type(x509.DNSName)]


def test_a_listener_can_use_it() -> None:
    context = server_context(*self_signed("localhost"))
    assert context.protocol is ssl.PROTOCOL_TLS_SERVER
