"""The client keeps its mirror in sync through all that can happen to a connection."""

from __future__ import annotations

from gateway.client.client import Access, Means, Realtime
from gateway.client.dialogue import Wishes
from gateway.protocol import frames
from tests.client.subject import Subject
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, welcome


async def test_it_arrives_when_the_mirror_is_in_sync(
    subject: Subject, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    phone = await gateway.phone()
    assert (await phone.receive(frames.Hello)).token == "token-1"
    assert "Authorization" not in phone.headers
    assert "permessage-deflate" in phone.headers["Sec-WebSocket-Extensions"]
    assert subject.realtime.served is None
    await phone.send(welcome(), frames.Changes(0, 0, stream="1.a", reset=True, more=True))
    await clock.settle()
    assert subject.connected == 0
    await phone.send(frames.Changes(0, 5, put={"site": {}}))
    await subject.realtime.arrived()
    assert set(subject.realtime.memory.mirror) == {"site"}
    assert subject.realtime.served is not None


async def test_a_connection_that_the_change_of_network_ended_is_followed_by_another_at_once(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    subject.realtime.network_changed()
    await phone.receive(frames.Pong)
    await clock.advance(3)
    await phone.left()
    await clock.settle()
    assert gateway.called, "it waits, though there is another network"


async def test_in_the_background_it_rests_and_resumes_in_the_foreground(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    subject.realtime.background()
    await phone.receive(frames.ClientBye)
    await phone.left()
    await clock.advance(1000)
    subject.realtime.network_changed()
    await clock.advance(1000)
    assert not gateway.called
    assert set(subject.realtime.memory.mirror) == {"queue:1"}
    subject.realtime.foreground()
    assert (await (await gateway.phone()).resume()).position == frames.StreamPosition("1.a", 5)
    assert subject.waits == [0.0]


async def test_the_foreground_ends_a_wait_and_asks_nothing_of_a_connection_that_is_up(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    subject.realtime.foreground()
    await clock.advance(10)
    assert phone.silent
    assert not phone.gone.is_set()
    await phone.bye(4200, window_s=(100.0, 100.0))
    await clock.advance(50)
    assert not gateway.called
    subject.realtime.foreground()
    await (await gateway.phone()).resume()


async def test_leaving_while_it_waits_or_before_it_began_is_leaving_too(
    subject: Subject, phone: Phone, means: Means, clock: ManualClock
) -> None:
    phone.drop()
    await clock.settle()
    await subject.realtime.leave()
    await Realtime(means, Access(lambda: "token", lambda _: None, None), Wishes()).leave()
