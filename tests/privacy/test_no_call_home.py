"""A cluster connects to its sites, its Redis and its clients only.

It runs in a separate network, of which every packet is captured; it is skipped without the right to do so.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.privacy.callers_home import CALLED, Call, call_in, strangers

pytestmark = pytest.mark.timeout(200)
ROOT = Path(__file__).parents[2]
ALONE = ("unshare", "--net")


@cache
def why_not() -> str:
    """Return why no network can be made here, if so."""
    if any(shutil.which(name) is None for name in ("unshare", "ip")):
        return "unshare or ip is not there"
    tried = subprocess.run(
        [*ALONE, "ip", "link", "set", "lo", "up"], check=False, capture_output=True, timeout=10
    )
    return "" if tried.returncode == 0 else "only root may make a network namespace"


@pytest.mark.scenario
@pytest.mark.takes(20)
def test_a_call_that_is_planted_is_found_and_no_other() -> None:
    if why_not():
        if os.environ.get("REQUIRE_NETNS") == "1":
            pytest.fail(why_not())
        pytest.skip(why_not())
    command = [*ALONE, sys.executable, "-m", "tests.privacy.callers_home"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(done.stdout.splitlines()) == CALLED


def frame(protocol: int, to: str, port: int, flags: int = 0x02) -> bytes:
    body = struct.pack("!HH", 40_000, port) + bytes(9) + bytes([flags]) + bytes(6)
    if ":" in to:
        head = b"\x60" + bytes(5) + bytes([protocol, 64]) + bytes(16) + socket.inet_pton(socket.AF_INET6, to)
        return bytes(12) + b"\x86\xdd" + head + body
    head = b"\x45" + bytes(8) + bytes([protocol]) + bytes(6) + socket.inet_aton(to)
    return bytes(12) + b"\x08\x00" + head + body


@pytest.mark.parametrize(
    ("received", "call"),
    [
        (frame(6, "192.0.2.1", 443), Call("tcp", "192.0.2.1", 443)),
        (frame(6, "2001:db8::1", 443), Call("tcp", "2001:db8::1", 443)),
        (frame(17, "192.0.2.1", 53), Call("udp", "192.0.2.1", 53)),
        (frame(6, "192.0.2.1", 443, 0x12), None),
        (frame(6, "192.0.2.1", 443, 0x10), None),
        (frame(1, "192.0.2.1", 0), None),
        (b"", None),
    ],
)
def test_what_begins_is_distinguished_from_what_goes_on(received: bytes, call: Call | None) -> None:
    assert call_in(received) == call


def test_a_stranger_is_an_address_that_was_not_named() -> None:
    calls = [Call("tcp", "127.0.0.1", 80), Call("tcp", "127.0.0.1", 81), Call("udp", "192.0.2.1", 80)]
    assert strangers(calls, [80]) == ["tcp 127.0.0.1 81", "udp 192.0.2.1 80"]
