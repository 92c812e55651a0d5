"""Do the gateway's own node and account, and the double of the tests, offer what the edge needs?"""

from __future__ import annotations

from gateway.edge.command_runner import AccountService, SessionNode
from gateway.runtime.accounts import Accounts
from gateway.runtime.node import Node
from tests.doubles.clock import ManualClock
from tests.edge.fake_node import FakeNode


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
