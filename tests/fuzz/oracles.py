"""Oracles for the bytes of a phone's socket.

Each oracle takes an input and raises when a promise is broken. They are asked by the search of
:mod:`tests.fuzz.hunt`, and by the tests that replay what it found. Those of the other doors stand in
:mod:`tests.fuzz.doors`.
"""

from __future__ import annotations

import json
import math
import random  # noqa: TID251 - seeded with the input
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final
from unittest import mock

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec

from gateway.protocol import websocket
from gateway.protocol.codec import INVALID_TEXT, JSON, MSGPACK, TOO_BIG, BadFrame, Codec
from gateway.protocol.frames import ClientFrame, CommandFrame
from tests.fuzz import doors
from tests.fuzz.second_reader import second_reading

MESSAGE_BYTES: Final = 400
HEAD_BYTES: Final = 14
"""RFC 6455 §5.2: two bytes, eight of length, four of mask."""
FRAMES_BETWEEN: Final = 16
"""Tight, so that short inputs reach them."""


def frames_of_rfc_6455(data: bytes) -> None:
    """Hold the parser to its promises, and to what somebody else's makes of *data*.

    Raises:
        AssertionError: One is broken.
        Exception: The parser raised, which it never does.
    """
    with mock.patch.object(websocket, "FRAMES_BETWEEN_MAX", FRAMES_BETWEEN):
        bytewise = list(_read(data[at : at + 1] for at in range(len(data))))
        for pieces in ([data], _pieces(data)):
            cut = list(_read(pieces))
            assert [event for event, _ in cut] == [event for event, _ in bytewise], (
                "it matters where it is cut"
            )
            if not _ends(cut):
                assert cut == bytewise, "it matters where it is cut"
    seen = data[: bytewise[-1][1]] if _ends(bytewise) else data
    _compare([event for event, _ in bytewise], seen)


def _ends(read: list[tuple[websocket.WebSocketEvent, int]]) -> bool:
    return bool(read) and isinstance(read[-1][0], websocket.CloseReceived | websocket.Violation)


def _read(pieces: Iterable[bytes]) -> Iterator[tuple[websocket.WebSocketEvent, int]]:
    """Yield each event, and how many bytes were behind it: those up to the end of its frame and no more."""
    parser = websocket.Parser(MESSAGE_BYTES)
    fed = 0
    for piece in pieces:
        fed += len(piece)
        for event in parser.feed(piece):
            is_last = isinstance(event, websocket.CloseReceived | websocket.Violation)
            assert parser.is_over is is_last, "it ends at a close or a breach, and at nothing else"
            assert not isinstance(event, websocket.Message) or len(event.data) <= MESSAGE_BYTES
            yield event, fed - parser.waiting_bytes
        assert parser.waiting_bytes < MESSAGE_BYTES + HEAD_BYTES, "more is held than a frame"
        assert len(parser._fragments or b"") <= MESSAGE_BYTES, "more is held than a message"
        assert not parser.is_over or parser.waiting_bytes == 0, "something is held behind the end"


def _pieces(data: bytes) -> Iterator[bytes]:
    seeded = random.Random(zlib.crc32(data))
    at = 0
    while at < len(data):
        size = seeded.choice((1, 2, 3, 5, 8, 13, 60, 130))
        yield data[at : at + size]
        at += size


def _compare(ours: list[websocket.WebSocketEvent], seen: bytes) -> None:
    """Hold what was read against somebody else's reading of the bytes that it took: *seen*."""
    theirs = second_reading(seen)
    breach = ours[-1] if ours and isinstance(ours[-1], websocket.Violation) else None
    plain = [
        (type(event).__name__.removeprefix("WebSocket"), *event) for event in ours if event is not breach
    ]
    assert plain == theirs.events, "others read something else"
    if breach is None or breach.code in {websocket.TOO_BIG, websocket.POLICY}:  # limits of our own
        assert theirs.failed is None, "a breach, for others"
        is_full = breach is not None and breach.code == websocket.POLICY
        assert theirs.between == FRAMES_BETWEEN if is_full else theirs.between <= FRAMES_BETWEEN
    else:  # others may want to see more of a frame before they tell
        more = bytes(HEAD_BYTES)
        assert breach.code == theirs.failed or second_reading(seen + more).failed, "no breach, for others"


def client_frames_in_json(data: bytes) -> None:
    """Hold the JSON codec to its promises: see :func:`_client_frame`."""
    _client_frame(
        JSON, data, _json, lambda value: MSGPACK.decode_client(msgpack.packb(value), size_bytes=_ANY)
    )


def client_frames_in_msgpack(data: bytes) -> None:
    """Hold the msgpack codec to its promises: see :func:`_client_frame`."""
    _client_frame(
        MSGPACK, data, _msgpack, lambda value: JSON.decode_client(json.dumps(value).encode(), size_bytes=_ANY)
    )


_ANY: Final = 1 << 20
"""What is small in one encoding may be big in the other."""


class _NoFrame(Exception):  # noqa: N818 - names what came
    """Bytes that stand for no value that a frame may have."""


def _client_frame(
    codec: Codec, data: bytes, read: Callable[[bytes], object], cross: Callable[[object], object]
) -> None:
    """Hold *codec* to its promises.

    It raises nothing but refusals, which repeat nothing of what came. What it takes it writes so
    that it reads the same. Both codecs take the same values and make the same of them, and none
    takes what other libraries cannot read.
    """
    frame: ClientFrame | None = None
    try:
        frame = codec.decode_client(data)
    except BadFrame as bad:
        refused = bad.reason, bad.close_code
    else:
        refused = "", None
        assert codec.decode_client(codec.encode(frame)) == frame
    assert refused[0].isascii()
    assert len(refused[0]) < 100
    assert refused[1] in {None, TOO_BIG, INVALID_TEXT}
    try:
        value = read(data)
    except _NoFrame:
        assert frame is None, "a frame, for nobody else"
        return
    try:
        other = cross(value)
    except BadFrame:
        other = None
    assert frame == other, "another frame in the other encoding"


def _json(data: bytes) -> object:
    """Read JSON by a library that the codec does not read with, and see to what that lets pass."""
    try:
        value = msgspec.json.decode(data)
        json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError, _NoFrame):
        raise _NoFrame from None
    return _lawful(value)


def _msgpack(data: bytes) -> object:
    """Read msgpack by a library that the codec does not read with, and see to what that lets pass."""
    try:
        value = msgspec.msgpack.decode(data)
        msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=_once)
    except (ValueError, RecursionError, _NoFrame):
        raise _NoFrame from None
    return _lawful(value)


def _once(pairs: list[tuple[object, object]]) -> dict[object, object]:
    try:
        members = dict(pairs)
    except TypeError:  # a key that is a list
        raise _NoFrame from None
    if len(members) != len(pairs):
        raise _NoFrame
    return members


def _lawful(value: object, depth: int = 1) -> object:
    """Return *value* when it has nothing that a frame may not have, by the protocol's page."""
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        if depth > 16 or not all(isinstance(key, str) for key in value if members is not value):
            raise _NoFrame
        for member in members:
            _lawful(member, depth + 1)
    elif not _is_lawful(value):
        raise _NoFrame
    return value


def _is_lawful(scalar: object) -> bool:
    match scalar:
        case bool() | None | str():
            return True
        case int():
            return abs(scalar) < 1 << 53
        case float():
            return math.isfinite(scalar)
        case _:
            return False


def kinds_said(name: str, inputs: Iterable[bytes]) -> dict[str, bytes]:
    """Return the first input for each kind of frame and of command that is one."""
    first: dict[str, bytes] = {}
    for codec in {"json": [JSON], "msgpack": [MSGPACK]}.get(name, []):
        for data in inputs:
            with suppress(BadFrame):
                frame = codec.decode_client(data)
                first.setdefault(frame.command.kind if isinstance(frame, CommandFrame) else frame.kind, data)
    return first


ORACLES: Final[dict[str, Callable[[bytes], None]]] = {
    "websocket": frames_of_rfc_6455, "json": client_frames_in_json, "msgpack": client_frames_in_msgpack,
    "log_on": doors.log_ons, "token": doors.tokens, "link": doors.messages_of_a_link,
    "server": doors.frames_of_a_server,
}  # fmt: skip
"""Name of a corpus → what must hold for each of its inputs."""
