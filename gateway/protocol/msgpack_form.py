"""Read and write frames as msgpack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec

from gateway.protocol.limits import BadFrame, check_msgpack_depth, unique

write: Final = msgspec.msgpack.Encoder().encode
"""Write a plain value."""

_KIND: Final = write("kind") + write("changes")
_AFTER: Final = write("after")
_UPTO: Final = write("upto")
_STREAM: Final = write("stream")
_RESET: Final = write("reset") + write(True)
_MORE: Final = write("more") + write(True)
_PUT: Final = write("put")
_PATCH: Final = write("patch")
_GONE: Final = write("gone")
_FIXMAP: Final = tuple(bytes([0x80 | count]) for count in range(16))


def read(data: bytes) -> object:
    """Read one value. Extension types and binary values come as objects that no frame may have.

    Raises:
        BadFrame: It is no msgpack, or breaks a rule of :mod:`gateway.protocol.limits` that can be
            seen while reading.
    """
    check_msgpack_depth(data)
    try:
        value: object = msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=unique)
    except ValueError:  # every error of msgpack is one; texts that are not UTF-8 too
        raise BadFrame("not msgpack") from None
    return value


def changes(
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
    """Write a `changes` frame around fragments; what is empty is left out."""
    parts = [b"", _KIND, _AFTER, write(after), _UPTO, write(upto)]
    count = 3
    if stream is not None:
        parts += _STREAM, write(stream)
        count += 1
    if reset:
        parts.append(_RESET)
        count += 1
    if more:
        parts.append(_MORE)
        count += 1
    if put:
        _splice(parts, _PUT, put)
        count += 1
    if patch:
        _splice(parts, _PATCH, patch)
        count += 1
    if gone:
        parts += _GONE, write(gone)
        count += 1
    parts[0] = _FIXMAP[count]
    return b"".join(parts)


def _splice(parts: list[bytes], name: bytes, members: Sequence[tuple[str, bytes]]) -> None:
    parts += name, _map_head(len(members))
    for key, value in members:
        parts += write(key), value


def _map_head(count: int) -> bytes:
    if count < 16:
        return _FIXMAP[count]
    if count < 0x10000:
        return b"\xde" + count.to_bytes(2, "big")
    return b"\xdf" + count.to_bytes(4, "big")
