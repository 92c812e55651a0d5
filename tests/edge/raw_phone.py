"""WebSocket client that is driven byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from gateway.protocol import frames
from gateway.protocol.codec import JSON
from tests.protocol.framing import Received, received, text

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PROOF = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455 §1.3."""
SOON_S = 5.0
TOO_LONG_S = 30.0
"""Bounds a failing test, also on a busy machine."""


class RawPhone:
    """The other end of a WebSocket, without any rules."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        """What the handshake was answered with."""

    @classmethod
    async def connect(
        cls,
        port: int,
        path: str = "/v1/realtime",
        *,
        early: bytes = b"",
        connection: str = "Upgrade",
        protocol: str = JSON.subprotocol,
        tls: ssl.SSLContext | None = None,
        slow: bool = False,
    ) -> RawPhone:
        """Open a WebSocket. *early* leaves with the handshake; the kernel holds little for a *slow* one."""
        if slow:
            small = socket.socket()
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.setblocking(False)
            await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=small, limit=1024)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        lines = [
            f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", f"Connection: {connection}",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}", f"Sec-WebSocket-Protocol: {protocol}",
        ]  # fmt: skip
        writer.write("\r\n".join([*lines, "", ""]).encode() + early)
        async with asyncio.timeout(SOON_S):
            head = await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer, head.decode())

    async def __aenter__(self) -> RawPhone:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def hello(self, token: str) -> None:
        self.send(text(JSON.encode(frames.Hello(frames.ClientInfo("test", "1.0", "linux"), token))))

    async def hear(self) -> Received:
        async with asyncio.timeout(SOON_S):
            head = await self.reader.readexactly(2)
            width = {126: 2, 127: 8}.get(head[1], 0)
            more = await self.reader.readexactly(width)
            size = int.from_bytes(more, "big") if width else head[1]
            return received(head + more + await self.reader.readexactly(size))[0]

    async def served(self, token: str) -> None:
        self.hello(token)
        while b'"ping"' not in (await self.hear()).payload:
            pass

    async def read_until(self, end: bytes) -> bytes:
        """Read until these bytes have come, or to the end when there are none."""
        data = b""
        async with asyncio.timeout(TOO_LONG_S):
            with suppress(ConnectionError):
                while (not end or end not in data) and (more := await self.reader.read(65_536)):
                    data += more
        return data

    async def end(self) -> list[Received]:
        async with asyncio.timeout(SOON_S):
            return received(await self.reader.read())

    async def end_of_both(self) -> tuple[int | None, int]:
        """Return the code of the `bye`, if that came last but one, and that of the close, which came last."""
        *before, close = await self.end()
        assert close.opcode == 8
        last = JSON.decode_gateway(before[-1].payload) if before else None
        return last.code if isinstance(last, frames.Bye) else None, int.from_bytes(close.payload[:2], "big")
