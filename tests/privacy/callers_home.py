"""Connections that a node makes: ``unshare --net python -m tests.privacy.callers_home``.

In that network everything that leaves goes to a loopback that is the way to the whole world, where it is
written down. Prints whom somebody wanted to reach beyond those that are named in the node's configuration,
one a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.privacy.house import house, live

PLANTED = """
import socket, sys, threading
def call_home():
    with socket.socket(type=socket.SOCK_DGRAM) as asks:
        asks.sendto(b"vendor.example?", ("203.0.113.9", 53))
    with socket.socket() as made:
        made.settimeout(1)
        try:
            made.connect(("203.0.113.9", 443))
        except OSError:
            pass
if "serve" in sys.orig_argv:
    threading.Thread(target=call_home, daemon=True).start()
"""
CALLED = {"tcp 203.0.113.9 443", "udp 203.0.113.9 53"}
"""Whom a node calls in which that is planted."""
_EVERYTHING, _HEAD_BYTES, _BUFFER_BYTES = 3, 128, 32 * 2**20
_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6
LIVES_S = 3.0
_TCP, _UDP = 6, 17
_SYN, _ACK = 0x02, 0x10


class Call(NamedTuple):
    """A connection that was begun, or a datagram."""

    kind: str
    address: str
    port: int


def call_in(frame: bytes) -> Call | None:
    """Return what an Ethernet frame begins, if anything."""
    kind, packet = frame[12:14], frame[14:]
    if kind == b"\x08\x00" and len(packet) >= 20:
        head, protocol, to = (packet[0] & 15) * 4, packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20])
    elif kind == b"\x86\xdd" and len(packet) >= 40:
        head, protocol, to = 40, packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40])
    else:
        return None
    body = packet[head:]
    if protocol == _UDP and len(body) >= 8:
        return Call("udp", to, struct.unpack("!H", body[2:4])[0])
    if protocol == _TCP and len(body) >= 14 and body[13] & (_SYN | _ACK) == _SYN:
        return Call("tcp", to, struct.unpack("!H", body[2:4])[0])
    return None


def strangers(calls: Iterable[Call], known: Iterable[int]) -> list[str]:
    """Return whom *calls* were meant for, but for the ports of this machine that are *known*."""
    ours = set(known)
    return sorted(
        {f"{c.kind} {c.address} {c.port}" for c in calls if c.address != "127.0.0.1" or c.port not in ours}
    )


def build_world() -> None:
    """Make the loopback the way to everywhere, so that whatever leaves is seen."""
    for words in ("link set lo up", "addr add 10.99.0.1/32 dev lo", "route add default dev lo src 10.99.0.1"):
        subprocess.run(["ip", *words.split()], check=True, timeout=10)


class Ear:
    """Hears everything that goes over any interface of this network."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
        self._raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._raw.setblocking(False)

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                call = call_in(self._raw.recv(_HEAD_BYTES))
                if call is not None:
                    self.calls.append(call)

    def missed(self) -> int:
        received = self._raw.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        return int(struct.unpack("II", received)[1])

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._raw, self.hear)
        try:
            yield
        finally:
            loop.remove_reader(self._raw)
            self.hear()
            self._raw.close()


def ports_in(folder: Path) -> set[int]:
    """Return the ports that configurations name: of listeners, the Redis, and the OSCC-E Server."""
    texts = [path.read_text("utf-8") for path in folder.glob("*.toml")]
    return {int(port) for text in texts for port in re.findall(r"(?:port = |127\.0\.0\.1:)(\d+)", text)}


async def recorded(folder: Path) -> list[str]:
    """Let a cluster live from its first start to its end; returns the strangers that it talked to."""
    ear = Ear()
    with ear.open():
        async with house(folder) as (made, _):
            known = ports_in(folder) | {made.centre.control}
            await live(made, LIVES_S)
            for node in made.nodes:
                assert await node.term() == 0
        assert ear.missed() == 0, "not everything was recorded"
    assert any(call.port == made.centre.port for call in ear.calls), "nothing was recorded"
    return strangers(ear.calls, known)


def main() -> int:
    """Print the strangers that nodes in which a call home is planted talk to, one a line."""
    build_world()
    with TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(PLANTED, "utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join((folder, str(Path.cwd())))
        received = Path(folder) / "cluster"
        received.mkdir()
        sys.stdout.writelines(f"{each}\n" for each in asyncio.run(recorded(received)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
