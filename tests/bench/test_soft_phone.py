"""A connection of the Python load generator counts what it gets, answers pings and knows where it stands."""

from __future__ import annotations

import asyncio
from typing import cast

from bench.load.soft_phone import Phone, Tally
from bench.load.soft_wire import ACCEPT, handshake
from bench.load.soft_words import Templates, parser
from gateway.protocol import websocket

SHAKEN = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"


class Wire:
    """Stands for a transport."""

    def __init__(self) -> None:
        self.parser = websocket.Parser(1 << 20)
        self.upgrade = b""
        self.said: list[object] = []
        self.is_cut = False

    def write(self, data: bytes) -> None:
        if not self.upgrade:
            self.upgrade = data
        else:
            self.said += list(self.parser.feed(data))

    def abort(self) -> None:
        self.is_cut = True


def connect(*options: str) -> tuple[Phone, Wire, Tally]:
    """Return a phone whose connection is there."""
    words = ("--url", "127.0.0.1:1/", "-n", "1", "--stamp", ",T:", *options)
    tally = Tally(parser().parse_args(words), Templates(1, 300, [b"hello"]))
    phone, wire = Phone(0, handshake("127.0.0.1:1", "/", None, []), tally), Wire()
    phone.connection_made(cast("asyncio.Transport", wire))
    return phone, wire, tally


def tell(phone: Phone, *texts: str) -> None:
    """Let a phone hear messages."""
    phone.data_received(b"".join(websocket.frame(websocket.TEXT, text.encode()) for text in texts))


def test_it_says_hello_once_hands_are_shaken() -> None:
    phone, wire, tally = connect("--send", "%k")
    phone.data_received(SHAKEN[:20])
    assert tally.opened == 0
    phone.data_received(SHAKEN[20:])
    assert wire.said == [websocket.Message(b"hello", text=True)]
    assert tally.opened == 1
    assert tally.all_settled.is_set()


def test_a_refusal_is_a_failure() -> None:
    phone, wire, tally = connect()
    phone.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert wire.is_cut
    phone.connection_lost(None)
    assert (tally.opened, tally.failed) == (0, 1)
    assert tally.all_settled.is_set()


def test_each_stamp_is_a_delivery_and_only_while_measured() -> None:
    phone, _, tally = connect()
    phone.data_received(SHAKEN)
    two = '{"patch":{"a":"S:1,T:1700000000000000000,x","b":"S:2,T:1700000000000000001,x"}}'
    tell(phone, two)
    tally.measuring = True
    tell(phone, two, '{"patch":{}}')
    assert (tally.delivered_all, tally.delivered, len(tally.delays_ns)) == (4, 2, 2)
    assert tally.delays_ns[0] - tally.delays_ns[1] == 1


def test_it_is_ready_with_the_last_part_and_counts_until_then() -> None:
    phone, _, tally = connect("--ready", '"kind":"changes"', "--count", '"reset":true')
    phone.data_received(SHAKEN)
    tell(phone, '{"kind":"welcome"}', '{"kind":"changes","reset":true,"more":true}')
    assert tally.ready_s == []
    tell(phone, '{"kind":"changes"}', '{"kind":"changes","reset":true}')
    assert phone.is_ready
    assert tally.all_ready.is_set()
    assert (tally.counts, len(tally.ready_s)) == ([1], 1)


def test_it_keeps_its_position() -> None:
    phone, _, _ = connect("--save", "positions")
    phone.data_received(SHAKEN)
    tell(phone, '{"kind":"changes","stream":"12.ab","upto":41}', '{"kind":"changes","after":41,"upto":57}')
    assert (phone.stream, phone.upto) == ("12.ab", 57)


def test_it_answers_pings_of_the_gateway_and_of_the_wire() -> None:
    phone, wire, tally = connect("--pong", "--reply-ping")
    phone.data_received(SHAKEN)
    tell(phone, '{"kind":"ping","nonce":"n1"}')
    phone.data_received(websocket.frame(websocket.PING, b"?"))
    assert wire.said == [
        websocket.Message(b'{"kind":"pong","nonce":"n1"}', text=True),
        websocket.PongFrame(b"?"),
    ]
    assert tally.pongs == 1


def test_an_end_is_counted_with_its_code() -> None:
    phone, wire, tally = connect()
    phone.data_received(SHAKEN)
    phone.data_received(websocket.close(4108, "slow"))
    assert wire.is_cut
    phone.connection_lost(None)
    assert (tally.opened, tally.closed, tally.closes["4108"]) == (0, 1, 1)
