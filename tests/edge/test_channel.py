"""Channel: messages both ways on every loop, the reasons of its end, and bounded waits."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvloop
from aiohttp import web

from gateway.edge.channel import PONGS_MAX, Channel, Disconnect, packed
from gateway.edge.handshake import NOTSENT_BYTES, TRANSPORTS, UNACKNOWLEDGED_MS, accept
from gateway.edge.socket import STALL_S, WriteStall
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.frames import Renewed
from gateway.protocol.websocket import DEFLATE_ANSWER, Message, Violation
from gateway.runtime.event_loop import EpollTransports
from tests.app.certificates import both_ends
from tests.edge.channels import Ear, Serving, echo, raw
from tests.edge.raw_phone import RawPhone
from tests.edge.visits import Gateway
from tests.protocol.framing import Received, closing, framed, received_all, text


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_messages_cross_in_order_and_in_the_codecs_type(serving: Serving, codec: Codec) -> None:
    received: list[Message | Violation | Disconnect] = []

    async def serve(channel: Channel) -> None:
        ear = Ear(channel)
        received.append(await ear.receive())
        received.append(await ear.receive())
        channel.write([b"one", b"two"])
        await channel.close(1000, "")

    client = await serving(serve)
    ws = await client.ws_connect("/", protocols=(codec.subprotocol,))
    await ws.send_str("text")
    await ws.send_bytes(b"\xff")
    answers = [await ws.receive(timeout=5) for _ in range(2)]
    assert received == [Message(b"text", text=True), Message(b"\xff", text=False)]
    kind = aiohttp.WSMsgType.TEXT if codec.text else aiohttp.WSMsgType.BINARY
    assert [answer.type for answer in answers] == [kind, kind]


async def ending(
    serving: Serving, leave: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[object]]
) -> Violation | Disconnect:
    seen: asyncio.Future[Message | Violation | Disconnect] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        ear = Ear(channel)
        seen.set_result(await ear.receive())

    client = await serving(serve)
    ws = await client.ws_connect("/", protocols=(JSON.subprotocol,))
    await leave(ws)
    async with asyncio.timeout(5):
        gone = await seen
    assert not isinstance(gone, Message)
    return gone


@pytest.mark.parametrize("code", [1000, 1001, 3456])
async def test_a_client_that_closes_says_why(serving: Serving, code: int) -> None:
    assert await ending(serving, lambda ws: ws.close(code=code)) == Disconnect("client", code)


async def test_a_breach_is_closed_as_the_session_wants_it(serving: Serving) -> None:
    async def serve(channel: Channel) -> None:
        ear = Ear(channel)
        assert isinstance(await ear.receive(), Violation)
        channel.write([b"bye"])
        await channel.close(4000, "why")

    client = await serving(serve)
    async with await raw(client) as phone:
        phone.send(framed(3) + b"whatever follows" * 100_000)
        assert await phone.end() == [Received(1, b"bye"), Received(8, b"\x0f\xa0why")]


# ---- pings and closes ----


async def test_of_a_flood_of_pings_the_newest_are_answered(serving: Serving) -> None:
    async with await raw(await serving(echo)) as phone:
        phone.send(b"".join(framed(9, b"%d" % number) for number in range(200)) + text("x"))
        pongs = [await phone.hear()]
        while pongs[-1].opcode == 10:
            pongs.append(await phone.hear())
        assert len(pongs) - 1 <= 2 * PONGS_MAX, "of at most two reads"
        assert pongs[-2:] == [Received(10, b"199"), Received(1, b"x")]


async def test_after_a_close_nothing_leaves(serving: Serving) -> None:
    async def serve(channel: Channel) -> None:
        await channel.close(1000, "")
        channel.write([b"late"])
        await channel.close(1001, "")

    async with await raw(await serving(serve)) as phone:
        assert await phone.hear() == Received(8, b"\x03\xe8")
        phone.send(framed(9) + text("crossing") + closing(1000))
        assert await phone.end() == []


async def test_a_fragment_that_came_with_the_message_before_it_is_not_forgotten(serving: Serving) -> None:
    async with await raw(await serving(echo)) as phone:
        phone.send(text("whole") + framed(1, b"the beginning ", fin=False))
        assert (await phone.hear()).payload == b"whole"
        phone.send(framed(0, b"and the end"))
        assert (await phone.hear()).payload == b"the beginning and the end"


async def test_no_more_is_read_than_is_received(serving: Serving) -> None:
    go_on = asyncio.Event()
    held: list[int] = []

    async def serve(channel: Channel) -> None:
        await go_on.wait()
        held.append(0 if channel._parser is None else channel._parser.waiting_bytes)
        await echo(channel)

    async with await raw(await serving(serve)) as phone:
        message = text("x" * 1000)
        phone.send(message * 12_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await phone.writer.drain()
        go_on.set()
        for _ in range(12_000):
            assert (await phone.hear()).opcode == 1
    assert held[0] < 1_000_000


# ---- the kernel ----


async def test_the_kernel_is_asked_to_send_at_once_and_queue_little(serving: Serving) -> None:
    reported: dict[str, int] = {}

    async def serve(channel: Channel) -> None:
        raw = socket.socket(fileno=os.dup(channel._transport.get_extra_info("socket").fileno()))
        reported["nodelay"] = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        reported["notsent"] = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        reported["unacknowledged"] = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        raw.close()

    client = await serving(serve)
    await client.ws_connect("/", protocols=(JSON.subprotocol,))
    assert reported == {"nodelay": 1, "notsent": NOTSENT_BYTES, "unacknowledged": UNACKNOWLEDGED_MS}


async def test_what_the_kernel_does_not_take_is_seen_and_drains(serving: Serving) -> None:
    unsent: asyncio.Queue[int] = asyncio.Queue()

    async def serve(channel: Channel) -> None:
        ear = Ear(channel)
        channel.write([b"x" * 1_000_000])
        unsent.put_nowait(channel.unsent_bytes)
        await ear.empty()
        unsent.put_nowait(channel.unsent_bytes)

    async with await raw(await serving(serve), slow=True) as slow, asyncio.timeout(10):
        assert await unsent.get() > 500_000
        await slow.reader.readexactly(1_000_000)
        assert await unsent.get() == 0


@pytest.mark.parametrize(("size", "whole"), [(10, True), (4_000_000, False)])
async def test_a_peer_that_answers_no_close_is_left(serving: Serving, *, size: int, whole: bool) -> None:
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        channel.write([b"x" * size])
        await channel.close(4108, "slow")
        left.set_result(None)

    async with await raw(await serving(serve), slow=True) as slow:
        async with asyncio.timeout(5):
            await left
        assert (len(await slow.read_until(b"")) > size) is whole


async def test_a_channel_whose_peer_has_gone_takes_frames_without_complaint(serving: Serving) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        ear = Ear(channel)
        await ear.receive()
        channel.write([b"late"])
        await ear.empty()
        await channel.close(1000, "late")
        done.set_result(None)

    client = await serving(serve)
    ws = await client.ws_connect("/", protocols=(JSON.subprotocol,))
    await ws.close()
    async with asyncio.timeout(5):
        await done


# ---- large state, where compression was agreed on ----

OFFER = "Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def state(upto: int, size: int, codec: Codec = JSON) -> bytes:
    """Return a first state of some *size* bytes."""
    put = [("queue:1", codec.encode(Renewed("x" * size, 1)))]
    return codec.changes(after=0, upto=upto, stream="1", reset=True, more=False, put=put, patch=(), gone=())


async def everything(phone: RawPhone) -> list[tuple[Received, bool]]:
    async with asyncio.timeout(5):
        return received_all(await phone.reader.read())


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_large_state_is_compressed_and_nothing_else(serving: Serving, codec: Codec) -> None:
    large, token = state(1, 5000, codec), codec.encode(Renewed("token" * 1000, 1))

    async def serve(channel: Channel) -> None:
        channel.write([token, large, state(2, 100, codec)])
        channel.put(packed([large], codec))
        await channel.close(1000, "")

    for deflate, asks in (True, OFFER), (True, "Upgrade"), (False, OFFER):
        async with await raw(
            await serving(serve, deflate=deflate), connection=asks, protocol=codec.subprotocol
        ) as phone:
            is_agreed = deflate and asks == OFFER
            assert ("\r\nSec-WebSocket-Extensions: " + DEFLATE_ANSWER in phone.head) is is_agreed
            opcode = 1 if codec.text else 2
            frames = [Received(opcode, each) for each in (token, large, state(2, 100, codec), large)]
            phone.send(closing(1000))
            got = await everything(phone)
            assert [frame for frame, _ in got] == [*frames, Received(8, b"\x03\xe8")]
            assert [is_compressed for _, is_compressed in got] == [False, is_agreed, False, False, False]


async def test_of_several_large_frames_one_is_compressed_in_a_turn_of_the_loop(serving: Serving) -> None:
    large = [state(upto, 5000) for upto in range(3)]
    seen: list[tuple[bool, int]] = []

    async def serve(channel: Channel) -> None:
        ear = Ear(channel)
        channel.write([b"welcome", *large])
        channel.put(packed([b"after"], channel.codec))
        for _ in range(3):
            seen.append((channel.is_full, channel.unsent_bytes // 5000))
            await asyncio.sleep(0)
        seen.append((ear.fills == 1, 0))
        await ear.empty()
        await channel.close(1000, "")

    async with await raw(await serving(serve, deflate=True), connection=OFFER) as phone:
        said = [(b"welcome", False), *((each, True) for each in large), (b"after", False)]
        got = await everything(phone)
    assert [(frame.payload, is_compressed) for frame, is_compressed in got[:-1]] == said
    assert seen == [(True, 2), (True, 1), (False, 0), (True, 0)]


async def test_a_close_does_not_overtake_large_state(serving: Serving) -> None:
    large = [state(upto, 5000) for upto in range(3)]

    async def serve(channel: Channel) -> None:
        channel.write([*large, b"bye"])
        await channel.close(1000, "")

    async with await raw(await serving(serve, deflate=True), connection=OFFER) as phone:
        phone.send(closing(1000))
        got = await everything(phone)
    assert [frame.payload for frame, _ in got] == [*large, b"bye", b"\x03\xe8"]


async def test_what_compressing_clients_send_is_read(serving: Serving) -> None:
    client = await serving(echo, deflate=True)
    ws = await client.ws_connect("/", protocols=(JSON.subprotocol,), compress=15)
    assert ws.compress
    for said in ("ä" * 400, "", "again"):
        await ws.send_str(said)
        assert await ws.receive_str(timeout=5) == said


@pytest.mark.parametrize(("version", "is_agreed"), [("15.2", False), ("15.4", True), ("17.15.2", True)])
async def test_a_browser_that_cannot_read_what_it_offers_gets_plain_frames(
    serving: Serving, version: str, *, is_agreed: bool
) -> None:
    agent = f"Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Version/{version} Mobile/15E148 Safari/604.1"
    async with await raw(
        await serving(echo, deflate=True), connection=f"{OFFER}\r\nUser-Agent: {agent}"
    ) as phone:
        assert ("Extensions" in phone.head) is is_agreed


# ---- taken over from aiohttp on every event loop, in clear text and TLS ----


BIG_BYTES = 3_000_000


@asynccontextmanager
async def serving(
    folder: Path | None, unsent: list[int], wires: EpollTransports | None
) -> AsyncIterator[Callable[..., Awaitable[RawPhone]]]:
    """Say what is said, after a lot that must drain first when that is asked for."""

    async def upgrade(request: web.Request) -> web.StreamResponse:
        channel, response = await accept(request, JSON, message_bytes=1024)
        tasks.create_task(serve(channel, is_big="big" in request.query))
        return response

    async def serve(channel: Channel, *, is_big: bool) -> None:
        try:
            if is_big:
                await pour(channel, Ear(channel), unsent)
            await echo(channel)
        finally:
            channel.abort()

    ours, theirs = both_ends(folder) if folder else (None, None)
    app = web.Application()
    if wires is not None:
        app[TRANSPORTS] = wires
    app.router.add_get("/", upgrade)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ours).start()

    async def connect(path: str, early: bytes = b"") -> RawPhone:
        return await RawPhone.connect(runner.addresses[0][1], path, early=early, tls=theirs)

    async with asyncio.TaskGroup() as tasks:
        yield connect
        await runner.cleanup()


async def pour(channel: Channel, ear: Ear, unsent: list[int]) -> None:
    channel.write([b"x" * BIG_BYTES])
    unsent.append(channel.unsent_bytes)
    await ear.empty()
    unsent.append(channel.unsent_bytes)


async def conversation(folder: Path | None, wires: EpollTransports | None) -> None:
    unsent: list[int] = []
    async with serving(folder, unsent, wires) as connect:
        async with await connect("/", text("early") + text("cut")[:4]) as phone:
            phone.send(text("cut")[4:] + framed(9, b"ping") + text("more"))
            said = [await phone.hear() for _ in range(4)]
            assert said == [
                Received(1, b"early"),
                Received(1, b"cut"),
                Received(10, b"ping"),
                Received(1, b"more"),
            ]
            phone.send(closing(3000))
            assert await phone.end() == [Received(8, (3000).to_bytes(2, "big"))]
        async with await connect("/", framed(3)) as phone:
            assert [frame.payload[:2] for frame in await phone.end()] == [(1002).to_bytes(2, "big")]
        async with await connect("/?big") as phone:
            assert await phone.hear() == Received(1, b"x" * BIG_BYTES)
            phone.send(text("drained"))
            assert await phone.hear() == Received(1, b"drained")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert unsent[0] > 1_000_000
    assert unsent[1] == 0


@pytest.mark.parametrize(
    ("loop", "tls", "wires"),
    [
        pytest.param(asyncio.new_event_loop, True, None, id="asyncio TLS transports"),
        pytest.param(asyncio.new_event_loop, False, EpollTransports(), id="asyncio clear wires"),
        pytest.param(uvloop.new_event_loop, False, None, id="uvloop clear transports"),
        pytest.param(uvloop.new_event_loop, True, EpollTransports(), id="uvloop TLS wires"),
    ],
)
def test_a_conversation_goes_its_way(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], *, tls: bool, wires: EpollTransports | None
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(conversation(tmp_path if tls else None, wires))
    assert wires is None or len(wires) == 0


# ---- a phone that does not read costs memory for a short time only ----


async def slow_phone(gateway: Gateway) -> RawPhone:
    """Open a WebSocket whose other end reads nothing after hello, with more to say than it holds."""
    gateway.node.show_queues(1_000, "n" * 2_000)
    phone = await gateway.raw(slow=True)
    phone.hello(gateway.token())
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


# ---- stalled phones are detected; slow ones are not disconnected ----


def test_a_stall_is_over_after_a_while_without_progress() -> None:
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(1_000, 50.0 + STALL_S - 0.001)
    assert stall.is_over(1_000, 50.0 + STALL_S)
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(999, 50.0 + STALL_S - 1)
    assert not stall.is_over(999, 50.0 + 2 * STALL_S - 1.001)
    assert stall.is_over(999, 50.0 + 2 * STALL_S - 1)
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(1, 50.0 + 5 * STALL_S)
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(5_000, 50.0 + STALL_S - 1)
    assert not stall.is_over(2_000, 50.0 + STALL_S - 0.5), "less than then, and no less than ever"
    assert stall.is_over(2_000, 50.0 + STALL_S)
    stall = WriteStall(1_000, 50.0)
    assert [stall.was_due_first() for _ in range(3)] == [True, False, False]
