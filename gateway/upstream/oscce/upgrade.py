"""The handshake of a link: from an HTTP request to an OSCC-E Server to a WebSocket.

aiohttp makes the connection and speaks HTTP on it; after the handshake the transport is ours alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import aiohttp
from aiohttp import EMPTY_PAYLOAD, hdrs
from yarl import URL

from gateway.runtime.turns import Turns
from gateway.upstream.oscce.socket import LinkSocket

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §4.2.2."""
_KEY_BYTES: Final = 16
KERNEL_BYTES: Final = 128 * 1024
"""What the kernel keeps of a link that is not read: more only grows old there."""


class NoUpgradeError(aiohttp.ClientConnectionError):
    """What answers is no WebSocket server."""


async def upgrade(
    http: aiohttp.ClientSession,
    url: URL,
    headers: Mapping[str, str],
    *,
    tls: ssl.SSLContext | bool,
    subprotocol: str,
    message_bytes: int,
    turns: Turns,
) -> LinkSocket:
    """Open a WebSocket; redirects are not followed.

    Args:
        http: Makes the connection. Closing it closes the socket, unless *turns* carries it.
        url: The link's address, ``http`` or ``https``.
        headers: Further headers of the request.
        tls: Verifies the server; True means the system's authorities.
        subprotocol: What is spoken.
        message_bytes: The largest message that may come.
        turns: Carries links in clear text, and says when readings are digested.

    Raises:
        aiohttp.ClientError: What answers is no WebSocket; or whatever *http* raises on such an answer.
        OSError: It is not reached.
    """
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES))
    response = await http.get(
        url,
        headers={
            **headers,
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "Upgrade",
            hdrs.SEC_WEBSOCKET_VERSION: "13",
            hdrs.SEC_WEBSOCKET_KEY: key.decode(),
            hdrs.SEC_WEBSOCKET_PROTOCOL: subprotocol,
        },
        allow_redirects=False,
        read_until_eof=False,
        ssl=tls,
    )
    try:
        _check(response, key)
        return _taken(response, message_bytes, turns)
    except BaseException:
        response.close()
        raise


def _check(response: aiohttp.ClientResponse, key: bytes) -> None:
    """Check that a server answers which means WebSocket (§4.1)."""
    # SHA-1 guards nothing here, it only shows that the server has read the key as one
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
    headers = response.headers
    if (
        response.status != 101
        or headers.get(hdrs.UPGRADE, "").lower() != "websocket"
        or not _has_token(headers.getall(hdrs.CONNECTION, ()), "upgrade")
        or headers.get(hdrs.SEC_WEBSOCKET_ACCEPT) != proof
    ):
        raise NoUpgradeError("the server does not upgrade to WebSocket")


def _has_token(values: Sequence[str], token: str) -> bool:
    """Return whether a header that is a list (RFC 9110 §5.6.1) holds *token*, in any case."""
    return any(each.strip().lower() == token for value in values for each in value.split(","))


class _Early:
    """Takes from aiohttp what came together with the end of the handshake."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take it in; whatever follows is taken, too."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Record that nothing follows."""


def _taken(response: aiohttp.ClientResponse, message_bytes: int, turns: Turns) -> LinkSocket:
    """Take the connection over.

    In clear text nothing is left of it in aiohttp. Through TLS aiohttp goes on counting it as its own, so
    that it closes it with the session; that it has ended we say.
    """
    connection = response.connection
    handler = None if connection is None else connection.protocol
    transport = None if connection is None else connection.transport
    if handler is None or transport is None:
        raise aiohttp.ClientConnectionError("the server left during the handshake")

    def lost(fault: BaseException | None) -> None:
        handler.connection_lost(fault)
        response.close()

    early = _Early()
    handler.set_parser(early, EMPTY_PAYLOAD)
    _bound_kernel(transport)
    carrier = turns.wires.take(transport)
    if carrier is transport:
        link = LinkSocket(carrier, message_bytes, lost, turns)
    else:
        lost(None)
        link = LinkSocket(carrier, message_bytes, _nobody, turns)
    carrier.set_protocol(link)
    if carrier is not transport:
        carrier.resume_reading()
    if early.data:
        link.data_received(early.data)
    return link


def _nobody(_: Exception | None) -> None:
    """Record that a connection has ended of which no account is kept."""


def _bound_kernel(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
