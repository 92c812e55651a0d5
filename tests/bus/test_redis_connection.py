"""Connection to Redis: order, deadlines, and recovery, whatever the server does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import pytest
from redis.asyncio import Connection
from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.bus.connect import CLOSED, Reply, code, is_refusal, next_reply, pack, reason
from gateway.bus.redis import PendingCommand, Pipeline, RedisClient, RedisLimits
from gateway.domain.errors import ErrorCode, GatewayError
from tests.bus.peer import NO_SUCH, Peer, Words, connector, usual
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import MemoryTransport
from tests.doubles.tasks import beside, during

PACE = RedisLimits(deadline_s=0.25, ping_s=3.0, retry_s=0.1, retry_max_s=2.0, window=3, waiting_max=10)


@asynccontextmanager
async def running(
    peer: Peer,
    clock: ManualClock | None = None,
    pace: RedisLimits = PACE,
    jitter: Callable[[], float] = lambda: 0.5,
) -> AsyncIterator[tuple[RedisClient, Peer, ManualClock]]:
    clock = clock or ManualClock()
    line = RedisClient(connector(peer, clock), clock, jitter, pace)
    async with during(line.run()):
        await clock.settle()
        yield line, peer, clock
    assert not line.is_up
    assert peer.open == 0


def gets(peer: Peer) -> list[bytes]:
    return [words[1] for words in peer.asked(b"GET")]


async def fault(answer: asyncio.Future[Reply]) -> str:
    with pytest.raises(GatewayError) as raised:
        await answer
    assert raised.value.code is ErrorCode.BUS_DOWN
    return raised.value.message.removeprefix("the bus gave no answer: ")


def echo(words: Words) -> bytes | None:
    return b"+%s\r\n" % words[1] if words[0] == b"GET" else usual(words)


async def test_what_is_asked_in_one_turn_leaves_in_one_write_and_in_order() -> None:
    async with running(Peer(echo)) as (line, peer, _):
        before = len(peer.transport.written)
        answers = [line.ask("GET", name) for name in ("a", "b", "c")]
        assert [await answer for answer in answers] == [b"a", b"b", b"c"]
        assert len(peer.transport.written) == before + 1


async def test_what_is_flushed_is_written_in_the_call_and_what_is_asked_later_follows() -> None:
    async with running(Peer(echo)) as (line, peer, _):
        before = len(peer.transport.written)
        first = [line.ask("GET", name) for name in ("a", "b")]
        line.flush()
        assert len(peer.transport.written) == before + 1
        last = line.ask("GET", "c")
        line.flush()
        line.flush()
        assert len(peer.transport.written) == before + 2
        assert [await answer for answer in (*first, last)] == [b"a", b"b", b"c"]


async def test_without_a_connection_nothing_is_flushed_and_nothing_is_lost() -> None:
    clock, peer = ManualClock(), Peer(echo)
    line = RedisClient(connector(peer, clock), clock, lambda: 0.5, PACE)
    answer = line.ask("GET", "a")
    line.flush()
    async with during(line.run()):
        assert await answer == b"a"


async def test_a_flush_that_the_kernel_does_not_take_ends_with_the_connection() -> None:
    async with running(Peer(echo)) as (line, peer, clock):
        peer.transport.choke()
        lost = line.ask("GET", "a")
        line.flush()
        waiting = line.ask("GET", "b")
        line.flush()
        await clock.settle()
        peer.transport.abort()
        assert await fault(lost) == "it closed the connection"
        await clock.advance(0.06)
        assert await waiting == b"b"
        assert gets(peer) == [b"b"]


async def test_a_write_that_fails_outside_of_a_task_ends_the_connection_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: bytes) -> NoReturn:
        raise BrokenPipeError(32, "Broken pipe")

    async with running(Peer(echo)) as (line, peer, clock):
        monkeypatch.setattr(peer.transport, "write", broken)
        assert await fault(line.ask("GET", "a"))
        await clock.advance(0.06)
        assert await line.ask("GET", "b") == b"b"
        assert len(peer.transports) == 2


async def test_a_window_full_of_unanswered_commands_holds_the_others_back() -> None:
    async with running(Peer()) as (line, peer, clock):
        answers = [line.ask("GET", str(number)) for number in range(8)]
        await clock.settle()
        assert gets(peer) == [b"0", b"1", b"2"]
        peer.say(b":0\r\n:1\r\n")
        await clock.settle()
        assert gets(peer) == [b"0", b"1", b"2", b"3", b"4"]
        peer.answer = lambda _: b":9\r\n"
        peer.say(b":2\r\n:3\r\n:4\r\n")
        assert [await answer for answer in answers] == [0, 1, 2, 3, 4, 9, 9, 9]


async def test_what_was_given_up_before_it_was_sent_is_not_sent() -> None:
    async with running(Peer(echo)) as (line, peer, _):
        given_up, kept = line.ask("GET", "a"), line.ask("GET", "b")
        given_up.cancel()
        assert await kept == b"b"
        assert gets(peer) == [b"b"]


async def test_an_answer_is_waited_for_as_long_as_the_deadline_and_not_longer() -> None:
    async with running(Peer()) as (line, peer, clock):
        await clock.advance(0.1)
        first = line.ask("GET", "a")
        await clock.advance(0.2)
        second = line.ask("GET", "b")
        await clock.advance(0.04)
        assert not first.done()
        await clock.advance(0.02)
        for answer in (first, second):  # what comes after a missing answer belongs to nobody
            assert await fault(answer) == "it did not answer in time"
        await clock.advance(0.1)
        assert line.is_up
        assert len(peer.transports) == 2
        assert line.losses == {"it did not answer in time": 1}


@pytest.mark.parametrize(("opened_s", "waits_s"), [(0.05, 0.25), (0.3, 0.6), (0.9, 1.0)])
async def test_of_a_server_that_is_far_away_answers_are_waited_for_longer(
    opened_s: float, waits_s: float
) -> None:
    async with running(Peer(lambda _: None)) as (line, peer, clock):
        await clock.advance(opened_s)
        for words in list(peer.received):
            peer.say(usual(words) or b"")
        await clock.settle()
        in_time = line.ask("GET", "a")
        await clock.advance(waits_s - 0.02)
        peer.say(b"+b\r\n")
        assert await in_time == b"b"
        late = line.ask("GET", "a")
        await clock.advance(waits_s - 0.02)
        assert not late.done()
        await clock.advance(0.04)
        assert await fault(late) == "it did not answer in time"


async def test_what_failed_is_never_sent_again_and_what_was_asked_later_is() -> None:
    async with running(Peer()) as (line, peer, clock):
        lost = [line.ask("GET", str(number)) for number in range(3)]
        await clock.settle()
        waiting = line.ask("GET", "3")
        peer.answer = echo
        peer.transport.abort()
        late = line.ask("GET", "4")
        await clock.advance(0.06)
        assert [await fault(answer) for answer in lost] == ["it closed the connection"] * 3
        assert [await waiting, await late] == [b"3", b"4"]
        assert gets(peer) == [b"3", b"4"]


async def test_while_a_connection_is_made_commands_wait_for_it_as_long_as_they_may() -> None:
    clock, peer = ManualClock(), Peer()
    peer.is_silent = True
    async with running(peer, clock) as (line, _, _):
        answer = line.ask("GET", "a")
        await clock.advance(0.24)
        assert not answer.done()
        await clock.advance(0.02)
        assert "not connected" in await fault(answer)


async def test_while_nobody_is_reachable_commands_fail_at_once() -> None:
    clock, peer = ManualClock(), Peer()
    peer.fault = ConnectionRefusedError()
    async with running(peer, clock) as (line, _, _):
        assert (line.is_up, line.is_down, line.trouble) == (False, True, "it refused the connection")
        assert await fault(line.ask("GET", "a")) == "it refused the connection"
        peer.fault, peer.answer = None, echo
        await clock.advance(0.06)
        assert (line.is_up, line.is_down, line.trouble) == (True, False, None)
        assert await line.answer("GET", "b") == b"b"


async def test_attempts_come_ever_rarer_with_full_jitter() -> None:
    clock, peer = ManualClock(), Peer()
    peer.fault = ConnectionRefusedError()
    draws = iter([0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    instants: list[float] = []
    start = clock.now()
    async with running(peer, clock, jitter=lambda: next(draws)):
        while len(instants) < 6:
            instants += [clock.now() - start] * (len(peer.places) - len(instants))
            await clock.advance(0.05)
    waits = [later - earlier for earlier, later in pairwise(instants)]
    assert waits == pytest.approx([0.0, 0.2, 0.2, 0.8, 1.6], abs=0.06)


async def test_a_connection_that_lasted_ends_the_back_off() -> None:
    clock, peer = ManualClock(), Peer()
    peer.fault = ConnectionRefusedError()
    async with running(peer, clock, jitter=lambda: 0.99) as (line, _, _):
        await clock.advance(10.0)
        peer.fault = None
        await clock.advance(5.0)
        assert line.is_up
        peer.transport.abort()
        await clock.advance(0.1)
        assert line.is_up


async def test_a_peer_that_froze_is_found_by_a_ping_that_is_not_answered() -> None:
    async with running(Peer()) as (line, peer, clock):
        await clock.advance(3.1)
        assert len(peer.asked(b"PING")) == 2
        peer.answer = lambda _: None
        await clock.advance(3.1)
        assert len(peer.asked(b"PING")) == 3
        peer.answer = usual
        await clock.advance(0.3)
        assert line.losses == {"it did not answer in time": 1}
        assert len(peer.transports) == 2


class PausedClock(ManualClock):
    """After a pause of the process timers come first, and what was received meanwhile a turn later."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[bytes] = []
        self.peer: Peer | None = None

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0 and self.peer is not None and self.received:
            self.peer.say(self.received.pop())
        await super().sleep(seconds)


async def test_an_answer_that_is_here_when_a_paused_process_goes_on_counts() -> None:
    clock, peer = PausedClock(), Peer()
    clock.peer = peer
    async with running(peer, clock) as (line, _, _):
        answer = line.ask("GET", "a")
        clock.received.append(b":1\r\n")
        await clock.advance(0.3)
        assert await answer == 1
        assert clock.received == []
        assert line.losses == {}


async def test_too_much_that_waits_is_refused_the_newest_first() -> None:
    async with running(Peer()) as (line, peer, clock):
        answers = [line.ask("GET", str(number)) for number in range(11)]
        assert await fault(answers[10]) == "too much waits for it"
        peer.answer = echo
        await clock.settle()
        peer.say(b"+0\r\n+1\r\n+2\r\n")
        assert [await answer for answer in answers[:10]] == [b"%d" % number for number in range(10)]


async def test_the_bytes_that_wait_are_bounded_whether_or_not_they_were_sent() -> None:
    async with running(Peer(), pace=PACE._replace(window=1, waiting_max_bytes=3_000)) as (line, peer, clock):
        waiting = [line.ask("GET", b"a" * 1_000), line.ask("GET", b"b" * 1_000)]
        await clock.settle()
        assert await fault(line.ask("GET", b"c" * 1_000)) == "too much waits for it"
        waiting.append(line.ask("GET", "small"))
        for _ in range(3):
            peer.say(b":1\r\n")
            await clock.settle()
        assert [await answer for answer in waiting] == [1, 1, 1]
        large = line.ask("GET", b"d" * 4_000)
        await clock.settle()
        peer.say(b":2\r\n")
        assert await large == 2, "what is larger than the bound alone may wait alone"


async def test_while_the_kernel_takes_nothing_the_rest_waits_here_and_is_bounded() -> None:
    async with running(Peer(echo), pace=PACE._replace(waiting_max_bytes=1_000)) as (line, peer, clock):
        peer.transport.choke()
        taken = line.ask("GET", b"a" * 1_000)
        await clock.settle()
        assert await fault(line.ask("GET", "b")) == "too much waits for it"
        peer.transport.breathe()
        await clock.settle()
        assert [await answer for answer in (taken, line.ask("GET", "c"))] == [b"a" * 1_000, b"c"]


async def test_refusals_of_redis_are_bus_down_and_quote_nothing() -> None:
    peer = Peer(lambda words: NO_SUCH if words[0] == b"GET" else usual(words))
    async with running(peer) as (line, _, _):
        assert isinstance(await line.ask("GET", "a"), ResponseError)
        with pytest.raises(GatewayError) as raised:
            await line.answer("GET", "secret")
        assert raised.value.message == "the bus gave no answer: ERR"
        with pytest.raises(GatewayError):
            await line.answers([("PING",), ("GET", "a"), ("GET", "b")])
        assert line.is_up


async def test_a_server_that_became_a_replica_is_left() -> None:
    replica = Peer(lambda words: b"-READONLY x\r\n" if words[0] == b"SET" else usual(words))
    async with running(replica) as (line, peer, clock):
        with pytest.raises(GatewayError, match="READONLY"):
            await line.answer("SET", "a", "b")
        await clock.advance(0.1)
        assert line.losses == {"it is a replica": 1}
        assert len(peer.transports) == 2


async def test_greetings_come_first_and_their_answers_are_reported() -> None:
    clock, peer = ManualClock(), Peer(echo)
    received: list[list[Reply]] = []
    line = RedisClient(
        connector(peer, clock),
        clock,
        lambda: 0.0,
        PACE,
        first=lambda: [("GET", str(len(received)))],
        opened=lambda replies: received.append(list(replies)),
    )
    async with asyncio.TaskGroup() as tasks:
        answer = line.ask("GET", "x")
        run = tasks.create_task(line.run())
        assert await answer == b"x"
        assert gets(peer) == [b"0", b"x"]
        peer.transport.abort()
        await clock.settle()
        run.cancel()
    assert received == [[b"0"], [b"1"]]


async def test_the_end_of_a_line_fails_what_waits() -> None:
    async with running(Peer()) as (line, _, clock):
        answers = [line.ask("GET", str(number)) for number in range(5)]
        await clock.settle()
    assert [await fault(answer) for answer in answers] == ["the node ends"] * 5
    assert await fault(line.ask("GET", "late")) == "the node ends"


async def test_a_server_that_answers_slice_after_slice_is_not_late() -> None:
    async with running(Peer()) as (line, peer, clock):
        answers = [line.ask("GET", str(number)) for number in range(6)]
        await clock.advance(0.2)
        peer.say(b":0\r\n:1\r\n:2\r\n")
        await clock.advance(0.2)
        peer.say(b":3\r\n:4\r\n:5\r\n")
        assert [await answer for answer in answers] == [0, 1, 2, 3, 4, 5]
        assert line.losses == {}


async def test_what_could_not_be_sent_in_time_fails_and_the_connection_stays() -> None:
    async with running(Peer(), pace=PACE._replace(window=1)) as (line, peer, clock):
        first, second, third = [line.ask("GET", name) for name in ("a", "b", "c")]
        await clock.advance(0.2)
        peer.say(b":1\r\n")
        await clock.advance(0.1)
        assert await fault(third) == "it did not answer in time"
        peer.say(b":2\r\n")
        assert [await first, await second] == [1, 2]
        assert gets(peer) == [b"a", b"b"]
        assert line.losses == {}


# ---- questions and answers ----


CLOCK = ManualClock()
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n%d\r\n"


class Wired(NamedTuple):
    """A wire that runs, and its other end."""

    wire: Pipeline
    transport: MemoryTransport
    peer: Peer
    task: asyncio.Task[None]

    async def receive(self, data: bytes) -> None:
        self.transport.feed(data)
        await CLOCK.settle()


@asynccontextmanager
async def wired(
    arrived: Callable[[bytes, bytes], None] | None = None, stray: Callable[[], None] | None = None
) -> AsyncIterator[Wired]:
    peer = Peer(lambda _: None)
    connection = await connected(peer)
    wire = Pipeline(connection, arrived, stray)
    async with during(wire.run()) as task:
        await CLOCK.settle()
        yield Wired(wire, peer.transport, peer, task)
    assert wire.lost.is_set()
    assert not connection.is_connected
    assert peer.open == 0
    assert len(peer.transports) == 1


def ask(words: str, channel: bytes | None = None, at: float = 0.0) -> PendingCommand:
    return PendingCommand(pack(*words.split()), asyncio.get_running_loop().create_future(), at, channel)


async def failure_of(answer: asyncio.Future[Reply]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await answer
    return raised.value


async def test_answers_belong_to_questions_in_order() -> None:
    async with wired() as on:
        asks = [ask("GET a"), ask("GET b"), ask("GET c")]
        await on.wire.send(asks[:2])
        await on.wire.send(asks[2:])
        await CLOCK.settle()
        assert on.transport.written == [asks[0].packed + asks[1].packed, asks[2].packed]
        assert (on.wire.pending, on.wire.oldest_at) == (3, 0.0)
        await on.receive(b"$1\r\n1\r\n*2\r\n:5\r\n$-1\r")
        await on.receive(b"\n-WRONGTYPE no\r\n")
        replies = [await one.reply for one in asks]
        assert replies[:2] == [b"1", [5, None]]
        assert isinstance(replies[2], ResponseError)
        assert replies[2].__traceback__ is None
        assert (on.wire.pending, on.wire.oldest_at, on.wire.pending_bytes) == (0, None, 0)


@pytest.mark.parametrize(
    "text", [b"LOADING x", b"NOAUTH x", b"ERR max number of clients reached", b"MOVED 1 h:1"]
)
async def test_what_redis_py_calls_a_broken_connection_is_an_answer_like_others(text: bytes) -> None:
    async with wired() as on:
        asks = [ask("GET a"), ask("GET b")]
        await on.wire.send(asks)
        await on.receive(b"-%s\r\n:1\r\n" % text)
        assert isinstance(await asks[0].reply, RedisError)
        assert await asks[1].reply == 1


async def test_messages_come_between_answers() -> None:
    arrived: list[tuple[bytes, bytes]] = []
    async with wired(lambda name, payload: arrived.append((name, payload))) as on:
        one = ask("SUBSCRIBE c", channel=b"c")
        await on.wire.send([one])
        await on.receive(MESSAGE % 1 + b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + MESSAGE % 2)
        assert await one.reply == [b"subscribe", b"c", 1]
        assert arrived == [(b"c", b"1"), (b"c", b"2")]


async def test_a_confirmation_that_nobody_asked_for_is_no_answer() -> None:
    strays: list[None] = []
    async with wired(lambda *_: None, lambda: strays.append(None)) as on:
        one = ask("SUBSCRIBE c", channel=b"c")
        await on.wire.send([one])
        await on.receive(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:1\r\n")
        assert (len(strays), one.reply.done()) == (1, False)
        await on.receive(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:2\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        assert await one.reply == [b"subscribe", b"c", 2]
        assert len(strays) == 2
        assert not on.wire.lost.is_set()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 400\r\n", "its answer is not RESP"),
        (b":1\r\n", "it sent a reply to no command"),
        (b"*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n", "it sent a reply to no command"),
        (None, CLOSED),
    ],
    ids=["HTTP", "a reply", "a strange message", "the end"],
)
async def test_what_talks_otherwise_or_hangs_up_is_left(data: bytes | None, why: str) -> None:
    async with wired() as on:
        if data is None:
            on.transport.hang_up()
        else:
            on.transport.feed(data)
        await CLOCK.settle()
        assert on.wire.why == why
        assert not on.transport.is_open


async def test_a_loss_fails_what_is_to_be_answered_and_everything_after() -> None:
    async with wired() as on:
        asks = [ask("GET a"), ask("GET b"), ask("GET c")]
        await on.wire.send(asks)
        await CLOCK.settle()
        asks[1].reply.cancel()
        on.transport.breaks(ConnectionResetError("secret"))
        await CLOCK.settle()
        on.wire.drop("later")
        for one in (asks[0], asks[2]):
            error = await failure_of(one.reply)
            assert (error.code, error.message) == (
                ErrorCode.BUS_DOWN,
                "the bus gave no answer: the connection broke",
            )
        late = ask("GET d")
        await on.wire.send([late])
        assert "the connection broke" in str(await failure_of(late.reply))
        await CLOCK.settle()
        assert len(on.transport.written) == 1
        assert on.task.done()


async def test_what_is_sent_in_the_turn_of_a_loss_connects_nobody_again() -> None:
    async with wired() as on:
        late = ask("GET a")
        await on.wire.send([late])
        on.wire.drop("enough")
        assert "enough" in str(await failure_of(late.reply))
        await on.wire.send([later := ask("GET b")])
        assert "enough" in str(await failure_of(later.reply))
        await CLOCK.settle()
        assert on.transport.written == [late.packed]


async def test_what_arrives_in_the_turn_of_a_loss_is_not_reported() -> None:
    arrived: list[bytes] = []
    async with wired(lambda _, payload: arrived.append(payload)) as on:
        await CLOCK.settle()
        on.transport.feed(MESSAGE % 1)
        on.wire.drop("enough")
        await CLOCK.settle()
        assert arrived == []


async def test_a_write_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for failure, why in (
        (ConnectionResetError("secret"), "the connection broke"),
        (RuntimeError("the handler is closed"), "the connection broke"),
    ):
        async with wired() as on:

            def write(_: object, failure: Exception = failure) -> None:
                raise failure

            monkeypatch.setattr(on.transport, "write", write)
            one = ask("GET a")
            await on.wire.send([one])
            assert why in str(await failure_of(one.reply))


async def test_a_listener_that_fails_costs_the_connection_and_is_notified_as_by_any_protocol() -> None:
    received: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: received.append(context))

    def fail(*_: bytes) -> None:
        raise KeyError

    async with wired(fail) as on:
        await on.receive(MESSAGE % 1)
        assert on.wire.why == "its reply could not be processed"
    assert [type(context["exception"]) for context in received] == [KeyError]


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_came_before_the_pipeline_was_there_is_received(*, at_once: bool) -> None:
    arrived: list[bytes] = []
    peer = Peer(lambda _: b"+OK\r\n" + (MESSAGE % 1)[:9])
    connection = await connected(peer)
    await connection.send_packed_command(pack("PING"), check_health=False)
    assert await next_reply(connection) == b"OK"
    peer.say((MESSAGE % 1)[9:] + MESSAGE % 2)
    if not at_once:
        await CLOCK.settle()
    wire = Pipeline(connection, lambda _, payload: arrived.append(payload))
    async with beside(wire.run()):
        await CLOCK.settle()
        assert arrived == [b"1", b"2"]
        wire.drop("enough")


@pytest.mark.parametrize("is_cut", [True, False])
async def test_what_ended_before_the_pipeline_was_there_is_lost_at_once(*, is_cut: bool) -> None:
    peer = Peer(lambda _: None)
    connection = await connected(peer)
    if is_cut:
        peer.transport.abort()
    else:
        await connection.disconnect()
    wire = Pipeline(connection)
    await wire.run()
    assert wire.why == CLOSED
    await wire.send([late := ask("GET a")])
    assert CLOSED in str(await failure_of(late.reply))
    assert len(peer.transports) == 1


# ---- errors of redis-py ----


async def connected(peer: Peer) -> Connection:
    connection = peer.connections(host="h", protocol=2, driver_info=None, socket_timeout=None)
    await connection.connect()  # type: ignore[no-untyped-call]  # it has no hints
    return connection


async def test_refusals_are_replies_and_the_end_of_the_connection_is_none() -> None:
    peer = Peer()
    connection = await connected(peer)
    peer.say(b"+OK\r\n-WRONGTYPE secret\r\n-LOADING secret\r\n*1\r\n$-1\r\n")
    said = [await next_reply(connection) for _ in range(4)]
    assert (said[0], said[3]) == (b"OK", [None])
    assert [code(error) for error in said[1:3] if isinstance(error, RedisError)] == ["WRONGTYPE", "LOADING"]
    assert [error.__traceback__ for error in said[1:3] if isinstance(error, RedisError)] == [None, None]
    peer.transport.abort()
    with pytest.raises(RedisConnectionError):
        await next_reply(connection)
    assert connection.is_connected
    await connection.disconnect()


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (ResponseError("WRONGTYPE x"), True),
        (BusyLoadingError("x", status_code="LOADING"), True),
        (AuthenticationError("x", status_code="WRONGPASS"), True),
        (RedisConnectionError("Connection closed by server."), False),
        (InvalidResponse("x"), False),
    ],
)
def test_what_the_server_said_is_distinguished_from_what_happened(error: RedisError, refused: bool) -> None:
    assert is_refusal(error) is refused


def caused(cause: BaseException | None = None, context: BaseException | None = None) -> RedisError:
    error = RedisConnectionError("secret")
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TimeoutError(), "it did not answer in time"),
        (RedisTimeoutError("secret"), "it did not answer in time"),
        (caused(context=TimeoutError("secret")), "it did not answer in time"),
        (caused(context=ConnectionRefusedError("secret")), "it refused the connection"),
        (caused(context=ConnectionResetError("secret")), "the connection broke"),
        (caused(context=BrokenPipeError("secret")), "the connection broke"),
        (RuntimeError("secret"), "the connection broke"),
        (caused(context=OSError("secret")), "it cannot be reached"),
        (caused(cause=UnicodeError("secret")), "it cannot be reached"),
        (caused(context=socket.gaierror("secret")), "its host name cannot be resolved"),
        (caused(context=asyncio.CancelledError()), "it closed the connection"),
        (caused(), "it closed the connection"),
        (InvalidResponse("secret"), "its answer is not RESP"),
    ],
)
def test_reasons_hold_nothing_of_anybody(error: BaseException, says: str) -> None:
    assert reason(error) == says
