"""How do messages cross one WebSocket?

The one room of the edge that knows aiohttp's WebSocket. It knows nothing of sessions, so it can
be exchanged for a slimmer one.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from aiohttp import WebSocketError, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.codec import Codec
from gateway.protocol.frames import PROTOCOLS

NOTSENT_BYTES: Final = 16 * 1024
"""The kernel takes no more than this beyond what is in flight; without it megabytes grow stale there."""
CLOSE_S: Final = 1.0
"""How long the peer may take to answer a close."""
_REASON_BYTES_MAX: Final = 123
"""RFC 6455 §5.5: control frames carry at most 125 bytes, two of them the code."""
_SIZE_SLACK: Final = 4
"""Messages a little too large still come in whole, so that the session can answer them."""
_NO_CODE: Final = 1005
_BROKEN: Final = 1006
"""RFC 6455 §7.1.5: the close had no code; there was no close."""
_NEVER: Final = 2**62


class Message(NamedTuple):
    """What the peer sent."""

    data: bytes
    text: bool


class Gone(NamedTuple):
    """There are no more messages; nothing can be written either.

    *by*: ``client`` when it closed with *code*, ``network`` when the connection broke (1006), ``gateway``
    when the peer broke the rules of RFC 6455 and was closed with *code* for it.
    """

    by: Literal["client", "network", "gateway"]
    code: int


class Channel:
    """One WebSocket after its handshake.

    Invariant: frames leave in the order of :meth:`write`; after :meth:`close` nothing does.

    Args:
        ws: The prepared response.
        writer: What preparing it returned.
        transport: What is beneath.
        codec: The agreed subprotocol.
    """

    __slots__ = ("_transport", "_writer", "_ws", "codec")

    def __init__(
        self,
        ws: web.WebSocketResponse[bool],
        writer: AbstractStreamWriter,
        transport: asyncio.Transport,
        codec: Codec,
    ) -> None:
        self._ws = ws
        self._writer = writer
        self._transport = transport
        self.codec: Final = codec
        # full as soon as anything waits: what waits, waits as names in the outbox
        transport.set_write_buffer_limits(high=0)
        _tune(transport.get_extra_info("socket"))

    async def receive(self) -> Message | Gone:
        """Return the next message."""
        received = await self._ws.receive()
        match received.type:
            case WSMsgType.TEXT:
                return Message(received.data, text=True)
            case WSMsgType.BINARY:
                return Message(received.data, text=False)
            case WSMsgType.CLOSE:
                return Gone("client", received.data or _NO_CODE)
            case WSMsgType.ERROR if isinstance(received.data, WebSocketError):
                return Gone("gateway", received.data.code)
            case _:
                return Gone("network", _BROKEN)

    async def write(self, frames: list[bytes]) -> None:
        """Send *frames*. Never waits; what a dead connection cannot take is lost."""
        kind = WSMsgType.TEXT if self.codec.text else WSMsgType.BINARY
        with suppress(ConnectionError):  # receive() tells
            for frame in frames:
                await self._ws.send_frame(frame, kind)

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Return when the kernel has taken all, or nothing will; to be cancelled with the connection only."""
        with suppress(ConnectionError):
            await self._writer.drain()

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*; bounded in time, whatever the peer does."""
        message = reason.encode("ascii", "replace")[:_REASON_BYTES_MAX]
        try:
            await self._ws.close(code=code, message=message, drain=False)
        finally:
            if self.unsent_bytes:
                self._transport.abort()


def check_handshake(request: web.Request) -> None:
    """Refuse what asks for no WebSocket (RFC 6455 §4.2.1).

    Raises:
        GatewayError: ``bad_request``.
    """
    if not web.WebSocketResponse(protocols=PROTOCOLS).can_prepare(request):
        raise GatewayError(ErrorCode.BAD_REQUEST, "A WebSocket handshake is needed here.")


async def accept(
    request: web.Request, codec: Codec, *, message_bytes: int
) -> tuple[Channel, web.StreamResponse]:
    """Upgrade *request*; returns the channel, and what its handler must return in the end."""
    ws = web.WebSocketResponse(
        protocols=(codec.subprotocol,),
        compress=False,
        max_msg_size=message_bytes * _SIZE_SLACK,
        decode_text=False,
        timeout=CLOSE_S,
        writer_limit=_NEVER,
    )
    writer = await ws.prepare(request)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the peer left during the handshake")
    return Channel(ws, writer, transport, codec), ws


def _tune(raw: socket.socket | None) -> None:
    """Send at once, and let the kernel queue little. Not every socket can: then it does not."""
    if raw is None or raw.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
