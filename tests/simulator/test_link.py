"""Does a link send in order, and nothing before it is open?"""

from __future__ import annotations

from gateway.simulator.elements import message
from gateway.simulator.links import Link
from tests.simulator.peer import Peer, World


def test_frames_leave_joined_and_in_order() -> None:
    link, peer = Link("l", World().log_on()), Peer()
    one, two = message({"Type": "A"}), message({"Type": "B"})
    link.send(one)
    link.outlet = peer
    link.send()
    link.send(one)
    link.send(one, two)
    assert peer.raw == [one, one + two]
