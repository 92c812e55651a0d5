"""Independent reader of WebSocket frames."""

from __future__ import annotations

from typing import Final, NamedTuple

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import Frame, FrameProtocol, Opcode, ParseFailed

_BAD_GATEWAY: Final = (1014).to_bytes(2, "big")
_TRY_AGAIN_LATER: Final = (1013).to_bytes(2, "big")
_CONTROL: Final = {Opcode.PING: "Ping", Opcode.PONG: "PongFrame"}


class Reading(NamedTuple):
    """What somebody else read."""

    events: list[tuple[object, ...]]
    """Names and fields of the parser's own events."""
    failed: int | None = None
    """The code of the breach, if there was one."""
    between: int = 0
    """Whole frames since the last whole message."""


class _Reader(FrameProtocol):
    """Knows one more code of IANA's registry (RFC 6455 §11.7)."""

    def _process_close(self, frame: Frame) -> Frame:
        payload = frame.payload
        if isinstance(payload, str | tuple) or payload[:2] != _BAD_GATEWAY:
            return super()._process_close(frame)
        read = super()._process_close(frame._replace(payload=_TRY_AGAIN_LATER + payload[2:]))
        assert isinstance(read.payload, tuple)
        return read._replace(payload=(1014, read.payload[1]))


def second_reading(data: bytes, *, client: bool = False, deflate: bool = False) -> Reading:
    """Read *data* as a server, or as its *client*, with `wsproto`, which has no limits of its own.

    *deflate*: compressed messages were agreed on, each alone.
    """
    extension = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
    if deflate:
        extension.finalize("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    protocol = _Reader(client=client, extensions=[extension] if deflate else [])
    protocol.receive_bytes(data)
    events: list[tuple[object, ...]] = []
    parts: list[bytes] = []
    between = 0
    try:
        for frame in protocol.received_frames():
            payload = frame.payload
            if isinstance(payload, tuple):
                code, reason = payload
                return Reading([*events, ("CloseReceived", int(code), reason)])
            between += frame.frame_finished
            said = payload.encode() if isinstance(payload, str) else bytes(payload)
            if frame.opcode in _CONTROL:
                events.append((_CONTROL[frame.opcode], said))
                continue
            parts.append(said)
            if frame.message_finished:
                events.append(("Message", b"".join(parts), frame.opcode is Opcode.TEXT))
                parts.clear()
                between = 0
    except ParseFailed as failure:
        return Reading(events, int(failure.code), between)
    return Reading(events, None, between)
