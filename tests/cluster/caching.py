"""The codec of a crowd: a body of `changes` that many phones receive is decoded and checked once."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from gateway.protocol.codec import BYTES_OUT_MAX, JSON, JsonCodec
from gateway.protocol.frames import Changes, GatewayFrame

_HEAD: Final = re.compile(rb'\{"kind":"changes","after":(0|[1-9]\d{0,14}),"upto":(0|[1-9]\d{0,14})(?=,)')
"""The part in which frames of users with one scope differ."""
_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bodies in the cache; beyond that it is emptied."""


class CachingCodec(JsonCodec):
    """The JSON codec with a cache of decoded bodies.

    Invariant: accepts, refuses and returns what :data:`~gateway.protocol.codec.JSON` does. Frames with equal
    bodies share their mappings, which no client changes.
    """

    __slots__ = ("_cached_bytes", "_frames")

    def __init__(self) -> None:
        super().__init__()
        self._frames: dict[bytes, Changes] = {}
        self._cached_bytes = 0

    def decode_gateway(self, data: bytes, *, size_bytes: int = BYTES_OUT_MAX) -> GatewayFrame:
        """Decode a frame of a gateway."""
        head = _HEAD.match(data) if len(data) <= size_bytes else None
        if head is None:
            return JSON.decode_gateway(data, size_bytes=size_bytes)
        body = data[head.end() :]
        if (cached := self._frames.get(body)) is not None:
            return dataclasses.replace(cached, after=int(head[1]), upto=int(head[2]))
        frame = JSON.decode_gateway(data, size_bytes=size_bytes)
        if isinstance(frame, Changes):
            self._cache(body, frame)
        return frame

    def _cache(self, body: bytes, frame: Changes) -> None:
        self._cached_bytes += len(body)
        if self._cached_bytes > _BYTES_MAX:
            self._frames.clear()
            self._cached_bytes = len(body)
        self._frames[body] = frame


CACHING: Final = CachingCodec()
