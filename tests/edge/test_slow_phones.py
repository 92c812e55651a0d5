"""A phone that does not read costs memory for a short time only."""

from __future__ import annotations

from gateway.protocol import frames
from tests.edge.visits import HELLO, Gateway, SlowPhone


async def slow_phone(gateway: Gateway) -> SlowPhone:
    """Open a WebSocket whose other end reads nothing after hello, with more to say than it holds."""
    gateway.node.show_queues(1_000, "n" * 2_000)
    phone = await SlowPhone.connect(gateway.client)
    phone.say(frames.Hello(HELLO.client, gateway.token()))
    await gateway.clock.settle()
    return phone


async def test_a_phone_that_takes_nothing_for_long_is_left(gateway: Gateway) -> None:
    async with await slow_phone(gateway):
        await gateway.clock.advance(8)
        assert gateway.admission.sockets == 1
        await gateway.clock.advance(4)
        assert len(gateway.node.detached) == 1
        assert gateway.sample("closes_total", initiator="gateway", code="4108") == 1
        assert gateway.sample("slow_closes_total") == 1


async def test_a_full_socket_costs_names_and_slows_the_pace(gateway: Gateway) -> None:
    async with await slow_phone(gateway) as phone:
        session = gateway.node.connections[0].session
        assert session.live is not None
        written = gateway.sample("frames_total")
        for waiting in range(1, 50):
            gateway.node.wait_for(waiting)
            await gateway.clock.advance(0.06)
        assert gateway.sample("frames_total") == written, "nothing is written into a full socket"
        assert session.live.outbox.dirty == 1
        assert session.live.outbox.pace.level == 1, "found full once is one rung"
        data = await phone.read_until(b'"contacts_waiting":49')
        assert data.count(b'"patch"') == 1
        assert gateway.sample("frames_total") == (written or 0) + 1


async def test_a_phone_that_takes_its_time_is_given_it_to_answer_the_first_ping(gateway: Gateway) -> None:
    async with await slow_phone(gateway) as phone:
        for _ in range(15):
            await phone.reader.readexactly(64 * 1024)
            await gateway.clock.advance(1)
        assert gateway.lives == [], "its first ping has not left yet"
        await gateway.clock.advance(0.5)
        await phone.read_until(b'"ping"')
        await gateway.clock.advance(9.9)
        assert gateway.lives == []
        await gateway.clock.advance(0.2)
        assert [life.close_code for life in gateway.lives] == [4109]
