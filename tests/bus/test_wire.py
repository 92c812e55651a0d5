"""Do answers find their questions, and does nothing survive a connection that is lost?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from redis.exceptions import RedisError, ResponseError

from gateway.bus.connect import CLOSED, Reply, pack, reply
from gateway.bus.redis import PendingCommand, Pipeline
from gateway.domain.errors import ErrorCode, GatewayError
from tests.bus.peer import Peer
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import MemoryTransport

CLOCK = ManualClock()
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n%d\r\n"


class Wired(NamedTuple):
    """A wire that runs, and its other end."""

    wire: Pipeline
    transport: MemoryTransport
    peer: Peer
    task: asyncio.Task[None]

    async def hear(self, data: bytes) -> None:
        self.transport.feed(data)
        await CLOCK.settle()


@asynccontextmanager
async def wired(
    heard: Callable[[bytes, bytes], None] | None = None, stray: Callable[[], None] | None = None
) -> AsyncIterator[Wired]:
    peer = Peer(lambda _: None)
    connection = peer.connections(host="h", protocol=2, driver_info=None, socket_timeout=None)
    await connection.connect()  # type: ignore[no-untyped-call]  # it has no hints
    wire = Pipeline(connection, heard, stray)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(wire.run())
        await CLOCK.settle()
        yield Wired(wire, peer.transport, peer, task)
        task.cancel()
    assert wire.lost.is_set()
    assert not connection.is_connected
    assert peer.open == 0
    assert len(peer.transports) == 1


def ask(words: str, channel: bytes | None = None, at: float = 0.0) -> PendingCommand:
    return PendingCommand(pack(*words.split()), asyncio.get_running_loop().create_future(), at, channel)


async def fault(answer: asyncio.Future[Reply]) -> GatewayError:
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
        await on.hear(b"$1\r\n1\r\n*2\r\n:5\r\n$-1\r")
        await on.hear(b"\n-WRONGTYPE no\r\n")
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
        await on.hear(b"-%s\r\n:1\r\n" % text)
        assert isinstance(await asks[0].reply, RedisError)
        assert await asks[1].reply == 1


async def test_whoever_gives_up_leaves_his_answer_to_nobody() -> None:
    async with wired() as on:
        asks = [ask("GET a"), ask("GET b")]
        await on.wire.send(asks)
        asks[0].reply.cancel()
        await on.hear(b":1\r\n:2\r\n")
        assert await asks[1].reply == 2


async def test_messages_come_between_answers() -> None:
    heard: list[tuple[bytes, bytes]] = []
    async with wired(lambda name, payload: heard.append((name, payload))) as on:
        one = ask("SUBSCRIBE c", channel=b"c")
        await on.wire.send([one])
        await on.hear(MESSAGE % 1 + b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + MESSAGE % 2)
        assert await one.reply == [b"subscribe", b"c", 1]
        assert heard == [(b"c", b"1"), (b"c", b"2")]


async def test_a_confirmation_that_nobody_asked_for_is_no_answer() -> None:
    strays: list[None] = []
    async with wired(lambda *_: None, lambda: strays.append(None)) as on:
        one = ask("SUBSCRIBE c", channel=b"c")
        await on.wire.send([one])
        await on.hear(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:1\r\n")
        assert (len(strays), one.reply.done()) == (1, False)
        await on.hear(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:2\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        assert await one.reply == [b"subscribe", b"c", 2]
        assert len(strays) == 2
        assert not on.wire.lost.is_set()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 400\r\n", "its answer is not RESP"),
        (b":1\r\n", "it sent a reply to no command"),
        (b"*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n", "it sent a reply to no command"),
    ],
)
async def test_what_talks_otherwise_is_left(data: bytes, why: str) -> None:
    async with wired() as on:
        await on.hear(data)
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
            error = await fault(one.reply)
            assert (error.code, error.message) == (
                ErrorCode.BUS_DOWN,
                "the bus gave no answer: the connection broke",
            )
        late = ask("GET d")
        await on.wire.send([late])
        assert "the connection broke" in str(await fault(late.reply))
        await CLOCK.settle()
        assert len(on.transport.written) == 1
        assert on.task.done()


async def test_what_is_sent_in_the_turn_of_a_loss_connects_nobody_again() -> None:
    async with wired() as on:
        late = ask("GET a")
        await on.wire.send([late])
        on.wire.drop("enough")
        assert "enough" in str(await fault(late.reply))
        await on.wire.send([later := ask("GET b")])
        assert "enough" in str(await fault(later.reply))
        await CLOCK.settle()
        assert on.transport.written == [late.packed]


async def test_what_arrives_in_the_turn_of_a_loss_is_not_told() -> None:
    heard: list[bytes] = []
    async with wired(lambda _, payload: heard.append(payload)) as on:
        await CLOCK.settle()
        on.transport.feed(MESSAGE % 1)
        on.wire.drop("enough")
        await CLOCK.settle()
        assert heard == []


async def test_after_a_drop_in_the_middle_of_what_came_nothing_more_is_told() -> None:
    heard: list[bytes] = []

    def hear(_: bytes, payload: bytes) -> None:
        heard.append(payload)
        on.wire.drop("enough")

    async with wired(hear) as on:
        await on.hear((MESSAGE % 1) * 3)
        assert heard == [b"1"]


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
            assert why in str(await fault(one.reply))


async def test_a_listener_that_fails_costs_the_connection_and_is_told_of_as_by_any_protocol() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))

    def hear(*_: bytes) -> None:
        raise KeyError

    async with wired(hear) as on:
        await on.hear(MESSAGE % 1)
        assert on.wire.why == "its reply could not be processed"
    assert [type(context["exception"]) for context in told] == [KeyError]


async def test_answered_is_told_after_each_answer() -> None:
    async with wired() as on:
        pending: list[int] = []
        on.wire.answered = lambda: pending.append(on.wire.pending)
        await on.wire.send([ask("GET a"), ask("GET b"), ask("GET c")])
        await on.hear(b":1\r\n:2\r\n")
        assert pending == [2, 1]


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_came_before_the_pipeline_was_there_is_received(*, at_once: bool) -> None:
    heard: list[bytes] = []
    peer = Peer(lambda _: b"+OK\r\n" + (MESSAGE % 1)[:9])
    connection = peer.connections(host="h", protocol=2, driver_info=None, socket_timeout=None)
    await connection.connect()  # type: ignore[no-untyped-call]  # it has no hints
    await connection.send_packed_command(pack("PING"), check_health=False)
    assert await reply(connection) == b"OK"
    peer.say((MESSAGE % 1)[9:] + MESSAGE % 2)
    if not at_once:
        await CLOCK.settle()
    wire = Pipeline(connection, lambda _, payload: heard.append(payload))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wire.run())
        await CLOCK.settle()
        assert heard == [b"1", b"2"]
        wire.drop("enough")


@pytest.mark.parametrize("is_cut", [True, False])
async def test_what_ended_before_the_pipeline_was_there_is_lost_at_once(*, is_cut: bool) -> None:
    peer = Peer(lambda _: None)
    connection = peer.connections(host="h", protocol=2, driver_info=None, socket_timeout=None)
    await connection.connect()  # type: ignore[no-untyped-call]  # it has no hints
    if is_cut:
        peer.transport.abort()
    else:
        await connection.disconnect()
    wire = Pipeline(connection)
    await wire.run()
    assert wire.why == CLOSED
    await wire.send([late := ask("GET a")])
    assert CLOSED in str(await fault(late.reply))
    assert len(peer.transports) == 1


async def test_a_server_that_hangs_up_is_lost_at_once() -> None:
    async with wired() as on:
        on.transport.hang_up()
        await CLOCK.settle()
        assert on.wire.why == CLOSED
        assert not on.transport.is_open


async def test_its_end_fails_what_waits_and_connects_nobody_again() -> None:
    async with wired() as on, asyncio.TaskGroup() as tasks:
        asks = [ask("GET a"), ask("GET b")]
        await on.wire.send(asks[:1])
        on.transport.choke()
        sending = tasks.create_task(on.wire.send(asks[1:]))
        await CLOCK.settle()
        assert not sending.done(), "it returns when the kernel has taken it"
        on.task.cancel()
        assert [(await fault(one.reply)).message for one in asks] == [
            "the bus gave no answer: the node ends"
        ] * 2
        await CLOCK.settle()
        assert sending.done()
        assert on.transport.written == [asks[0].packed]
        assert not on.transport.is_open
