"""What waits for stalled phones is read from the kernel's own account."""

from __future__ import annotations

from bench.sockets import Sockets, queued_bytes

TOLD = (
    "0 0 127.0.0.1:1 127.0.0.2:2\n\t skmem:(r0,rb131072,t0,tb2626560,f0,w0,o0,bl0,d0)\n"
    "0 900 127.0.0.1:1 127.0.0.2:3\n\t skmem:(r0,rb131072,t0,tb2626560,f2304,w18000,o0,bl0,d0)\n"
    "0 700 127.0.0.1:1 127.0.0.2:4\n\t skmem:(r0,rb131072,t0,tb2626560,f0,w6000,o0,bl0,d0)\n"
)


def test_each_socket_has_what_waits_in_it() -> None:
    assert queued_bytes(TOLD) == [0, 18_000, 6_000]


def test_the_fullest_sockets_are_those_of_the_stalled() -> None:
    sockets = Sockets(1, stalled=2)
    sockets.take(TOLD)
    sockets.take("")
    assert sockets.figures() == {"stalled_kernel_kb": 12.0}


def test_what_was_not_seen_is_no_figure() -> None:
    assert Sockets(1, stalled=2).figures() == {}
