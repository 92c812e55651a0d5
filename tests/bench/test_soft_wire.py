"""The Python load generator's frames are those that the gateway's own parser reads, however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.load.soft_wire import ACCEPT, KEY, Frames, handshake, masked
from gateway.protocol import websocket

TEXTS = st.text(max_size=70_000).map(str.encode)


@given(TEXTS)
def test_the_gateway_reads_what_a_phone_writes(payload: bytes) -> None:
    parser = websocket.Parser(1 << 20)
    assert list(parser.feed(masked(1, payload))) == [websocket.Message(payload, text=True)]


@given(st.lists(st.binary(max_size=700), max_size=8), st.lists(st.integers(0, 6_000), max_size=20))
def test_a_phone_reads_what_the_gateway_writes_however_it_is_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(websocket.frame(websocket.TEXT, payload) for payload in payloads)
    frames, found, at = Frames(), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        found += list(frames.feed(data[at:cut]))
        at = cut
    assert found == [(1, payload) for payload in payloads]


def test_fragments_are_joined_and_control_frames_may_stand_between() -> None:
    data = b"\x01\x02he" + b"\x89\x01?" + b"\x00\x02ll" + b"\x80\x01o" + b"\x81\x01!"
    assert list(Frames().feed(data)) == [(9, b"?"), (1, b"hello"), (1, b"!")]


def test_the_handshake_asks_for_the_subprotocol() -> None:
    asked = handshake("127.0.0.1:1", "/v1/realtime", "oscc.v1.json", [b"X: y"])
    assert asked.startswith(b"GET /v1/realtime HTTP/1.1\r\n")
    assert asked.endswith(b"Sec-WebSocket-Protocol: oscc.v1.json\r\nX: y\r\n\r\n")
    assert KEY.encode() in asked
    assert ACCEPT == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
