"""WebSocket frames of a link, however they are cut, as RFC 6455 says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import websocket
from gateway.protocol.websocket import (
    FRAMES_BETWEEN_MAX,
    Message,
    Parser,
    PongFrame,
    Violation,
    WebSocketPing,
)
from gateway.upstream.oscce.socket import (
    FRAGMENT_BYTES,
    Closed,
    Frames,
    Incoming,
    masked,
    masked_close,
)

LIMIT = 70_000
MASK = bytes.fromhex("37fa213d")


def frame(first: int, payload: bytes = b"") -> bytes:
    """Return a frame of a server."""
    return bytes((first,)) + websocket.head(0, len(payload))[1:] + payload


def text(payload: bytes) -> bytes:
    """Return a whole text message."""
    return frame(0x81, payload)


def read(*pieces: bytes, limit: int = LIMIT) -> list[Incoming]:
    """Return what one who gets these pieces makes of them."""
    frames = Frames(limit)
    return [said for piece in pieces for said in frames.feed(piece)]


def broken(*pieces: bytes, limit: int = LIMIT) -> int:
    """Return the code that these pieces are closed with, after which nothing is read."""
    *others, last = read(*pieces, text(b"more"), limit=limit)
    assert isinstance(last, Violation)
    assert not any(isinstance(said, Violation) for said in others)
    return last.code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_texts_of_every_length_are_read(size: int) -> None:
    assert read(text(b"*" * size) + text(b"next")) == ["*" * size, "next"]


def test_the_example_of_the_rfc() -> None:
    assert read(bytes.fromhex("810548656c6c6f")) == ["Hello"]
    assert masked(websocket.TEXT, b"Hello", MASK) == bytes.fromhex("818537fa213d7f9f4d5158")


def test_fragments_are_one_message_and_control_frames_come_between() -> None:
    said = frame(0x01, "κό".encode()[:3]) + frame(0x89, b"p") + frame(0x00, "κό".encode()[3:])
    assert read(said + frame(0x80, b"!") + text(b"next")) == [WebSocketPing(b"p"), "κό!", "next"]


def test_control_frames_are_reported() -> None:
    said = frame(0x89, b"one") + frame(0x8A, b"two") + frame(0x88, b"\x03\xe8")
    assert read(said + text(b"nobody hears it")) == [WebSocketPing(b"one"), PongFrame(b"two"), Closed()]


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        (frame(0xC1, b"x"), 1002),
        (frame(0x82, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0x8B), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x01, b"x") + text(b"y"), 1002),
        (frame(0x09, b"x"), 1002),
        (frame(0x89, b"x" * 126), 1002),
        (masked(websocket.TEXT, b"x", MASK), 1002),
        (masked(websocket.TEXT, b"x" * 200, MASK), 1002),
        (b"\x81\x7e\x00\x01x", 1002),
        (b"\x81\x7f" + (0xFFFF).to_bytes(8, "big"), 1002),
        (text(b"\xff"), 1007),
        (frame(0x01, b"\xc3") + frame(0x80), 1007),
        (text(b"x" * (LIMIT + 1)), 1009),
        (text(b"x" * (LIMIT + 1))[:10], 1009),
        (frame(0x01, b"x" * LIMIT) + frame(0x80, b"y"), 1009),
        (frame(0x01) + frame(0x00) * FRAMES_BETWEEN_MAX, 1008),
    ],
)
def test_a_breach_ends_it(pieces: bytes, code: int) -> None:
    assert broken(pieces) == code
    assert broken(*(pieces[at : at + 1] for at in range(len(pieces)))) == code


def test_as_many_fragments_as_are_allowed_are_a_message() -> None:
    assert read(frame(0x01) + frame(0x00) * (FRAMES_BETWEEN_MAX - 1) + frame(0x80, b"!")) == ["!"]


def test_a_large_message_may_come_in_as_many_fragments_as_its_size_allows() -> None:
    half = b"x" * (FRAGMENT_BYTES // 2)
    whole = frame(0x01) + frame(0x00, half * 2) * 10_000 + frame(0x80)
    assert [len(str(said)) for said in read(whole, limit=10**6)] == [10_000 * FRAGMENT_BYTES]
    assert broken(frame(0x01) + frame(0x00, half) * 10_000, limit=10**6) == 1008


def test_the_limit_is_each_messages_own() -> None:
    once = frame(0x01, b"x" * (LIMIT - 1)) + frame(0x80, b"y")
    assert [len(str(said)) for said in read(once + once)] == [LIMIT, LIMIT]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Draw what a server may send, and where it is cut."""
    heads = st.sampled_from([0x81, 0x81, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0x82, 0xC1])
    payloads = st.one_of(st.text(max_size=140).map(str.encode), st.binary(max_size=140))
    stream = b"".join(frame(draw(heads), draw(payloads)) for _ in range(draw(st.integers(1, 6))))
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=12))
    return stream, sorted(cuts)


@given(streams())
def test_where_it_is_cut_makes_no_difference(drawn: tuple[bytes, list[int]]) -> None:
    stream, cuts = drawn
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:stop] for start, stop in pairwise(edges)]
    assert read(*pieces) == read(stream)


@given(st.text(max_size=300), st.binary(min_size=4, max_size=4))
def test_the_servers_end_reads_what_the_clients_end_writes(said: str, mask: bytes) -> None:
    sent = masked(websocket.TEXT, said.encode(), mask) + masked_close(1000, mask)
    message, close = Parser(10_000).feed(sent)
    assert message == Message(said.encode(), text=True)
    assert close == websocket.CloseReceived(1000, "")
