"""Do answers find their questions, and does nothing survive a connection that is lost?"""

from __future__ import annotations

import asyncio

import hiredis
import pytest

from gateway.bus.wire import Ask, Reply, Wire, pack
from gateway.domain.errors import ErrorCode, GatewayError
from tests.doubles.fake_redis import MemoryTransport


def ask(words: str, about: bytes | None = None, at: float = 0.0) -> Ask:
    return Ask(pack(*words.split()), asyncio.get_running_loop().create_future(), at, about)


def wired(wire: Wire) -> MemoryTransport:
    transport = MemoryTransport(wire)
    wire.connection_made(transport)
    return transport


async def fault(answer: asyncio.Future[Reply]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await answer
    return raised.value


def test_a_command_is_written_as_redis_reads_it() -> None:
    assert pack("SET", b"\r\n\xff", 5) == b"*3\r\n$3\r\nSET\r\n$3\r\n\r\n\xff\r\n$1\r\n5\r\n"


async def test_answers_belong_to_questions_in_order() -> None:
    wire = Wire()
    transport = wired(wire)
    asks = [ask("GET a"), ask("GET b"), ask("GET c")]
    wire.send(asks)
    assert transport.written == [b"".join(one.packed for one in asks)]
    assert (wire.pending, wire.oldest_at) == (3, 0.0)
    wire.data_received(b"$1\r\n1\r\n*2\r\n:5\r\n$-1\r")
    wire.data_received(b"\n-ERR no\r\n")
    replies = [await one.answer for one in asks]
    assert replies[:2] == [b"1", [5, None]]
    assert isinstance(replies[2], hiredis.ReplyError)
    assert (wire.pending, wire.oldest_at) == (0, None)


async def test_whoever_gives_up_leaves_his_answer_to_nobody() -> None:
    wire = Wire()
    wired(wire)
    asks = [ask("GET a"), ask("GET b")]
    wire.send(asks)
    asks[0].answer.cancel()
    wire.data_received(b":1\r\n:2\r\n")
    assert await asks[1].answer == 2


async def test_messages_come_between_answers() -> None:
    heard: list[tuple[bytes, bytes]] = []
    wire = Wire(lambda name, payload: heard.append((name, payload)))
    wired(wire)
    one = ask("SUBSCRIBE c", about=b"c")
    wire.send([one])
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n%d\r\n"
    wire.data_received(message % 1 + b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + message % 2)
    assert await one.answer == [b"subscribe", b"c", 1]
    assert heard == [(b"c", b"1"), (b"c", b"2")]


async def test_a_confirmation_that_nobody_asked_for_is_no_answer() -> None:
    strays: list[None] = []
    wire = Wire(lambda *_: None, lambda: strays.append(None))
    wired(wire)
    one = ask("SUBSCRIBE c", about=b"c")
    wire.send([one])
    wire.data_received(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:1\r\n")
    assert (len(strays), one.answer.done()) == (1, False)
    wire.data_received(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:2\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n")
    assert await one.answer == [b"subscribe", b"c", 2]
    assert len(strays) == 2
    assert not wire.lost.is_set()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 400\r\n", "no RESP"),
        (b":1\r\n", "nobody asked"),
        (b"*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n", "nobody asked"),
    ],
)
async def test_what_talks_otherwise_is_left(data: bytes, why: str) -> None:
    wire = Wire()
    wired(wire)
    wire.data_received(data)
    assert wire.lost.is_set()
    assert why in wire.why


async def test_a_loss_fails_what_is_to_be_answered_and_everything_after() -> None:
    wire = Wire()
    transport = wired(wire)
    asks = [ask("GET a"), ask("GET b"), ask("GET c")]
    wire.send(asks)
    asks[1].answer.cancel()
    wire.connection_lost(ConnectionResetError("secret"))
    wire.drop("later")
    for one in (asks[0], asks[2]):
        error = await fault(one.answer)
        assert (error.code, error.message) == (
            ErrorCode.BUS_DOWN,
            "the bus gave no answer: the connection broke",
        )
    late = ask("GET d")
    wire.send([late])
    assert "the connection broke" in str(await fault(late.answer))
    assert len(transport.written) == 1
    wire.data_received(b":1\r\n")


async def test_after_a_drop_in_the_middle_of_what_came_nothing_more_is_told() -> None:
    heard: list[bytes] = []

    def hear(_: bytes, payload: bytes) -> None:
        heard.append(payload)
        wire.drop("enough")

    wire = Wire(hear)
    wired(wire)
    wire.data_received(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n" * 3)
    assert heard == [b"1"]


async def test_a_connection_that_comes_too_late_is_closed() -> None:
    wire = Wire()
    wire.drop("given up")
    transport = wired(wire)
    assert not transport.is_open
    assert wire.unsent_bytes == 0


async def test_rest_is_told_after_all_that_came() -> None:
    wire = Wire()
    wired(wire)
    pending: list[int] = []
    wire.rest = lambda: pending.append(wire.pending)
    wire.send([ask("GET a"), ask("GET b"), ask("GET c")])
    wire.data_received(b":1\r\n:2\r\n")
    assert pending == [1]
