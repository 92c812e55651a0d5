"""Connection of the client: frames in both encodings, and the reasons of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from gateway.client.http import ClientConnection, NotOpened, Window
from gateway.domain.commands import SetQueueParameters
from gateway.domain.errors import ErrorCode
from gateway.protocol import frames
from gateway.protocol.codec import BYTES_IN_MAX, JSON, MSGPACK, Codec
from tests.doubles.clock import ManualClock
from tests.doubles.refusals import refused_with
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, ping, welcome

PONG = frames.Pong("x")
CHANGES = frames.Changes(0, 3, stream="1.a", reset=True, put={"queue:1": {"name": "Ä"}}, gone=("site",))


@pytest.fixture(params=[JSON, MSGPACK], ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Codec:
    codec: Codec = request.param
    return codec


class Line:
    """A connection with both of its ends."""

    def __init__(self, connection: ClientConnection, phone: Phone) -> None:
        self.connection = connection
        self.phone = phone


@pytest.fixture
async def line(
    http: aiohttp.ClientSession, gateway: ScriptedGateway, codec: Codec, clock: ManualClock
) -> Line:
    return Line(await ClientConnection.open(http, gateway.address, codec, clock), await gateway.phone())


async def _all(connection: ClientConnection) -> list[frames.GatewayFrame | None]:
    async with asyncio.timeout(5):
        return [frame async for frame in connection.frames()]


async def test_frames_pass_both_ways(line: Line) -> None:
    await line.connection.send(PONG)
    assert await line.phone.receive(frames.Pong) == PONG
    await line.phone.send(welcome(), CHANGES, ping(3, 3))
    await line.phone.close(4200)
    assert await _all(line.connection) == [welcome(), CHANGES, ping(3, 3)]
    assert line.connection.close_code == 4200
    await line.connection.close()


async def test_frames_of_a_kind_that_is_not_known_pass_as_none(line: Line) -> None:
    text = b'{"kind":"of_tomorrow"}' if line.phone.codec.text else b"\x81\xa4kind\xabof_tomorrow"
    await line.phone.send_bytes(text)
    await line.phone.send(ping(0, 0))
    await line.phone.close(1001)
    assert await _all(line.connection) == [None, ping(0, 0)]
    await line.connection.close()


async def test_a_bad_frame_ends_the_connection(line: Line) -> None:
    await line.phone.send_bytes(b"{" if line.phone.codec.text else b"\xc1")
    assert await _all(line.connection) == []
    assert line.connection.close_code is None
    await line.connection.close()
    await line.phone.left()


async def test_a_frame_of_the_wrong_type_ends_the_connection(line: Line) -> None:
    other = MSGPACK if line.phone.codec.text else JSON
    phone = line.phone
    frame = other.encode(ping(0, 0))
    phone.codec = other
    await phone.send_bytes(frame)
    assert await _all(line.connection) == []
    await line.connection.close()


@pytest.mark.parametrize("end", [Phone.drop, Phone.hang_up])
async def test_without_a_close_frame_it_is_an_end_without_a_code(
    line: Line, end: Callable[[Phone], None]
) -> None:
    end(line.phone)
    assert await _all(line.connection) == []
    assert line.connection.close_code is None
    await line.connection.send(PONG)
    await line.connection.close()


async def test_closing_waits_for_nobody(line: Line) -> None:
    await line.connection.close()
    await line.connection.close()
    await line.phone.left()
    assert line.phone.close_code == 1000


@pytest.mark.parametrize(
    ("status", "code", "window"),
    [
        (400, 4000, None), (401, 4001, None), (403, 4002, None), (404, 1006, None),
        (429, 1006, Window(7.0, 7.0)), (503, 1006, Window(7.0, 7.0)),
    ],
)  # fmt: skip
async def test_a_refused_upgrade_says_why(
    http: aiohttp.ClientSession,
    gateway: ScriptedGateway,
    clock: ManualClock,
    status: int,
    code: int,
    window: Window | None,
) -> None:
    headers = {} if window is None else {"Retry-After": "7"}
    gateway.answer("GET", "/v1/realtime", status, b"", headers)
    with pytest.raises(NotOpened) as refused:
        await ClientConnection.open(http, gateway.address, JSON, clock)
    assert (refused.value.ending.code, refused.value.ending.window) == (code, window)


async def test_nobody_there_is_no_connection(http: aiohttp.ClientSession, clock: ManualClock) -> None:
    async with ScriptedGateway() as gone:
        address = gone.address
    with pytest.raises(NotOpened) as refused:
        await ClientConnection.open(http, address, JSON, clock)
    assert refused.value.ending.code == 1006


async def test_a_redirect_is_not_followed(
    http: aiohttp.ClientSession, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.answer("GET", "/v1/realtime", 302, b"", {"Location": "/elsewhere"})
    with pytest.raises(NotOpened):
        await ClientConnection.open(http, gateway.address, JSON, clock)
    assert gateway.count("GET", "/elsewhere") == 0


async def test_a_server_without_the_subprotocol_is_no_gateway(
    http: aiohttp.ClientSession, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.protocols = ()
    with pytest.raises(NotOpened) as refused:
        await ClientConnection.open(http, gateway.address, JSON, clock)
    assert refused.value.ending.code == 4000


async def test_what_is_longer_than_a_gateway_takes_is_not_sent(line: Line) -> None:
    long = frames.CommandFrame(
        id="1",
        key="0b6f1c1e-5f0e-4c57-9f57-2f6f0b7c9a11",
        stream="1.a",
        expires_at_ms=1,
        command=SetQueueParameters(queue_id="1", changes={"greeting": "x" * BYTES_IN_MAX}, if_version=1),
    )
    with refused_with(ErrorCode.BAD_REQUEST):
        await line.connection.send(long)
    await line.connection.send(PONG)
    assert await line.phone.receive(frames.Pong) == PONG
    await line.connection.close()
