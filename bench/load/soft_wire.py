"""Client side of a WebSocket (RFC 6455), optimised for speed."""

from __future__ import annotations

from collections.abc import Iterator

CLOSE, PING, PONG = 8, 9, 10
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Key and answer of the handshake, from the example in RFC 6455 §1.3."""
_MASK = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    mask = int.from_bytes((_MASK * (size // 4 + 1))[:size], "little")
    return head + _MASK + (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")


def handshake(host: str, path: str, subprotocol: str | None, headers: list[bytes]) -> bytes:
    """Return the HTTP request of the handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return b"\r\n".join([*(line.encode() for line in lines), *headers, b"", b""])


class Frames:
    """Parser of a server's frames, which stores incomplete ones."""

    __slots__ = ("_joined", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._joined: bytearray | None = None

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (opcode, payload) of control frames and whole messages."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            first, size, start = data[at], data[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : start], "big")
            if end < start + size:
                break
            payload = data[start : start + size]
            at = start + size
            if first & 0x08 or (first & 0x80 and first & 0x0F):
                yield first & 0x0F, payload
            elif (whole := self._join(first, payload)) is not None:
                yield 1, whole
        self._rest = data[at:]

    def _join(self, first: int, payload: bytes) -> bytes | None:
        if first & 0x0F or self._joined is None:
            self._joined = bytearray()
        self._joined += payload
        if not first & 0x80:
            return None
        whole, self._joined = bytes(self._joined), None
        return whole
