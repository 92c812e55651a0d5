"""The frames of RESP: where replies of a Redis begin and end, and which are published messages.

RESP2 and RESP3 as in the protocol's specification; streamed strings and aggregates, which no Redis sends, are
refused.
"""

from __future__ import annotations

from typing import Final

_SIMPLE: Final = b"+-:,#_("
_BULK: Final = b"$!="
_MEMBERS: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
_PUBLISHED: Final = (b"message", b"pmessage", b"smessage")


class RespFrames:
    """Cuts a stream of bytes into whole replies. Joined, they are the bytes that were fed."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add *data*; return the replies that are complete now.

        Raises:
            ValueError: It is no RESP.
        """
        held, at = self._held + data, 0
        frames: list[bytes] = []
        while (end := frame_end(held, at)) is not None:
            frames.append(held[at:end])
            at = end
        self._held = held[at:]
        return frames

    @property
    def held(self) -> int:
        """Bytes of an incomplete reply."""
        return len(self._held)


def frame_end(data: bytes, at: int) -> int | None:
    """Return the end of the reply that begins at *at*; None when it is not complete.

    Raises:
        ValueError: It is no RESP.
    """
    owed = 1
    while owed:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        kind, head = data[at], data[at + 1 : line_end]
        at, owed = line_end + 2, owed - 1
        if kind in _BULK:
            length = int(head)
            at += length + 2 if length >= 0 else 0
        elif kind in _MEMBERS:
            # an attribute ("|") stands before the reply that it belongs to
            owed += max(int(head), 0) * _MEMBERS[kind] + (kind == ord("|"))
        elif kind not in _SIMPLE:
            raise ValueError(f"no RESP: a reply begins with {chr(kind)!r}")
    return at if at <= len(data) else None


def is_published(frame: bytes) -> bool:
    """Return whether a reply is a message of a subscription (no confirmation, no pong)."""
    if frame[:1] not in (b"*", b">"):
        return False
    first = frame.find(b"\r\n") + 2
    return any(frame.startswith(b"$%d\r\n%b\r\n" % (len(word), word), first) for word in _PUBLISHED)
