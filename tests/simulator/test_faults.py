"""Faults of the simulator: their effects, and recovery."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from gateway.simulator.faults import MALFORMED, OVERSIZED_BYTES, SocketOutlet, notice
from gateway.simulator.fields import Refused
from gateway.simulator.settings import ManualClock
from tests.doubles.tasks import beside
from tests.simulator.client import SimulatorClient
from tests.simulator.peer import AGENT, Message, Peer, World


def events(peer: Peer) -> list[Message]:
    return [each for each in peer.take() if each["Type"] == "Event"]


def watched() -> tuple[World, Peer]:
    world = World()
    world.sim.center.log_on(world.agent())
    link, peer = world.open()
    world.listen(link, "UserRealtime")
    world.pass_time(0.25)
    peer.take()
    return world, peer


def change(world: World, target: str, key: int = AGENT) -> None:
    world.clock.step(1000)
    world.sim.board.turn(world.clock.now_ms())
    world.sim.center.ask(world.agent(key), target, None, "Now", "Self")  # type: ignore[arg-type] # a routing state
    world.sim.board.publish()


def test_a_duplicate_repeats_the_last_event() -> None:
    world, peer = watched()
    change(world, "Available")
    world.sim.faults.duplicate_event(None)
    one, two = events(peer)
    assert one == two


def test_a_late_event_comes_after_the_next_one() -> None:
    world, peer = watched()
    world.sim.center.log_on(world.agent(10_003))
    world.sim.board.publish()
    peer.take()
    world.sim.faults.late_event("supervisor1")
    change(world, "Available")
    assert events(peer) == []
    change(world, "Available", 10_003)
    new, late = events(peer)
    assert new["Time"] > late["Time"]
    assert [each["UserKey"] for each in late["Elements"]] == [AGENT]
    assert world.sim.board.of_user(100_001) is not None


def test_a_late_event_comes_with_the_next_reading_at_the_latest() -> None:
    world, peer = watched()
    world.sim.faults.late_event(None)
    change(world, "Available")
    world.pass_time(0.25)
    assert len(events(peer)) == 1


def test_a_log_off_is_never_late_or_twice() -> None:
    world, peer = watched()
    world.sim.faults.late_event(None)
    change(world, "LoggedOff")
    assert events(peer)[0]["Removed"] == [AGENT]
    world.sim.faults.duplicate_event(None)
    assert events(peer) == []


def test_an_unknown_state_is_said_until_it_is_taken_back() -> None:
    world, peer = watched()
    world.sim.faults.unknown_state(AGENT, "Levitating")
    world.pass_time(0.25)
    assert peer.state["UserRealtime"][AGENT]["RoutingState"] == "Levitating"
    world.sim.faults.unknown_state(AGENT, None)
    world.pass_time(0.25)
    assert peer.state["UserRealtime"][AGENT]["RoutingState"] == "Unavailable"
    with pytest.raises(Refused, match="NotFound"):
        world.sim.faults.unknown_state(4711, "x")


def test_a_split_outbids_the_holder() -> None:
    world, peer = watched()
    world.sim.faults.split("supervisor1", 50)
    assert (peer.take(), peer.closed) == ([{"Type": "LinkReplaced", "Token": 50}], 4409)
    with pytest.raises(Refused, match="LinkStale"):
        world.link(world.log_on(), token=50)
    world.link(world.log_on(), token=51)


def test_functions_are_reported_to_everybody_once() -> None:
    world, peer = watched()
    world.sim.faults.set_function("Voice", "Degraded")
    world.sim.faults.set_function("Voice", "Degraded")
    assert [each["State"] for each in peer.take()] == ["Degraded"]
    with pytest.raises(Refused, match="NotFound"):
        world.sim.faults.set_function("Gravity", "Down")


def test_without_fencing_links_replace_by_newest() -> None:
    world, _ = watched()
    world.sim.faults.link_fencing(on=False)
    assert "LinkFencing" not in world.sim.about.features
    world.link(world.log_on(), token=0, holder="")
    world.sim.faults.link_fencing(on=True)
    with pytest.raises(Refused, match="LinkStale"):
        world.link(world.log_on(), token=0)


async def test_malformed_and_oversized_messages_arrive(client: SimulatorClient) -> None:
    session = await client.log_on()
    line = await client.link(session["SessionID"])
    await line.greeting()
    client.sim.faults.send("supervisor1", MALFORMED)
    with pytest.raises(ValueError, match="Expecting"):
        await line.read()
    client.sim.faults.send(None, notice("x" * OVERSIZED_BYTES))
    message = await line.socket.receive(timeout=20)
    assert message.type is aiohttp.WSMsgType.ERROR


@pytest.mark.parametrize("fault", ["freeze", "delay"])
async def test_a_frozen_server_answers_nothing_until_it_thaws_and_a_slow_one_later(
    client: SimulatorClient, fault: str
) -> None:
    getattr(client.sim.faults, fault)(5, None)
    async with beside(client.call("GET", "about")) as asking:
        for _ in range(20):
            assert (await client.control("GET", "routing"))[0] == 200
        assert not asking.done()
        await client.clock.advance(5)
    assert asking.result()[0] == 200


# ---- frames leave whole and in order, under every fault ----


class Transport(asyncio.Transport):
    """Remembers what was written; *stuck* bytes stay in its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.stuck = 0
        self.cut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def is_closing(self) -> bool:
        return self.cut

    def abort(self) -> None:
        self.cut = True


class Ends:
    """Both ends of one outlet."""

    def __init__(self) -> None:
        self.clock, self.transport, self.codes = ManualClock(0), Transport(), list[int]()
        self.outlet = SocketOutlet(self.transport, self.clock, 100, self.codes.append)

    def later(self, seconds: float) -> list[bytes]:
        """Let time pass and return all that was written."""
        self.clock.step(round(seconds * 1000))
        self.outlet.turn()
        return self.transport.written


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_frames_leave_at_once(ends: Ends) -> None:
    ends.outlet.send(b"a")
    assert ends.transport.written == [b"a"]


def test_a_delay_keeps_the_order_also_when_it_is_taken_back(ends: Ends) -> None:
    ends.outlet.delay_s = 2
    ends.outlet.send(b"a")
    ends.outlet.delay_s = 0
    ends.outlet.send(b"b")
    assert ends.later(1) == []
    assert ends.outlet.waiting
    assert ends.later(1) == [b"a", b"b"]


def test_a_frozen_line_thaws(ends: Ends) -> None:
    ends.outlet.frozen_until_s = 3
    ends.outlet.send(b"a")
    ends.outlet.close(4409)
    assert (ends.later(2), ends.codes) == ([], [])
    assert (ends.later(1), ends.codes) == ([b"a"], [4409])


def test_nothing_follows_a_good_bye(ends: Ends) -> None:
    ends.outlet.close(1000)
    ends.outlet.close(1000)
    ends.outlet.send(b"a")
    assert (ends.codes, ends.transport.written) == ([1000], [])


def test_who_lets_too_much_wait_is_cut(ends: Ends) -> None:
    ends.transport.stuck = 101
    ends.outlet.send(b"a")
    assert ends.transport.cut
    assert ends.outlet.cut_slow
    ends.outlet.send(b"b")
    assert ends.transport.written == [b"a"]


def test_what_is_held_is_bounded_too(ends: Ends) -> None:
    ends.outlet.frozen_until_s = 9
    ends.outlet.send(b"x" * 101)
    assert ends.transport.cut
    assert not ends.outlet.waiting


def test_a_line_that_is_closing_takes_nothing(ends: Ends) -> None:
    ends.transport.cut = True
    ends.outlet.send(b"a")
    assert ends.transport.written == []
