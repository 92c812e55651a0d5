"""Packets to mosquitto are well-formed MQTT 3.1.1."""

import re
from itertools import pairwise

import pytest

from bench.peers import mosquitto


def _packet(template: str) -> bytes:
    """Write a template out, as the load generator does."""
    filled = template.replace("%m", "00007").replace("%M", "x" * mosquitto.MESSAGE_BYTES)
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), filled.encode())


def _body(packet: bytes) -> bytes:
    """Return what follows the length, and prove that the length is right."""
    length = shift = 0
    for place, digit in enumerate(packet[1:], 2):
        length |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            assert len(packet[place:]) == length
            return packet[place:]
    pytest.fail("the length does not end")


@pytest.mark.parametrize(
    ("length", "digits"), [(0, r"\x00"), (127, r"\x7f"), (128, r"\x80\x01"), (16_384, r"\x80\x80\x01")]
)
def test_lengths_are_written_as_the_standard_shows(length: int, digits: str) -> None:
    assert mosquitto.remaining_length(length) == digits


def test_a_subscriber_connects_and_then_subscribes_to_its_topic() -> None:
    options = mosquitto.MOSQUITTO.subscribe
    connect, subscribe = (_packet(value) for option, value in pairwise(options) if option == "--sendb")
    assert connect[0] == 0x10
    assert _body(connect) == b"\x00\x04MQTT\x04\x02\x00\x00\x00\x00"
    assert subscribe[0] == 0x82
    assert _body(subscribe) == b"\x00\x01\x00\x06t00007\x00"


def test_a_message_is_published_with_its_topic_and_its_length() -> None:
    publish = _packet(mosquitto.MOSQUITTO.publish[-1])
    assert publish[0] == 0x30
    assert _body(publish) == b"\x00\x06t00007" + b"x" * mosquitto.MESSAGE_BYTES


def test_it_listens_on_the_loopback_only() -> None:
    assert "listener 9001 127.0.0.1\nprotocol websockets\n" in mosquitto.settings(9001)
