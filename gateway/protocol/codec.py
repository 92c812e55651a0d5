"""Codec of frames: bytes to frames and back.

Two codecs say the same in two encodings: whatever one reads or refuses, the other does too.
State is written in fragments, each made once and spliced into the frames of all its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.domain.resources import Resource
from gateway.protocol import json_form, msgpack_form, wire_form
from gateway.protocol.frames import (
    CLIENT_FRAME,
    GATEWAY_FRAME,
    JSON_PROTOCOL,
    MSGPACK_PROTOCOL,
    ClientFrame,
    ControlFrame,
    GatewayFrame,
    Ping,
)
from gateway.protocol.limits import (
    BYTES_IN_MAX,
    BYTES_OUT_MAX,
    BadFrame,
    UnknownKind,
    check_size,
    check_value,
    frame_id,
)

__all__ = ["JSON", "MSGPACK", "BadFrame", "Codec", "UnknownKind", "codec_for"]

F = TypeVar("F")


class WriteChanges(Protocol):
    """Writes a `changes` frame around fragments that are written already."""

    def __call__(
        self,
        *,
        after: int,
        upto: int,
        stream: str | None,
        reset: bool,
        more: bool,
        put: Sequence[tuple[str, bytes]],
        patch: Sequence[tuple[str, bytes]],
        gone: Sequence[str],
    ) -> bytes:
        """Return the frame; what is empty is left out of it."""
        ...


class Codec:
    """One subprotocol's encoding.

    Invariant: holds no state; the two that exist are :data:`JSON` and :data:`MSGPACK`.

    Args:
        name: What metrics call it.
        subprotocol: What is agreed on at the upgrade.
        text: Whether its frames are text messages, not binary ones.
        write: Writes a plain value.
        read: Reads one value from all bytes, or raises :class:`BadFrame`.
        changes: See :class:`WriteChanges`; fragments must be of the same codec.
    """

    __slots__ = ("_read", "_write", "changes", "name", "subprotocol", "text")

    def __init__(
        self,
        name: str,
        subprotocol: str,
        *,
        text: bool,
        write: Callable[[object], bytes],
        read: Callable[[bytes], object],
        changes: WriteChanges,
    ) -> None:
        self.name: Final = name
        self.subprotocol: Final = subprotocol
        self.text: Final = text
        self.changes: Final = changes
        self._write = write
        self._read = read

    def __repr__(self) -> str:
        return f"Codec({self.subprotocol})"

    # ---- frames ----

    def encode(self, frame: ClientFrame | ControlFrame | Ping) -> bytes:
        """Write a frame; optional fields without a value are left out."""
        return self._write(wire_form.fields(frame))

    def decode_client(self, data: bytes, *, size_bytes: int = BYTES_IN_MAX) -> ClientFrame:
        """Read what a phone sent.

        Raises:
            BadFrame: It is no client frame; says how the connection answers.
        """
        return self._decode(data, size_bytes, CLIENT_FRAME, path_shown=4)

    def decode_gateway(self, data: bytes, *, size_bytes: int = BYTES_OUT_MAX) -> GatewayFrame:
        """Read what a gateway sent.

        Raises:
            UnknownKind: A kind of frame that a later gateway may have; to be ignored.
            BadFrame: It is no gateway frame.
        """
        return self._decode(data, size_bytes, GATEWAY_FRAME, path_shown=2)

    def _decode(self, data: bytes, size_bytes: int, frames: TypeAdapter[F], path_shown: int | None) -> F:
        check_size(data, size_bytes)
        value = self._read(data)
        if type(value) is not dict:
            raise BadFrame("a frame is one object")
        try:
            check_value(value)
            return frames.validate_python(value)
        except BadFrame as bad:
            raise BadFrame(bad.reason, frame_id=frame_id(value)) from None
        except ValidationError as error:
            raise _bad_frame(error, path_shown, frame_id(value)) from None

    # ---- fragments ----

    def fragment(self, value: Resource) -> bytes:
        """Write the whole *value* of a resource, as a `put` carries it."""
        return self._write(wire_form.fields(value))

    def patch_fragment(self, before: Resource, after: Resource) -> bytes | None:
        """Write the fields in which *after* differs, as a `patch` carries them; None when none does.

        Fields are replaced whole, cleared ones are null. Both are values of one key.
        """
        changed = wire_form.changed_fields(before, after)
        return self._write(changed) if changed else None

    def fields(self, value: Resource) -> dict[str, object]:
        """Return the plain mapping that :meth:`fragment` writes."""
        return wire_form.fields(value)


def _bad_frame(error: ValidationError, path_shown: int | None, id_: str | None) -> BadFrame:
    """Say what is wrong by the names of our own fields, never by what was in them.

    *path_shown*: how many names lead to the fault at most; deeper ones may be data.
    """
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(name) for name in fault["loc"][:path_shown])
    if fault["type"] == "union_tag_invalid":
        return UnknownKind(f"unknown kind of {path}" if path else "unknown kind", frame_id=id_)
    return BadFrame(f"{path}: {fault['type']}" if path else fault["type"], frame_id=id_)


JSON: Final = Codec(
    "json",
    JSON_PROTOCOL,
    text=True,
    write=json_form.write,
    read=json_form.read,
    changes=json_form.changes,
)
MSGPACK: Final = Codec(
    "msgpack",
    MSGPACK_PROTOCOL,
    text=False,
    write=msgpack_form.write,
    read=msgpack_form.read,
    changes=msgpack_form.changes,
)


def codec_for(subprotocol: str) -> Codec | None:
    """Return the codec of a WebSocket subprotocol; None when there is no such subprotocol."""
    match subprotocol:
        case JSON.subprotocol:
            return JSON
        case MSGPACK.subprotocol:
            return MSGPACK
        case _:
            return None
