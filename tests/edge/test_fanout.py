"""Fan-out: one message reaches all phones of a group once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from gateway.core import fanout_group as fanout_groups
from gateway.core.fanout_group import FanoutGroup
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder, unite_due
from gateway.core.view import me_key, view_of
from gateway.domain.commands import SetAgentRoutingState
from gateway.domain.errors import CloseCode, EndReason
from gateway.edge import scheduler as edge_scheduler
from gateway.edge.channel import NO_FD, Disconnect
from gateway.edge.scheduler import FanoutWriter, Schedulable, Scheduler, fanout_writer_of
from gateway.edge.socket import PhoneSocket
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.websocket import Message
from gateway.telemetry import Telemetry
from tests.core.outbox_line import SCOPE, note, queue
from tests.core.samples import decoded
from tests.edge.conftest import Open
from tests.edge.devices import PACE_S, Home, figure, figure_in_any_form, group_of
from tests.edge.visits import Gateway, ticket_of
from tests.protocol.framing import received


class Phone:
    """The sink and the channel of one outbox: notes what is written; may fail, or part another, then."""

    open_fd = NO_FD

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.written: list[bytes] = []
        self.woken = 0
        self.faults: list[Exception] = []
        self.fault: Exception | None = None
        self.parts: Phone | None = None
        outbox.sink = self

    @property
    def channel(self) -> Phone:
        return self

    def put(self, data: bytes) -> None:
        if self.parts is not None:
            self.parts.outbox.post(note("x"))
        if self.fault is not None:
            raise self.fault
        self.written.append(data)

    def wake(self) -> None:
        self.woken += 1

    def fail(self, fault: Exception) -> None:
        self.faults.append(fault)

    @property
    def received(self) -> list[dict[str, Any]]:
        return decoded([frame.payload for data in self.written for frame in received(data)])

    @property
    def size(self) -> tuple[int, int]:
        """How many frames, of how many bytes without their WebSocket heads, were written."""
        sizes = [len(frame.payload) for data in self.written for frame in received(data)]
        return len(sizes), sum(sizes)


class Setup:
    """A mirror, phones that are in step, and a writer; the pump is the test."""

    def __init__(self, phones: int = 3, codec: Codec = JSON, *, frame_bytes: int = 10_000) -> None:
        self.ledger = Ledger(1)
        self.ledger.record("queue:1", queue(1))
        self.ledger.record("queue:2", queue(1))
        self.now = 100.0
        self.telemetry = Telemetry()
        self.asked: list[tuple[Schedulable, float]] = []
        self._codec = codec
        self._frame_bytes = frame_bytes
        self.phones = [self.add(f"s{number}") for number in range(phones)]
        self.now += 1

    def add(self, handle: str) -> Phone:
        view = view_of(handle, SCOPE, ("queues",))
        outbox = Outbox(self.ledger, view, self._codec, PaceLadder(), frame_bytes=self._frame_bytes)
        outbox.begin(None)
        outbox.take(self.now)
        return Phone(outbox)

    def at(self, served: Schedulable, when: float) -> None:
        self.asked.append((served, when))

    def ready(self, served: Schedulable) -> None:
        self.asked.append((served, self.now))

    @property
    def fanout_groups(self) -> list[FanoutGroup]:
        return [reader for reader in self.ledger.readers if isinstance(reader, FanoutGroup)]

    @property
    def fanout_group(self) -> FanoutGroup:
        [fanout_group] = self.fanout_groups
        return fanout_group

    @property
    def writer(self) -> FanoutWriter:
        return fanout_writer_of(self.fanout_group, cast("Scheduler[Any]", self), self.telemetry)

    def wait(self, waiting: int, number: int = 1) -> None:
        self.ledger.record(f"queue:{number}", queue(waiting))

    def turn(self) -> None:
        self.writer.turn(self.now)

    def sample(self, name: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"oscc_gateway_{name}")

    def hop(self, hop: str) -> tuple[float | None, float | None]:
        value, name = self.telemetry.registry.get_sample_value, "oscc_gateway_event_latency_seconds"
        return value(f"{name}_count", {"hop": hop}), value(f"{name}_sum", {"hop": hop})


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_phones_at_different_positions_share_a_change_and_each_continues_from_its_own(codec: Codec) -> None:
    setup = Setup(phones=0, codec=codec)
    for number in range(3):
        setup.ledger.record(me_key(f"s{number}"), queue(number))
        setup.phones.append(setup.add(f"s{number}"))
    setup.now += 1
    setup.wait(2)
    unite_due(setup.ledger, setup.now)
    setup.turn()
    sent = [
        [codec.decode_gateway(frame.payload) for frame in received(*phone.written)] for phone in setup.phones
    ]
    assert [(frame.after, frame.upto) for (frame,) in sent if isinstance(frame, frames.Changes)] == [
        (3, 6),
        (4, 6),
        (5, 6),
    ]
    assert [phone.outbox.shipped for phone in setup.phones] == [phone.size for phone in setup.phones]
    assert setup.fanout_group.own_frames == {}


def test_what_is_written_to_all_in_step_is_counted_for_each() -> None:
    setup = Setup(phones=3)
    setup.ledger.came_at, setup.ledger.under_way_s = setup.now - 0.5, 0.25
    setup.wait(2)
    setup.ledger.came_at = setup.now
    setup.wait(2, number=2)
    setup.turn()
    assert [len(phone.received) for phone in setup.phones] == [1, 1, 1]
    assert setup.sample("updates_total") == 6
    assert setup.hop("edge") == (3, 1.5)
    assert setup.hop("total") == (3, 2.25)
    assert (setup.sample("state_age_seconds_count"), setup.sample("state_age_seconds_sum")) == (3, 0.75)


def test_what_is_due_later_is_come_back_for() -> None:
    setup = Setup()
    setup.wait(5)
    setup.turn()
    setup.wait(6)
    setup.now += 0.01
    setup.turn()
    assert setup.asked == [(setup.writer, setup.now - 0.01 + setup.fanout_group.interval_s)]
    assert [len(phone.written) for phone in setup.phones] == [1, 1, 1]
    setup.now = setup.asked[0][1]
    setup.turn()
    assert [phone.received[-1]["patch"] for phone in setup.phones] == [
        {"queue:1": {"contacts_waiting": 6}}
    ] * 3


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_what_is_due_is_written_to_each_once_and_is_the_same_bytes(codec: Codec) -> None:
    setup = Setup(codec=codec)
    setup.wait(5)
    setup.turn()
    setup.turn()
    first, *others = [phone.written for phone in setup.phones]
    assert all(other[0] is first[0] for other in others)
    [frame] = received(first[0])
    assert [phone.outbox.shipped for phone in setup.phones] == [(1, len(frame.payload))] * 3
    assert frame.opcode == (1 if codec.text else 2)
    changes = codec.decode_gateway(frame.payload)
    assert getattr(changes, "patch", None) == {"queue:1": {"contacts_waiting": 5}}


def test_parts_of_one_message_are_counted_one_by_one_and_for_each_phone() -> None:
    setup = Setup(frame_bytes=60)
    setup.wait(5)
    setup.wait(6, 2)
    setup.turn()
    [first, second] = setup.phones[0].received
    assert (first["more"], second["upto"]) == (True, setup.ledger.position.seq)
    assert [phone.outbox.shipped for phone in setup.phones] == [phone.size for phone in setup.phones]
    assert setup.sample("frames_total") == 6


def test_a_phone_that_cannot_be_written_to_fails_alone_and_one_not_yet_is_passed_by() -> None:
    setup = Setup()
    setup.phones[1].fault = fault = ConnectionError("x")
    setup.wait(5)
    setup.turn()
    assert [phone.faults for phone in setup.phones] == [[], [fault], []]
    assert [len(phone.written) for phone in setup.phones] == [1, 0, 1]
    assert setup.phones[0].outbox.fanout_group is setup.fanout_group
    setup = Setup()
    setup.phones[1].outbox.sink = None
    setup.wait(5)
    setup.turn()
    assert [len(phone.written) for phone in setup.phones] == [1, 0, 1]


def test_who_parts_while_others_are_written_to_is_written_to_once() -> None:
    setup = Setup()
    setup.phones[0].parts = setup.phones[2]
    setup.wait(5)
    setup.turn()
    parted = setup.phones[2]
    assert parted.outbox.fanout_group is None
    assert parted.outbox.shipped == parted.size
    assert [frame["patch"] for frame in parted.received] == [{"queue:1": {"contacts_waiting": 5}}]
    assert [frame["kind"] for frame in decoded(parted.outbox.take(setup.now))] == ["error"]


def test_each_phone_is_credited_with_what_was_written_to_it_wherever_it_is_now() -> None:
    setup = Setup(2)
    alone, *late = [setup.add(f"t{number}") for number in range(3)]
    alone.outbox.post(note("x"))
    setup.now += 1
    for waiting in (5, 6, 7):
        setup.wait(waiting)
        for fanout_group in setup.fanout_groups:
            fanout_writer_of(fanout_group, cast("Scheduler[Any]", setup), setup.telemetry).turn(setup.now)
        alone.outbox.take(setup.now)
        setup.now += 1
    assert len(setup.fanout_groups) == 1, "all have met"
    for phone in (*setup.phones, *late):
        assert phone.outbox.shipped == phone.size


# ---- when they cannot be sent together ----


def figures(frame: dict[str, Any]) -> dict[str, int]:
    """Return how many wait in each queue, by a frame that has all."""
    assert frame["reset"]
    return {key: queue["contacts_waiting"] for key, queue in frame["put"].items()}


def test_a_fault_parts_all_and_each_phone_gets_everything_again_alone() -> None:
    setup = Setup()
    setup.wait(5)
    setup.writer.fail(RuntimeError("x"))
    assert [(phone.outbox.fanout_group, phone.woken) for phone in setup.phones] == [(None, 1)] * 3
    for phone in setup.phones:
        [changes] = decoded(phone.outbox.take(setup.now))
        assert figures(changes) == {"queue:1": 5, "queue:2": 1}
    setup = Setup()
    setup.phones[1].outbox.sink = None
    setup.writer.fail(RuntimeError("x"))
    assert setup.fanout_groups == []
    assert [phone.woken for phone in setup.phones] == [1, 0, 1]


@pytest.mark.parametrize("place", ["patches_of", "changes_of", "frames_of", "packed", "place_of"])
def test_a_fault_whatever_it_is_in_loses_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup()
    setup.wait(5)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(place)

    writer = setup.writer
    with monkeypatch.context() as patched:
        patched.setattr(fanout_groups, "patches_of", lambda *_: None)
        patched.setattr(edge_scheduler if place == "packed" else fanout_groups, place, broken)
        with pytest.raises(RuntimeError, match=place) as caught:
            writer.turn(setup.now)
        writer.fail(caught.value)
    for phone in setup.phones:
        assert (phone.faults, phone.woken) == ([], 1)
        [changes] = decoded(phone.outbox.take(setup.now + 1))
        assert figures(changes) == {"queue:1": 5, "queue:2": 1}


def test_an_empty_fan_out_group_is_sent_nothing_and_takes_no_place() -> None:
    setup = Setup(2)
    fanout_group, writer = setup.fanout_group, setup.writer
    setup.wait(5)
    for phone in setup.phones:
        phone.outbox.post(note("x"), after_state=True)
    setup.phones[0].outbox.take(setup.now)
    writer.turn(setup.now)
    setup.phones[1].outbox.take(setup.now)
    assert setup.sample("frames_total") == 0
    assert setup.phones[0].outbox.fanout_group is setup.phones[1].outbox.fanout_group
    assert setup.phones[0].outbox.fanout_group not in {None, fanout_group}


def test_a_change_that_was_undone_is_not_written() -> None:
    setup = Setup()
    setup.wait(5)
    setup.wait(1)
    setup.turn()
    assert [phone.written for phone in setup.phones] == [[], [], []]
    assert (setup.sample("frames_total"), setup.asked) == (0, [])


def test_what_the_kernel_does_not_accept_at_once_goes_to_the_channel() -> None:
    setup = Setup(3)
    whole, partly, none = setup.phones
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        os.write(writer, bytes(4096))
        partly.open_fd = writer
        setup.wait(5)
        setup.turn()
        assert partly.written == none.written == whole.written, "the pipe is full"
        os.read(reader, 4096)
        setup.now += 1
        setup.wait(6)
        setup.turn()
        assert os.read(reader, 4096) == none.written[-1]
        assert (len(partly.written), len(none.written)) == (1, 2)
        assert partly.outbox.shipped == none.outbox.shipped == none.size
    finally:
        os.close(reader)
        os.close(writer)


# ---- devices of one user see what each would see alone ----


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


async def test_each_codec_has_a_fan_out_group_of_its_own(home: Home) -> None:
    for codec in ("json", "msgpack", "json", "msgpack"):
        await home.come({"json": JSON, "msgpack": MSGPACK}[codec])
    await home.gateway.clock.advance(1)
    home.change(7)
    assert len({group_of(socket) for socket in home.sockets}) == 2
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


async def test_each_device_learns_a_new_clock_of_the_values_right_behind_them(home: Home) -> None:
    await home.fill(3)
    clock, ledger = home.gateway.clock, home.feed.ledger
    ledger.set_clock(clock.wall_ms() - clock.now() * 1000 - 3_600_000)
    home.change(1)
    await clock.advance(0.1)
    for phone in home.phones:
        await figure(phone, 1)
        ping = await phone.hear_one(frames.Ping)
        assert ping.server_time_ms == pytest.approx(clock.wall_ms() - 3_600_000, abs=200)
    await clock.advance(1)
    home.change(2)
    await clock.advance(1)
    assert len(home.fanout_group.members) == 3, "they are in step again"


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
    socket.facts_changed(replace(gateway.node.facts(ticket_of(gateway.clock)), end=EndReason.BLOCKED))


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
            assert group_of(stalled) is None
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
        assert group_of(stalled) is home.fanout_group
        assert len(home.fanout_group.members) == 3
