"""Options and templates mean to the Python load generator what they mean to the one in C."""

from __future__ import annotations

import pytest

from bench.load.generator import Load
from bench.load.soft_words import FIRST_SEQUENCE, Templates, parser
from bench.peers import PEERS


def test_templates_are_filled_in() -> None:
    templates = Templates(10, 300, [b"zero", b"one"])
    assert templates.of_phone("%d %m %k %%", 13) == b"13 00003 one %"
    assert templates.of_publish(r"%m %S %T\n", 12, 99) == b"00002 %d 99\n" % (FIRST_SEQUENCE + 12)
    templates.elements = 40
    assert templates.of_publish("%m %Z", 3, 99) == b"00003 40"
    assert templates.of_phone(r"\x01\r\n\\", 0) == b"\x01\r\n\\"


def test_a_message_has_its_size_and_ends_in_its_time() -> None:
    templates = Templates(2, 300)
    message = templates.of_publish("%M", 3, 1_700_000_000_000_000_000)
    assert len(message) == 300
    assert message.startswith(b'{"type":"message.created","topic":"t00001","pad":"')
    assert message.endswith(b'"seq":1000000003,"t":1700000000000000000}')
    assert templates.of_publish("PUB %L %M", 3, 7).startswith(b"PUB 300 {")


def test_the_options_of_a_load_are_all_known() -> None:
    load = Load(1, "/", 10, ("--send", "a", "--sendb", "b"), per_s=2, stalled=3, pid=4, tls=True)
    options = parser().parse_args(load.arguments())
    assert (options.phones, options.pub_rate, options.slow, options.pid, options.tls) == (10, 2, 3, 4, True)
    assert options.sends == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("name", sorted(PEERS))
def test_the_options_of_every_peer_are_all_known(name: str) -> None:
    peer = PEERS[name]
    load = Load(1, peer.path, 1, (*peer.subscribe, *peer.publish, "--stamp", peer.stamp), window=16)
    options = parser().parse_args(load.arguments())
    assert options.pub
    assert options.sends
