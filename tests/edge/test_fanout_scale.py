"""Fan-out: devices of one user see what each would see alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.commands import SetAgentRoutingState
from gateway.domain.errors import CloseCode, EndReason
from gateway.edge.channel import Disconnect
from gateway.edge.socket import PhoneSocket
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.websocket import Message
from tests.edge.conftest import Open
from tests.edge.devices import PACE_S, Home, figure, figure_in_any_form
from tests.edge.visits import Gateway, ticket_of

SWALLOWED_BYTES = 3_000_000
"""More than the kernel takes for a phone that does not read."""


@pytest.fixture
def home(gateway: Gateway) -> Home:
    return Home(gateway)


async def story(home: Home, phones: int) -> list[list[frames.Changes]]:
    """Let figures change slowly, fast and not at all; returns what each device received."""
    for _ in range(phones):
        await home.come()
    clock = home.gateway.clock
    for waiting in range(1, 13):
        home.change(waiting)
        if waiting % 3 == 0:
            home.change(waiting, queue=2)
        await clock.advance(0.02 if waiting % 2 else 0.2)
    await clock.advance(1)
    return [await figure(phone, 12) for phone in home.phones]


# ---- sent as one ----


async def test_devices_at_the_same_position_are_in_one_fan_out_group(home: Home) -> None:
    await home.fill(5)
    assert len(home.fanout_group.members) == 5
    assert list(home.feed.ledger.readers) == [home.fanout_group]


async def test_each_codec_has_a_fan_out_group_of_its_own(home: Home) -> None:
    for codec in ("json", "msgpack", "json", "msgpack"):
        await home.come({"json": JSON, "msgpack": MSGPACK}[codec])
    await home.gateway.clock.advance(1)
    home.change(7)
    assert len({socket.session.fanout_group for socket in home.sockets}) == 2
    for phone in home.phones:
        await figure(phone, 7)


async def test_each_device_receives_what_it_would_receive_alone(gateway_with: Open) -> None:
    alone = await story(Home(await gateway_with()), 1)
    together = await story(Home(await gateway_with()), 4)
    assert len(alone[0]) > 5
    assert together == alone * 4


async def test_who_is_woken_for_all_is_served_with_all(home: Home) -> None:
    await home.fill(3)
    fanout_group, members = home.fanout_group, list(home.fanout_group.members)
    home.change(1)
    await home.gateway.clock.settle()
    assert home.fanout_group is fanout_group
    assert list(fanout_group.members) == members, "who parts and comes back is the last"


# ---- one leaves between a change and when it is sent ----


def notice(summary: str) -> frames.NoticeFrame:
    return frames.NoticeFrame("n", 1, "security", "Title", summary, None, 0, must_acknowledge=False)


def closes_by_itself(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.disconnected(Disconnect("client", 1000))


def breaks(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.channel.abort()


def is_closed(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.close(CloseCode.DRAINING, "draining")


def ends(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.learned(replace(gateway.node.facts(ticket_of(gateway.clock)), end=EndReason.BLOCKED))


def fails(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.fail(RuntimeError("x"))


def is_posted(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.announce(notice("Text"))


def says(socket: PhoneSocket, frame: frames.ClientFrame) -> None:
    socket.event_received(Message(JSON.encode(frame), text=True))


def follows(socket: PhoneSocket, gateway: Gateway) -> None:
    says(socket, frames.Follow("f1", ("queue:1",)))


def paces(socket: PhoneSocket, gateway: Gateway) -> None:
    says(socket, frames.Pace(5.0))


def resyncs(socket: PhoneSocket, gateway: Gateway) -> None:
    says(socket, frames.Resync())


def commands(socket: PhoneSocket, gateway: Gateway) -> None:
    key, by_ms = "00000000-0000-4000-8000-000000000001", gateway.clock.wall_ms() + 5_000
    says(socket, frames.CommandFrame("c1", key, "1.x", by_ms, SetAgentRoutingState("5", "available")))


def asks_for_a_ping(socket: PhoneSocket, gateway: Gateway) -> None:
    says(socket, frames.Pong("none"))


def is_pinged(socket: PhoneSocket, gateway: Gateway) -> None:
    gateway.node.ledger.health = replace(gateway.node.ledger.health, upstream="stale")
    socket.wake()


def stalls(socket: PhoneSocket, gateway: Gateway) -> None:
    socket.write_blocked()


Act = Callable[[PhoneSocket, Gateway], None]
GOES = (closes_by_itself, breaks, is_closed, ends, fails)
PARTS = (is_posted, follows, paces, resyncs, commands, asks_for_a_ping, is_pinged, stalls)
MOMENTS = ("before it", "in the same turn", "while the pace lets it wait")
PAIRS = [
    pytest.param(act, (number + at) % 2, moment, id=f"{act.__name__} {moment}")
    for number, act in enumerate((*GOES, *PARTS))
    for at, moment in enumerate(MOMENTS)
]
"""Every act at every moment, and each of both by the one who was woken and by another."""


@pytest.mark.parametrize(("act", "after", "moment"), PAIRS)
async def test_who_leaves_takes_nothing_along(home: Home, act: Act, after: int, moment: str) -> None:
    await home.fill(3)
    clock = home.gateway.clock
    if moment == "while the pace lets it wait":
        home.change(1)
        await clock.settle()
    leaver = home.sockets[(home.first + after) % 3]
    if moment == "before it":
        act(leaver, home.gateway)
    home.change(2)
    if moment == "while the pace lets it wait":
        await clock.advance(PACE_S / 4)
        assert home.fanout_group.dirty
    if moment != "before it":
        act(leaver, home.gateway)
    await clock.advance(PACE_S)
    assert home.waits_for_all_but(leaver) == 0
    for phone in home.phones_but(leaver):
        await figure(phone, 2)


@pytest.mark.parametrize("act", PARTS, ids=lambda act: act.__name__)
async def test_who_parts_is_served_too_and_goes_on(home: Home, act: Act) -> None:
    await home.fill(3)
    clock, leaver, phone = home.gateway.clock, home.sockets[home.first], home.phones[home.first]
    home.change(1)
    await clock.settle()
    home.change(2)
    await clock.settle()
    act(leaver, home.gateway)
    if act is stalls:
        await clock.advance(PACE_S)
        leaver.write_unblocked()
    await clock.advance(5.0)
    await figure_in_any_form(phone, 2)
    home.change(3)
    await clock.advance(5.0)
    assert leaver in home.gateway.parts.scheduler.sockets
    for each in home.phones:
        await figure_in_any_form(each, 3)


async def test_a_device_that_replaces_its_own_connection_takes_nothing_along(home: Home) -> None:
    await home.fill(3)
    gateway, old = home.gateway, home.sockets[home.first]
    handle = list(home.feed.connections)[home.first]
    gateway.node.gate.clear()
    await gateway.hello(gateway.token(ticket_of(gateway.clock, session=f"s{home.first}")))
    await gateway.clock.settle()
    [newcomer] = gateway.parts.scheduler.sockets.keys() - set(home.sockets)
    home.feed.connections[handle] = newcomer
    old.close(CloseCode.REPLACED, "replaced")
    home.change(2)
    await gateway.clock.advance(PACE_S)
    assert home.waits_for_all_but(old) == 0


# ---- one takes nothing for a while ----


async def test_a_device_that_stalls_is_conflated_alone_and_comes_back(home: Home) -> None:
    clock = home.gateway.clock
    async with await home.come_slowly() as slow:
        stalled = home.sockets[0]
        await home.come()
        await home.come()
        await clock.advance(1)
        home.change(1)
        await clock.advance(1)
        assert len(home.fanout_group.members) == 3
        await slow.read_until(b'"contacts_waiting":1}')
        for phone in home.phones:
            await figure(phone, 1)
        stalled.announce(notice("x" * SWALLOWED_BYTES))
        await clock.advance(0.1)
        for waiting in range(2, 12):
            home.change(waiting)
            await clock.advance(PACE_S)
            assert stalled.session.fanout_group is None
        assert len(home.fanout_group.members) == 2
        assert stalled.session.live is not None
        assert stalled.session.live.outbox.dirty == 1
        for phone in home.phones:
            received = await figure(phone, 11)
            shown = [changes.patch.get("queue:1", {}).get("contacts_waiting") for changes in received]
            assert [waiting for waiting in shown if waiting] == list(range(2, 12)), "each of them"
        data = await slow.read_until(b'"contacts_waiting":11')
        assert data.count(b'"contacts_waiting"') == 1
        for waiting in range(20, 26):
            home.change(waiting)
            await clock.advance(1)
            await slow.read_until(b'"contacts_waiting":%d' % waiting)
        assert stalled.session.fanout_group is home.fanout_group
        assert len(home.fanout_group.members) == 3
