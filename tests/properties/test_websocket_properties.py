"""The WebSocket reader: independent of how bytes are cut, and safe with any bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.websocket import (
    CloseReceived,
    Message,
    Parser,
    PongFrame,
    Violation,
    WebSocketEvent,
    WebSocketPing,
    unmask,
)
from tests.protocol.framing import closing, framed

LIMIT = 400

masks = st.binary(min_size=4, max_size=4)
bodies = st.one_of(
    st.builds(lambda said: (True, said.encode()), st.text(max_size=80)),
    st.builds(lambda data: (False, data), st.binary(max_size=300)),
)
controls = st.tuples(st.sampled_from([9, 10]), st.binary(max_size=125))


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[WebSocketEvent], bytes]:
    """Draw a message in fragments with control frames between them, and what is to be read."""
    is_text, data = draw(bodies)
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=4))), len(data)]
    events: list[WebSocketEvent] = []
    stream = b""
    for number, (start, end) in enumerate(pairwise(cuts)):
        if number and (control := draw(st.none() | controls)) is not None:
            opcode, payload = control
            events.append(WebSocketPing(payload) if opcode == 9 else PongFrame(payload))
            stream += framed(opcode, payload, mask=draw(masks))
        opcode = 0 if number else 2 - is_text
        stream += framed(opcode, data[start:end], fin=number == len(cuts) - 2, mask=draw(masks))
    return [*events, Message(data, is_text)], stream


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[WebSocketEvent], bytes]:
    """Draw all that a lawful client says, and what is to be read."""
    said = draw(st.lists(messages(), max_size=4))
    events = [event for part, _ in said for event in part]
    stream = b"".join(data for _, data in said)
    if draw(st.booleans()):
        return [*events, CloseReceived(3000, "é")], stream + closing(3000, "é".encode()) + b"ignored"
    return events, stream


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut *data* at places that are taken round and round."""
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(at)]


def read(pieces: list[bytes]) -> list[WebSocketEvent]:
    parser = Parser(LIMIT)
    events: list[WebSocketEvent] = []
    for piece in pieces:
        events += parser.feed(piece)
        assert parser.waiting_bytes < LIMIT + 14
    return events


places = st.lists(st.integers(0, 10_000), max_size=30)


@given(streams(), places)
def test_what_is_said_is_read_however_it_is_cut(
    said: tuple[list[WebSocketEvent], bytes], places: list[int]
) -> None:
    events, stream = said
    assert read([stream]) == events
    assert read(cut(stream, places)) == events
    assert read([stream[at : at + 1] for at in range(len(stream))]) == events


@given(
    st.lists(
        st.binary(max_size=40)
        | messages().map(lambda said: said[1])
        | st.sampled_from([None, 1000, 1004]).map(closing),
        max_size=5,
    ).map(b"".join),
    places,
)
def test_whatever_comes_is_read_the_same_and_ends_once(data: bytes, places: list[int]) -> None:
    events = read([data])
    assert read(cut(data, places)) == events
    assert not any(isinstance(event, CloseReceived | Violation) for event in events[:-1])
    for event in events:
        assert not isinstance(event, Message) or len(event.data) <= LIMIT


@given(st.binary(max_size=600), masks)
def test_a_mask_comes_off_byte_by_byte(payload: bytes, mask: bytes) -> None:
    assert unmask(payload, mask) == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
