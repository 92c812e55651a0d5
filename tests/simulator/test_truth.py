"""Is the truth what links would be told?"""

from __future__ import annotations

from gateway.simulator.model import Kind
from gateway.simulator.server import truth, users
from tests.simulator.peer import AGENT, World, key_of


def test_it_is_what_a_link_of_the_first_supervisor_hears() -> None:
    world = World()
    world.log_on("agent1")
    link, peer = world.open()
    world.listen(link, *Kind)
    told = truth(world.sim)
    for kind in Kind:
        elements = told[kind.value]
        assert isinstance(elements, list)
        assert {key_of(kind, each) for each in elements} == set(peer.state[kind])
    assert isinstance(told["Own"], dict)
    assert told["Own"][str(AGENT)]["Remote"]["RemoteNumber"] == "+49300000001"


def test_log_ons_to_try_work() -> None:
    world = World()
    found = users(world.sim)["Users"]
    assert isinstance(found, list)
    for each in found[:6]:
        world.log_on(each["UserName"], password=each["Password"])
    assert world.sim.sessions.log_ons == 6
