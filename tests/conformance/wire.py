"""Bytes of a WebSocket, written and read without code of the gateway."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgpack  # type: ignore[import-untyped]  # ships no types

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FRAME_MAX: Final = 1_048_576

Frame = dict[str, Any]


class Codec(NamedTuple):
    """How frames become messages, and back."""

    subprotocol: str
    opcode: int
    encode: Callable[[Mapping[str, Any]], bytes]
    decode: Callable[[bytes], Any]


def _to_json(frame: Mapping[str, Any]) -> bytes:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


CODECS: Final = {
    codec.subprotocol: codec
    for codec in (
        Codec("oscc.v1.json", TEXT, _to_json, json.loads),
        Codec("oscc.v1.msgpack", BINARY, msgpack.packb, msgpack.unpackb),
    )
}


class Message(NamedTuple):
    """One frame of RFC 6455 as it came from a client."""

    opcode: int
    payload: bytes
    final: bool
    masked: bool


def accept_of(key: str) -> str:
    """Return what ``Sec-WebSocket-Accept`` must say to *key* (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID.encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def framed(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return one unmasked frame of RFC 6455."""
    head = bytes([(0x80 if final else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65_536:
        return head + bytes([126]) + struct.pack("!H", len(payload)) + payload
    return head + bytes([127]) + struct.pack("!Q", len(payload)) + payload


def fragmented(opcode: int, payload: bytes, parts: int, *, between: bytes = b"") -> bytes:
    """Return a message of *parts* fragments, with the frames *between* after each but the last."""
    size = max(1, -(-len(payload) // parts))
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    frames = [
        framed(opcode if index == 0 else CONTINUATION, piece, final=index == len(pieces) - 1)
        for index, piece in enumerate(pieces)
    ]
    return between.join(frames)


def closing(code: int | None, reason: str = "") -> bytes:
    """Return a close frame; without a code its body is empty."""
    return framed(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Return the next frame of a client.

    Raises:
        EOFError: The connection ended.
    """
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    if size > _FRAME_MAX:
        raise EOFError
    mask = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(size)
    if mask:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return Message(first & 0x0F, payload, bool(first & 0x80), bool(mask))
