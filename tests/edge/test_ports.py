"""The node and the account of the gateway, and the test double, offer what the edge needs."""

from __future__ import annotations

from gateway.core.rate_limits import SessionLimits
from gateway.edge.request_context import EdgeSettings
from gateway.protocol.frames import COMMANDS
from tests.edge.visits import SITE

# ---- defaults of the edge ----


def test_the_defaults_are_safe_and_the_protocols() -> None:
    settings = EdgeSettings(version="1.0.0", sites=(SITE,))
    assert not settings.insecure
    assert not settings.tls
    assert (settings.origins, settings.trusted_proxies, dict(settings.app_minimum)) == (frozenset(), (), {})
    assert settings.session == SessionLimits()
    assert settings.log_on_floor_s >= 0.3
    assert settings.log_off_grace_s == 86_400
    assert set(settings.capabilities) == set(COMMANDS)


def test_one_address_is_never_the_whole_node() -> None:
    doors = EdgeSettings(version="1.0.0", sites=(SITE,)).admission
    assert doors.unhelloed_per_address < doors.unhelloed < doors.connections
    assert doors.handshakes_per_s_of_address < doors.handshakes_per_s
    assert doors.handshakes_burst_of_address < doors.handshakes_burst
