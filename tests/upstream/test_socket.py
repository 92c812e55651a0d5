"""Socket of a link: order, bounds, and an end for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

import pytest

from gateway.protocol import websocket
from gateway.protocol.websocket import (
    CloseReceived,
    Message,
    Parser,
    PongFrame,
    Violation,
    WebSocketEvent,
    WebSocketPing,
)
from gateway.runtime.event_loop import READ_BYTES, LinkScheduler, SystemClock
from gateway.upstream.oscce.readings import Kept, text_of
from gateway.upstream.oscce.socket import WAITING_CHARS_MAX, Closed, LinkSocket
from tests.doubles.tasks import beside

LIMIT = 2 * WAITING_CHARS_MAX
T = TypeVar("T")


class RecordingTransport:
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_reading = self.is_closed = self.is_aborted = False
        self.resume_reading()

    def write(self, data: bytes) -> None:
        self.sent += data

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_closed
        self.is_reading = True

    def get_extra_info(self, name: str) -> None:
        """Have no descriptor."""

    @property
    def is_resting(self) -> bool:
        return not self.is_reading

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


class Line:
    """A socket, its transport, and what it said at its end."""

    def __init__(self) -> None:
        self.transport = RecordingTransport()
        self.faults: list[Exception | None] = []
        self.socket = LinkSocket(
            cast("asyncio.Transport", self.transport), LIMIT, self.lost, LinkScheduler(SystemClock())
        )

    def lost(self, link: LinkSocket, fault: Exception | None) -> None:
        """Note the end of the socket."""
        assert link is self.socket
        self.faults.append(fault)

    def come(self, *texts: str) -> None:
        """Let whole messages come."""
        self.socket.data_received(b"".join(websocket.frame(1, text.encode()) for text in texts))

    def sent(self) -> list[WebSocketEvent]:
        """Return what was sent, as the server reads it."""
        return list(Parser(LIMIT).feed(self.transport.sent))


@pytest.fixture
def line() -> Line:
    return Line()


async def turns() -> None:
    """Let everybody run who can."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def begun(work: Coroutine[object, object, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run *work* beside the block, which begins when it waits."""
    async with beside(work) as running:
        await turns()
        yield running


# ---- what comes ----


async def test_what_comes_is_reported_in_order_and_waited_for(line: Line) -> None:
    line.come("one", "two")
    assert [await line.socket.receive(), await line.socket.receive()] == ["one", "two"]
    async with begun(line.socket.receive()) as waiting:
        assert not waiting.done()
        line.come("three")
    assert waiting.result() == "three"


async def test_it_says_whether_something_waits(line: Line) -> None:
    seen = [line.socket.has_message]
    line.come("one", "two")
    for _ in range(2):
        seen.append(line.socket.has_message)
        await line.socket.receive()
    assert [*seen, line.socket.has_message] == [False, True, True, False]


@dataclass
class Paced:
    """The pace of the only phone."""

    sent_at: float
    interval_s: float = 0.05


@dataclass(frozen=True)
class Taking:
    """Take readings into *taken*, up to the first that it does not take."""

    taken: list[str]
    takes: Callable[[str], bool] = lambda _: True
    pace: Paced | None = None
    times: list[float | None] = field(default_factory=list)
    """When the readings of each call came."""

    def take_readings(self, unread: list[Kept], came_at: float | None = None) -> Paced | None:
        self.times.append(came_at)
        while unread and self.takes(text_of(unread[0])):
            self.taken.append(text_of(unread.pop(0)))
        return self.pace

    def take_text(self, text: str) -> bool:
        return False


def reading(key: int, value: int, *, time_ms: int = 1) -> str:
    """Return a reading of a queue."""
    return (
        f'{{"Type":"Event","QueryID":5,"EventType":"QueueRealtime","Time":{time_ms},"Complete":false,'
        f'"Elements":[{{"QueueKey":{key},"Contacts":{value}}}]}}'
    )


async def test_who_waits_takes_readings_in_a_turn_and_what_is_none_follows_them(line: Line) -> None:
    take = Taking([])
    line.come(reading(1, 0))
    async with begun(line.socket.receive(take)) as waiting:
        line.come(reading(1, 1), reading(2, 2))
        await turns()
        assert not waiting.done()
        line.come(reading(1, 3), "an answer", reading(1, 4))
    assert waiting.result() == "an answer"
    assert take.taken == [reading(1, 0), reading(1, 1), reading(2, 2), reading(1, 3)]
    async with begun(line.socket.receive(take)) as waiting:
        line.come("the end")
    assert waiting.result() == "the end"
    assert take.taken[4:] == [reading(1, 4)]


async def test_of_readings_that_are_not_digested_yet_only_the_newest_of_each_key_is_read(line: Line) -> None:
    take = Taking([])
    async with begun(line.socket.receive(take)) as waiting:
        line.come(reading(1, 1), reading(2, 2), reading(1, 3), reading(1, 0, time_ms=0))
        await turns()
        assert take.taken == [reading(2, 2), reading(1, 3), reading(1, 0, time_ms=0)]
        line.come(*[reading(value % 3, value) for value in range(60)])
        await turns()
        waiting.cancel()
    assert take.taken[3:] == [reading(0, 57), reading(1, 58), reading(2, 59)]


async def test_what_else_comes_with_much_has_its_place_among_it(line: Line) -> None:
    line.come(*[reading(1, value) for value in range(60)], "an answer", reading(1, 60))
    assert [await line.socket.receive() for _ in range(3)] == [reading(1, 59), "an answer", reading(1, 60)]


async def test_who_cannot_take_a_reading_receives_it_and_all_behind_it_in_order(line: Line) -> None:
    async with begun(line.socket.receive(Taking([], lambda text: '"QueueKey":1' not in text))) as waiting:
        line.come(reading(2, 0, time_ms=0), reading(1, 1), reading(3, 3))
    assert waiting.result() == reading(1, 1)
    assert await line.socket.receive() == reading(3, 3)


class HeldByHand:
    """Turns that the test takes itself."""

    skipped = 0
    is_planned = True
    began_at = 100.0

    def __init__(self) -> None:
        self.due: list[LinkSocket] = []
        self.held_until: list[float] = []

    def now(self) -> float:
        """Return the time of the turn."""
        return self.began_at

    def schedule(self, link: LinkSocket) -> None: ...

    def schedule_at(self, link: LinkSocket, until: float) -> None:
        link.held_at = self.began_at
        self.held_until.append(until)


def held_by_hand() -> tuple[Line, HeldByHand]:
    """Return a link whose turns the test takes itself."""
    line, hand = Line(), HeldByHand()
    line.socket = LinkSocket(
        cast("asyncio.Transport", line.transport), LIMIT, line.lost, cast("LinkScheduler", hand)
    )
    return line, hand


async def test_readings_wait_together_while_the_only_phone_may_not_be_sent_anything() -> None:
    line, hand = held_by_hand()
    pace = Paced(sent_at=99.9)
    take = Taking([], pace=pace)
    async with begun(line.socket.receive(take)) as waiting:
        line.come(reading(1, 1))
        assert hand.due.pop() is line.socket  # nothing was read, so the pace is unknown
        line.socket.is_due = False
        line.socket.process_received()
        pace.sent_at = 99.99
        line.come(reading(1, 2))
        line.come(reading(2, 3))
        line.come(reading(1, 4))
        assert (hand.due, hand.held_until) == ([], [99.99 + 0.05])
        line.socket.process_received()
        assert take.taken[1:] == [reading(2, 3), reading(1, 4)]
        assert take.times == [None, 100.0]
        pace.sent_at = 99.995
        line.come(reading(1, 5), "an answer")
    assert waiting.result() == "an answer"
    assert take.taken[3:] == [reading(1, 5)]
    async with begun(line.socket.receive(take)) as waiting:
        line.socket.process_received()  # its time has come, and nothing waits
        hand.began_at = 101.0
        line.come(reading(1, 6))
        assert hand.due == [line.socket]
        waiting.cancel()


async def test_the_time_of_readings_that_waited_is_not_that_of_later_ones() -> None:
    line, hand = held_by_hand()
    pace = Paced(sent_at=99.9)
    take = Taking([], pace=pace)
    async with begun(line.socket.receive(take)) as waiting:
        line.come(reading(1, 1), "an answer")
    assert waiting.result() == "an answer"
    pace.sent_at = 99.99
    line.come(reading(1, 2))
    assert line.socket.held_at == 100.0
    line.come("another answer")  # nobody waits: both are received
    assert [await line.socket.receive(), await line.socket.receive()] == [reading(1, 2), "another answer"]
    async with begun(line.socket.receive(take)) as waiting:
        hand.began_at = 100.02
        line.come(reading(1, 3))
        line.come("the last one")
    assert take.times == [None, 100.02]


async def test_readings_that_came_before_the_end_are_received_before_it(line: Line) -> None:
    line.come(reading(1, 1))
    line.socket.connection_lost(None)
    assert await line.socket.receive(Taking([])) == reading(1, 1)
    assert await line.socket.receive(Taking([])) == Closed()


async def test_what_cannot_be_taken_fails_who_waits_and_not_the_connection(line: Line) -> None:
    class Failing(Taking):
        def take_readings(self, unread: list[Kept], came_at: float | None = None) -> None:
            raise LookupError(text_of(unread.pop(0)))

    async with begun(_failed(line.socket.receive(Failing([])))) as waiting:
        line.come(reading(1, 1), reading(2, 2))
    assert waiting.result() == reading(1, 1)
    assert await line.socket.receive() == reading(2, 2)


async def _failed(receiving: Awaitable[object]) -> str:
    with pytest.raises(LookupError) as raised:
        await receiving
    return str(raised.value.args[0])


async def test_who_has_left_takes_nothing(line: Line) -> None:
    take = Taking([])
    async with begun(line.socket.receive(take)) as waiting:
        waiting.cancel()
        line.come(reading(1, 1))
    line.come(reading(2, 2))
    assert [await line.socket.receive() for _ in range(2)] == [reading(1, 1), reading(2, 2)]
    assert take.taken == []


async def test_readings_that_nobody_takes_make_the_server_wait(line: Line) -> None:
    key = 0
    while not line.transport.is_resting:
        line.come(reading(key := key + 1, 0))
        await turns()
        assert key * len(reading(0, 0)) < 2 * WAITING_CHARS_MAX
    async with begun(line.socket.receive(Taking([]))) as waiting:
        waiting.cancel()
    assert not line.transport.is_resting


async def test_a_link_that_floods_is_read_on_in_its_next_turn(line: Line) -> None:
    async with begun(line.socket.receive(Taking([]))) as waiting:
        line.come(*[reading(1, value) for value in range(1000)])
        assert line.transport.is_resting
        await turns()
        assert line.transport.is_reading
        waiting.cancel()


async def test_a_ping_is_answered_and_reported(line: Line) -> None:
    line.socket.data_received(websocket.frame(websocket.PING, b"are you there"))
    assert line.sent() == [PongFrame(b"are you there")]
    assert await line.socket.receive() == WebSocketPing(b"are you there")


async def test_a_server_that_takes_nothing_is_sent_no_pongs(line: Line) -> None:
    line.socket.pause_writing()
    line.socket.data_received(websocket.frame(websocket.PING, b""))
    assert line.sent() == []


async def test_who_does_not_read_makes_the_server_wait(line: Line) -> None:
    half = "x" * (WAITING_CHARS_MAX // 2)
    line.come(half)
    await turns()
    assert line.transport.is_reading
    line.come(half)
    await turns()
    assert line.transport.is_resting
    await line.socket.receive()
    assert line.transport.is_resting
    await line.socket.receive()
    assert line.transport.is_reading


async def test_what_waited_in_the_kernel_while_reading_paused_counts_from_the_pause_on() -> None:
    line, hand = held_by_hand()
    line.come("x" * (WAITING_CHARS_MAX + 1))
    assert line.transport.is_resting
    hand.began_at = 103.0
    await line.socket.receive()
    line.socket.process_received()
    assert line.transport.is_reading
    line.come("y" * READ_BYTES)  # this fills the buffer, so more waits
    hand.began_at = 104.0
    line.come("an answer", reading(1, 1), "another")
    seen = []
    for _ in range(4):
        await line.socket.receive()
        seen.append(line.socket.came_at)
    assert seen == [100.0] * 4
    hand.began_at = 105.0
    line.come("the next")
    await line.socket.receive()
    assert line.socket.came_at == 105.0


async def test_readings_that_waited_in_the_kernel_are_dated_for_their_reader() -> None:
    line, hand = held_by_hand()
    line.come("x" * (WAITING_CHARS_MAX + 1))
    await line.socket.receive()
    line.socket.process_received()
    take = Taking([])
    async with begun(line.socket.receive(take)) as waiting:
        hand.began_at = 103.0
        line.come(reading(1, 1))
        line.socket.process_received()
        line.come(reading(1, 2))
        line.socket.process_received()
        waiting.cancel()
    assert take.times == [100.0, None]


async def test_pings_that_nobody_reads_are_bounded_too(line: Line) -> None:
    ping = websocket.frame(websocket.PING, b"")
    for _ in range(WAITING_CHARS_MAX):
        line.socket.data_received(ping)
        if line.transport.is_resting:
            break
    assert line.transport.is_resting


# ---- what is sent ----


async def test_messages_are_sent_with_masks_that_differ(line: Line) -> None:
    await line.socket.send("héllo")
    first, line.transport.sent = line.transport.sent, b""
    await line.socket.send("héllo")
    assert line.sent() == [Message("héllo".encode(), text=True)]
    assert line.transport.sent != first


async def test_sending_waits_for_room(line: Line) -> None:
    line.socket.pause_writing()
    async with asyncio.TaskGroup() as tasks:
        sending = [tasks.create_task(line.socket.send(text)) for text in ("one", "two")]
        await turns()
        assert line.transport.sent == b""
        line.socket.resume_writing()
        await turns()
        assert all(task.done() for task in sending)
    assert line.sent() == [Message(b"one", text=True), Message(b"two", text=True)]


async def test_who_waits_for_room_learns_of_the_end(line: Line) -> None:
    line.socket.pause_writing()
    async with begun(_refused(line.socket.send("late"))) as sending:
        line.socket.connection_lost(None)
    assert sending.result()


async def _refused(sending: Awaitable[object]) -> bool:
    with pytest.raises(ConnectionError):
        await sending
    return True


# ---- the end ----


async def test_what_came_before_the_end_is_reported_and_then_the_end_for_ever(line: Line) -> None:
    line.come("last")
    line.socket.connection_lost(fault := OSError())
    assert [await line.socket.receive() for _ in range(3)] == ["last", Closed(), Closed()]
    assert line.faults == [fault]
    assert await _refused(line.socket.send("late"))


async def test_closing_says_so_and_waits_for_the_server(line: Line) -> None:
    line.come("nobody reads it")
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(line.socket.receive())
        await turns()
        assert receiving.result() == "nobody reads it"
        receiving = tasks.create_task(line.socket.receive())
        closing = [tasks.create_task(line.socket.close(1002)) for _ in range(2)]
        await turns()
        assert line.sent() == [CloseReceived(1002, "")]
        assert receiving.result() == Closed()
        line.come("still nobody")
        assert not line.transport.is_closing()
        line.socket.data_received(websocket.close(1002))
        assert line.transport.is_closing()
        line.socket.connection_lost(None)
        await turns()
        assert all(task.done() for task in closing)
    assert not line.transport.is_aborted
    assert await line.socket.receive() == Closed()
    assert await _refused(line.socket.send("late"))


async def test_a_server_that_has_closed_is_answered_and_left(line: Line) -> None:
    line.socket.data_received(websocket.close(1001))
    assert await line.socket.receive() == Closed()
    async with begun(line.socket.close(1000)):
        assert line.sent() == [CloseReceived(1000, "")]
        assert line.transport.is_closed
        line.socket.connection_lost(None)


async def test_after_a_breach_the_server_gets_the_reason_before_the_close(line: Line) -> None:
    line.socket.data_received(b"\x82\x00")
    breach = await line.socket.receive()
    assert isinstance(breach, Violation)
    async with begun(line.socket.close(breach.code)):
        line.socket.data_received(b"x" * (3 * WAITING_CHARS_MAX))
        assert line.transport.is_reading
        assert not line.transport.is_closed
        line.socket.connection_lost(None)


async def test_a_server_that_waited_is_read_again_at_the_close(line: Line) -> None:
    line.come("x" * (WAITING_CHARS_MAX + 1))
    assert line.transport.is_resting
    async with begun(line.socket.close(1000)):
        assert line.transport.is_reading
        line.socket.connection_lost(None)


async def test_an_interrupted_close_ends_the_connection(line: Line) -> None:
    async with begun(line.socket.close(1000)) as closing:
        closing.cancel()
    assert line.transport.is_aborted


async def test_nothing_is_left_to_close_or_abort_after_the_end(line: Line) -> None:
    line.socket.connection_lost(None)
    await line.socket.close(1000)
    line.socket.abort()
    assert line.transport.sent == b""
    assert not line.transport.is_aborted
