"""Each peer offers what the benchmark needs to start and address it."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from bench.peer import Peer
from bench.peers import PEERS, installing, nats

EVERYONE = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS.keys())
SERVERS = {
    "floor": "floor",
    "uWebSockets": "uwebsockets.py",
    "centrifuge": "centrifuge",
    "socket.io": "node/socketio.js",
    "ws": "node/ws.js",
    "websockets": "python_websockets.py",
    "aiohttp": "plain_aiohttp.py",
}
"""Peer → the end of the path of the program that its command starts."""


def _values(options: tuple[str, ...], *names: str) -> str:
    return " ".join(value for name, value in pairwise(options) if name in names)


@EVERYONE
def test_a_subscriber_names_its_topic(peer: Peer) -> None:
    assert "t%m" in _values(peer.subscribe, "--send", "--sendb")


@EVERYONE
def test_the_publisher_publishes_the_message_into_a_topic(peer: Peer) -> None:
    published = _values(peer.publish, "--pub")
    assert "t%m" in published
    assert published.count("%M") == 1


@EVERYONE
def test_it_is_found_by_its_name(peer: Peer) -> None:
    assert PEERS[peer.name] is peer
    assert peer.path.startswith("/")


@pytest.mark.parametrize(("name", "program"), SERVERS.items())
def test_its_own_server_is_started_on_the_given_port(name: str, program: str, tmp_path: Path) -> None:
    command = PEERS[name].command(tmp_path, 9001)
    assert command[-1] == "9001"
    assert any(word.endswith(f"/{program}") for word in command)


def test_nats_speaks_websocket_on_the_loopback_in_clear_text() -> None:
    written = nats.settings(9001)
    assert 'listen: "127.0.0.1:9001"' in written
    assert "no_tls: true" in written
    assert "compression: false" in written


def test_the_node_peers_are_locked_by_hash_and_to_no_host() -> None:
    lock = json.loads((installing.SERVERS / "node/package-lock.json").read_text("utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/ws", "node_modules/socket.io"} <= packages.keys()
    assert [name for name, entry in packages.items() if "resolved" in entry or "integrity" not in entry] == []
