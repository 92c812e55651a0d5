"""How does a connection become a WebSocket, and how is it taken from aiohttp?

aiohttp does the handshake only. Its private parts are touched here and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import socket
from contextlib import suppress
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.channel import Channel
from gateway.protocol.codec import Codec
from gateway.protocol.frames import PROTOCOLS
from gateway.runtime.epoll_transport import Wires

NOTSENT_BYTES: Final = 16 * 1024
"""The kernel takes no more than this beyond what is in flight; without it megabytes grow stale there."""
UNACKNOWLEDGED_MS: Final = 30_000
"""The kernel ends a connection whose peer has acknowledged nothing for so long, also one that is closing."""
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §4.2.2."""
VERSION: Final = "13"
"""Of the WebSocket protocol."""
WIRES: Final = web.AppKey("wires", Wires)
"""Where an application keeps its connections; without it each keeps the transport that it came with."""


def check_handshake(request: web.Request) -> None:
    """Refuse what asks for no WebSocket (RFC 6455 §4.2.1).

    Raises:
        GatewayError: ``bad_request``.
    """
    asks = (
        request.version >= HttpVersion11
        and not request.body_exists
        and request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) == VERSION
        and web.WebSocketResponse(protocols=PROTOCOLS).can_prepare(request)
    )
    if not asks:
        raise GatewayError(ErrorCode.BAD_REQUEST, "A WebSocket handshake is needed here.")


async def accept(
    request: web.Request, codec: Codec, *, message_bytes: int
) -> tuple[Channel, web.StreamResponse]:
    """Upgrade *request*; returns the channel, and what its handler must return now.

    Raises:
        ConnectionResetError: The peer has left.
    """
    key = request.headers[hdrs.SEC_WEBSOCKET_KEY].encode()
    # §4.2.2; SHA-1 guards nothing here, it only shows that the server means WebSocket
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
    response = web.StreamResponse(
        status=101,
        headers={
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "Upgrade",
            hdrs.SEC_WEBSOCKET_ACCEPT: proof,
            hdrs.SEC_WEBSOCKET_PROTOCOL: codec.subprotocol,
        },
    )
    response.force_close()  # what aiohttp does when the handler returns, and then finds done
    await response.prepare(request)
    transport, server = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the peer left during the handshake")
    _tune(transport.get_extra_info("socket"))
    early = _let_go(server)
    wires = request.app.get(WIRES)
    carrier = transport if wires is None else wires.take(transport)
    channel = Channel(carrier, codec, message_bytes=message_bytes, early=early)
    channel.begin()
    return channel, response


def _let_go(server: web.RequestHandler) -> bytes:
    """Take its connection from aiohttp; returns what came behind the handshake.

    Without a transport aiohttp neither writes nor closes; told that the connection is lost, it
    forgets it, stops its timer, and ends once the handler has returned.
    """
    early, server._message_tail = server._message_tail, b""  # noqa: SLF001 - it offers no other way
    server.transport = None
    server.connection_lost(None)
    return early


def _tune(raw: socket.socket | None) -> None:
    """Send at once, and let the kernel queue little. Not every socket can: then it does not."""
    if raw is None or raw.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
