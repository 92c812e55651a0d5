"""Do the gateway's own node and account, and the double of the tests, offer what the edge needs?"""

from __future__ import annotations

import dataclasses

from gateway.core.rate_limits import SessionLimits
from gateway.edge.command_runner import AccountService, SessionNode
from gateway.edge.handshake import EdgeParts
from gateway.edge.request_context import EdgeSettings
from gateway.protocol.frames import COMMANDS
from gateway.runtime.accounts import Accounts
from gateway.runtime.node import Node
from tests.doubles.clock import ManualClock
from tests.edge.fake_node import FakeNode
from tests.edge.visits import SITE, house


def as_sessions(node: Node | FakeNode) -> SessionNode:
    """Let the type checker hold both to the port."""
    return node


def as_accounts(account: Accounts | FakeNode) -> AccountService:
    """Do the same for log-ons."""
    return account


def test_every_method_of_the_ports_is_there() -> None:
    double = FakeNode(ManualClock())
    assert as_sessions(double) is double
    assert as_accounts(double) is double
    for port, real in ((SessionNode, Node), (AccountService, Accounts)):
        wanted = {name for name in dir(port) if not name.startswith("_")}
        assert wanted <= set(dir(real))


# ---- Is an edge complete with what it must be given, and content with keeping nothing? ----


def test_only_what_a_lone_node_needs_not_may_be_left_out() -> None:
    optional = {
        field.name
        for field in dataclasses.fields(EdgeParts)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    assert optional == {"elsewhere", "on_close"}


async def test_without_a_note_nothing_is_kept_and_nothing_fails() -> None:
    parts = house().parts
    given = {field.name: getattr(parts, field.name) for field in dataclasses.fields(parts)}
    silent = EdgeParts(**{name: value for name, value in given.items() if name != "on_close"})
    assert silent.on_close(None) is None  # type: ignore[arg-type, func-returns-value]  # whatever it is, it is dropped


# ---- Are the defaults of the edge those of the protocol? ----


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
