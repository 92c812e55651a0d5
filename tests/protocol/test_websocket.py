"""WebSocket frames are read by RFC 6455, and every breach is found.

The tables follow the cases of the Autobahn test suite; its numbers stand beside them.
"""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import websocket
from gateway.protocol.websocket import (
    Message,
    Parser,
    Violation,
    WebSocketEvent,
    WebSocketPing,
)
from tests.fuzz.second_reader import second_reading
from tests.protocol.framing import Received, closing, framed, received, received_all, text

LIMIT = 70_000
KAPPA = "κόσμε".encode()


def read(*pieces: bytes, limit: int = LIMIT) -> list[WebSocketEvent]:
    """Return what one who gets these pieces makes of them."""
    parser = Parser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


def broken(*pieces: bytes, limit: int = LIMIT) -> int:
    """Return the code that these pieces are closed with, as the last event of all."""
    *_, last = events = read(*pieces, limit=limit)
    assert isinstance(last, Violation)
    assert sum(isinstance(event, Violation) for event in events) == 1
    return last.code


# ---- messages (1.x, 5.x) ----


def test_the_examples_of_the_rfc() -> None:
    hello = bytes.fromhex("818537fa213d7f9f4d5158")
    assert read(hello) == [Message(b"Hello", text=True)]
    assert read(bytes.fromhex("898537fa213d7f9f4d5158")) == [WebSocketPing(b"Hello")]
    assert websocket.frame(1, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert hello == text("Hello")


# ---- frames (2.x, 3.x, 4.x) ----


CONTROL = (8, 9, 10)
BREACHES = {
    "a reserved opcode": [framed(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    "reserved bits": [framed(opcode, rsv=rsv) for opcode in (0, 1, 2, *CONTROL) for rsv in range(1, 8)],
    "no mask": [websocket.frame(opcode, b"") for opcode in (1, 2, *CONTROL)],
    "a control frame that is not whole": [framed(opcode, fin=False) for opcode in CONTROL],  # 5.1, 5.2
    "a long control frame": [framed(opcode, b"x" * 126) for opcode in CONTROL],  # 2.5, 7.3.6
    "the head of a long control frame": [bytes((0x80 | opcode, 0xFE)) for opcode in CONTROL],
    "fragments out of place": [
        framed(0, b"x"),  # 5.9
        framed(0, b"x", fin=False),  # 5.12
        text("whole") + framed(0, b"x"),  # 5.13
        framed(1, b"x", fin=False) + text("y"),  # 5.18
        framed(1, b"x", fin=False) + framed(2, b"y"),
        framed(2, b"x", fin=False) + framed(2, b"y", fin=False),
    ],
    "a length that could be shorter, or has more than 63 bits": [
        b"\x82\xfe" + struct.pack("!H", 125),
        b"\x82\xfe" + struct.pack("!H", 0),
        b"\x82\xff" + struct.pack("!Q", 65_535),
        b"\x82\xff" + struct.pack("!Q", 0),
        b"\x82\xff" + struct.pack("!Q", 1 << 63),
        b"\x82" + b"\xff" * 9,
    ],
    "half a code": [framed(8, b"\x03")],
    "a code that none may have": [
        closing(code) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    ],
}


@pytest.mark.parametrize("name", BREACHES)
def test_what_no_client_may_send_is_a_breach(name: str) -> None:
    assert {broken(stream) for stream in BREACHES[name]} == {1002}


# ---- size ----


@pytest.mark.parametrize("length", [b"\xfe\x04\x01", b"\xff" + struct.pack("!Q", (1 << 63) - 1)])
def test_a_message_too_big_is_refused_by_its_head(length: bytes) -> None:
    assert broken(b"\x81" + length, limit=1024) == 1009


def test_fragments_too_big_together_are_refused() -> None:
    first = framed(2, b"x" * 1000, fin=False)
    assert read(first, framed(0, b"x" * 24), limit=1024) == [Message(b"x" * 1024, text=False)]
    assert broken(first, framed(0, b"x" * 25)[:2], limit=1024) == 1009


def test_frames_without_end_are_refused() -> None:
    most = websocket.FRAMES_BETWEEN_MAX
    assert broken(framed(9) * (most + 1)) == 1008
    assert broken(framed(1, fin=False) + framed(0, fin=False) * most) == 1008
    whole = framed(9) * (most - 1) + text("a")
    assert len(read(whole * 2)) == 2 * most


# ---- text (6.x) ----

INVALID = [
    KAPPA + b"\xed\xa0\x80edited", b"\xf4\x90\x80\x80", b"\xce", KAPPA[:-1], b"\x80", b"\xbf", b"\xfe",
    b"\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x88\x80\x80\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
]  # fmt: skip


FAILED = Violation(1007, "the text is not UTF-8")


@pytest.mark.parametrize(("bad", "wrong_at"), [(b"\xf4\x90\x80\x80", 1), (b"\xff", 0), (b"\xed\xa0\x80", 2)])
def test_text_fails_at_its_first_wrong_byte_or_at_the_end_of_a_surrogate(bad: bytes, wrong_at: int) -> None:
    said = KAPPA + bad + b"edited"
    most = len(KAPPA) + wrong_at
    frame = text(said)
    head = len(frame) - len(said)
    parser = Parser(LIMIT)  # 6.4.3, 6.4.4: within a frame
    assert [event for at in range(head + most) for event in parser.feed(frame[at : at + 1])] == []
    assert list(parser.feed(frame[head + most : head + most + 1])) == [FAILED]
    parser = Parser(LIMIT)  # 6.4.1, 6.4.2: between fragments
    assert list(parser.feed(framed(1, said[:most], fin=False) + framed(9))) == [WebSocketPing(b"")]
    assert list(parser.feed(framed(0, said[most:], fin=False))) == [FAILED]
    assert parser.is_over


# ---- closes (7.x) ----


@pytest.mark.parametrize("reason", INVALID)
def test_a_reason_that_is_no_utf8_is_a_breach(reason: bytes) -> None:
    assert broken(closing(1000, reason)) == 1007


# ---- compressed messages (RFC 7692) ----

HELLO = bytes.fromhex("f248cdc9c90700")
"""§7.2.3.1: "Hello"."""


def packed(payload: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def agreed(*pieces: bytes, limit: int = LIMIT) -> list[WebSocketEvent]:
    """Return what is read where compression was agreed on."""
    parser = Parser(limit, deflate=True)
    return [event for piece in pieces for event in parser.feed(piece)]


def test_compressed_messages_are_read_among_others() -> None:
    cut = framed(1, HELLO[:3], fin=False, rsv=4) + framed(9, b"1") + framed(0, HELLO[3:])
    last_block = bytes.fromhex("f348cdc9c9070000")  # §7.2.3.4
    stream = framed(1, HELLO, rsv=4) + text("plain") + cut + framed(2, last_block, rsv=4)
    hello = Message(b"Hello", text=True)
    events = [hello, Message(b"plain", text=True), WebSocketPing(b"1"), hello, Message(b"Hello", text=False)]
    assert agreed(stream) == agreed(*(bytes((byte,)) for byte in stream)) == events
    assert agreed(framed(1, packed(b""), rsv=4)) == [Message(b"", text=True)]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (framed(1, HELLO, rsv=2), 1002),
        (framed(1, HELLO, rsv=6), 1002),
        (framed(9, HELLO, rsv=4), 1002),
        (framed(1, HELLO[:3], fin=False, rsv=4) + framed(0, HELLO[3:], rsv=4), 1002),
        (framed(1, b"\xff" * 9, rsv=4), 1002),
        (framed(1, bytes.fromhex("f348cdc9c90700") + b"more", rsv=4), 1002),
        (framed(1, packed(b"\xff"), rsv=4), 1007),
        (framed(2, packed(b"\0" * 10_000_000), rsv=4), 1009),
        (framed(2, packed(b"\0" * (LIMIT + 1)), rsv=4), 1009),
    ],
)
def test_what_is_not_compressed_as_agreed_or_becomes_too_big_is_a_breach(stream: bytes, code: int) -> None:
    *_, last = agreed(stream)
    assert isinstance(last, Violation)
    assert last.code == code


def test_no_more_is_unpacked_than_a_message_may_have() -> None:
    bomb = packed(b"\0" * 10_000_000)
    tracemalloc.start()
    try:
        (event,) = agreed(framed(2, bomb, rsv=4))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(event, Violation)
    assert most < 10 * LIMIT


@given(
    messages=st.lists(
        st.tuples(st.text(max_size=40), st.integers(0, 9), st.booleans()), min_size=1, max_size=4
    ),
    changes=st.lists(st.tuples(st.integers(min_value=0), st.integers(1, 255)), max_size=2),
)
def test_others_read_the_same_in_compressed_messages(
    messages: list[tuple[str, int, bool]], changes: list[tuple[int, int]]
) -> None:
    stream = b""
    for said, level, is_compressed in messages:
        data = bytearray(packed(said.encode(), level) if is_compressed else said.encode())
        for at, bits in changes if data else ():
            data[at % len(data)] ^= bits
        stream += framed(1, bytes(data), rsv=4 * is_compressed)
    ours = agreed(stream)
    if not any(isinstance(event, Violation) for event in ours):
        theirs = second_reading(stream, deflate=True)
        assert [("Message", *event) for event in ours] == theirs.events
        assert theirs.failed is None


@pytest.mark.parametrize("size", [0, 1, 65_536, 300_000])
def test_what_is_compressed_is_one_frame(size: int) -> None:
    payload = b"abc" * (size // 3)
    assert received_all(websocket.deflated(websocket.TEXT, payload)) == [(Received(1, payload), True)]


@pytest.mark.parametrize(
    ("offers", "is_accepted"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; client_max_window_bits", True),
        ('permessage-deflate;client_max_window_bits="10";server_no_context_takeover', True),
        ("x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover", True),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=10", False),
        ("permessage-deflate; client_max_window_bits=16", False),
        ("permessage-deflate; client_no_context_takeover=1", False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", False),
        ('permessage-deflate; x="1, 2"', False),
        ("x-webkit-deflate-frame", False),
        ("; ,=", False),
        ("", False),
    ],
)
def test_an_offer_is_accepted_whose_every_word_is_known(offers: str, *, is_accepted: bool) -> None:
    assert websocket.accepts_deflate(offers) is is_accepted


# ---- writing ----


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_what_is_written_is_one_frame(size: int) -> None:
    payload = b"x" * size
    data = websocket.frame(websocket.BINARY, payload)
    assert received(data) == [Received(2, payload)]
    assert data == websocket.head(2, size) + payload


def test_a_close_is_written_with_its_code_and_reason() -> None:
    assert received(websocket.close(4000, "κ")) == [Received(8, b"\x0f\xa0" + "κ".encode())]
    assert received(websocket.close(1000)) == [Received(8, b"\x03\xe8")]
    assert received(websocket.close(1005)) == [Received(8, b"")]


@pytest.mark.parametrize("reason", ["x" * 200, "κ" * 62, "x" + "κ" * 61, "\ud800" * 124])
def test_a_reason_is_cut_to_what_a_control_frame_holds(reason: str) -> None:
    ((_, payload),) = received(websocket.close(4000, reason))
    assert len(payload) in {124, 125}
    assert reason.encode("utf-8", "replace").startswith(payload[2:])
    payload[2:].decode()
