"""A user with a phone at his owner's node and one at another, and what each shows."""

from __future__ import annotations

from gateway.domain.commands import Execute
from gateway.domain.resources import Queue
from gateway.protocol.envelopes import Envelope, Publication, PublishedValue
from gateway.runtime.follower import Follower
from tests.runtime.nodes import Nodes
from tests.runtime.scene import FakePhone, user

TRUSTED_S = 7.0
"""Until a node trusts its bus."""


async def followed(at: Nodes, *, settled_s: float = 1.0) -> tuple[FakePhone, FakePhone]:
    """Give a phone at node 0, which owns the user, and one at node 1, trusting its bus after TRUSTED_S."""
    near, far = await at.served(0), await at.served(1, device="d2", settled_s=settled_s)
    assert at.owners() == [0]
    return near, far


def executed(at: Nodes) -> list[str]:
    """Return the keys of the commands that OSCC-E got, without their leading zeros."""
    return [one.key[24:].lstrip("0") for _, one in at.upstream.requests if isinstance(one, Execute)]


def follower(at: Nodes, node: int = 1) -> Follower:
    found = at.home(node).follower
    assert found is not None
    return found


def receive(at: Nodes, envelope: Envelope) -> None:
    """Let node 1 receive a message of another node."""
    at.scenes[1].node._cluster_receiver.received(envelope)


def is_cut_off(at: Nodes, node: int) -> bool:
    return at.scenes[node].node.is_partitioned


def resets(phone: FakePhone) -> int:
    return sum(bool(frame.get("reset")) for frame in phone.of_kind("changes"))


def publication(at: Nodes, epoch: int, contacts: int, seq: int = 1_000) -> Publication:
    update = PublishedValue("queue:5", seq, Queue(name="Billing", contacts_waiting=contacts))
    return Publication(user(1), epoch, 0, seq, True, (update,), "live", at.clock.wall_ms())
