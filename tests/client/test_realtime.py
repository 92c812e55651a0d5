"""The client keeps its mirror in sync through all that can happen to a connection."""

from __future__ import annotations

from gateway.client.client import Access, Means, Realtime
from gateway.client.dialogue import Wishes
from gateway.client.mirror import Connected, TokenRenewed
from gateway.protocol import frames
from tests.client.subject import Subject
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, ping, welcome


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


async def test_a_lost_connection_is_resumed_at_its_position(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    await phone.send(ping(5, 8))
    await phone.receive(frames.Pong)
    phone.drop()
    await clock.advance(0.25)
    again = await gateway.phone()
    assert (await again.resume()).position == frames.StreamPosition("1.a", 8)
    await again.send(frames.Changes(8, 9, patch={"queue:1": {"contacts_waiting": 2}}))
    await clock.settle()
    assert dict(subject.realtime.memory.mirror["queue:1"]) == {"name": "Sales", "contacts_waiting": 2}
    assert subject.told[-1] == Connected(resumed=True)
    assert subject.waits == [0.25]


async def test_a_gap_is_closed_by_a_reset(subject: Subject, phone: Phone, clock: ManualClock) -> None:
    await phone.send(frames.Changes(7, 8, put={"queue:2": {}}))
    await phone.receive(frames.Resync)
    await phone.send(frames.Changes(0, 8, stream="1.a", reset=True, put={"queue:2": {}}))
    await clock.settle()
    assert set(subject.realtime.memory.mirror) == {"queue:2"}


async def test_a_silent_gateway_is_left(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    await clock.advance(30)
    await phone.send(ping(5, 5))
    await phone.receive(frames.Pong)
    await clock.advance(34.9)
    assert not phone.gone.is_set()
    await clock.advance(0.2)
    await phone.left()
    await clock.advance(0.25)
    await (await gateway.phone()).receive(frames.Hello)
    assert subject.waits == [0.25]


async def test_a_frame_of_a_later_version_is_a_sign_of_life(phone: Phone, clock: ManualClock) -> None:
    text = b'{"kind":"later"}' if phone.codec.text else b"\x81\xa4kind\xa5later"
    for _ in range(3):
        await clock.advance(30)
        await phone.send_bytes(text)
        await clock.settle()
    assert not phone.gone.is_set()


async def test_the_network_comes_back_and_it_tries_at_once_but_once_in_two_seconds(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    for tries in range(2):
        await phone.bye(4200, window_s=(100.0, 100.0))
        await clock.settle()
        subject.realtime.network_changed()
        if tries:
            await clock.advance(1.9)
            assert not gateway.called
            await clock.advance(0.1)
        phone = await gateway.phone()
        await phone.resume()
        await clock.settle()
    assert subject.waits == [100.0, 100.0]


async def test_a_change_of_network_asks_a_connection_for_a_sign_of_life(
    subject: Subject, phone: Phone, clock: ManualClock
) -> None:
    subject.realtime.network_changed()
    await phone.receive(frames.Pong)
    await clock.advance(2.9)
    await phone.send(ping(5, 5))
    await phone.receive(frames.Pong)
    await clock.advance(5)
    assert phone.silent
    subject.realtime.network_changed()
    await phone.receive(frames.Pong)
    await clock.advance(3)
    await phone.left()


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


async def test_flapping_to_the_foreground_tries_once_in_two_seconds(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    for wait_s in (0.0, 2.0):
        subject.realtime.background()
        await phone.left()
        await clock.settle()
        subject.realtime.foreground()
        await clock.settle()
        assert gateway.called == (wait_s == 0.0)
        await clock.advance(wait_s)
        phone = await gateway.phone()
        await phone.resume()


async def test_going_to_the_background_ends_a_wait(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    phone.drop()
    await clock.settle()
    subject.realtime.background()
    await clock.advance(100)
    assert not gateway.called


async def test_a_renewed_token_is_handed_on(subject: Subject, phone: Phone, clock: ManualClock) -> None:
    await phone.send(frames.Renewed("fresh", 99))
    await clock.settle()
    assert subject.renewed == [frames.Renewed("fresh", 99)]
    assert subject.told[-1] == TokenRenewed(99)


async def test_leaving_while_it_waits_or_before_it_began_is_leaving_too(
    subject: Subject, phone: Phone, means: Means, clock: ManualClock
) -> None:
    phone.drop()
    await clock.settle()
    await subject.realtime.leave()
    await Realtime(means, Access(lambda: "token", lambda _: None, None), Wishes()).leave()
