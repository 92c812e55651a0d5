"""Frames leave the simulator whole and in order, under every fault."""

from __future__ import annotations

import asyncio

import pytest

from gateway.simulator.faults import SocketOutlet
from gateway.simulator.settings import ManualClock


class Transport(asyncio.Transport):
    """Remembers what was written; *stuck* bytes stay in its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.stuck = 0
        self.cut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def is_closing(self) -> bool:
        return self.cut

    def abort(self) -> None:
        self.cut = True


class Ends:
    """Both ends of one outlet."""

    def __init__(self) -> None:
        self.clock, self.transport, self.codes = ManualClock(0), Transport(), list[int]()
        self.outlet = SocketOutlet(self.transport, self.clock, 100, self.codes.append)

    def later(self, seconds: float) -> list[bytes]:
        """Let time pass and return all that was written."""
        self.clock.step(round(seconds * 1000))
        self.outlet.turn()
        return self.transport.written


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_frames_leave_at_once(ends: Ends) -> None:
    ends.outlet.send(b"a")
    assert ends.transport.written == [b"a"]


def test_a_delay_keeps_the_order_also_when_it_is_taken_back(ends: Ends) -> None:
    ends.outlet.delay_s = 2
    ends.outlet.send(b"a")
    ends.outlet.delay_s = 0
    ends.outlet.send(b"b")
    assert ends.later(1) == []
    assert ends.outlet.waiting
    assert ends.later(1) == [b"a", b"b"]


def test_a_frozen_line_thaws(ends: Ends) -> None:
    ends.outlet.frozen_until_s = 3
    ends.outlet.send(b"a")
    ends.outlet.close(4409)
    assert (ends.later(2), ends.codes) == ([], [])
    assert (ends.later(1), ends.codes) == ([b"a"], [4409])


def test_nothing_follows_a_good_bye(ends: Ends) -> None:
    ends.outlet.close(1000)
    ends.outlet.close(1000)
    ends.outlet.send(b"a")
    assert (ends.codes, ends.transport.written) == ([1000], [])


def test_who_lets_too_much_wait_is_cut(ends: Ends) -> None:
    ends.transport.stuck = 101
    ends.outlet.send(b"a")
    assert ends.transport.cut
    assert ends.outlet.cut_slow
    ends.outlet.send(b"b")
    assert ends.transport.written == [b"a"]


def test_what_is_held_is_bounded_too(ends: Ends) -> None:
    ends.outlet.frozen_until_s = 9
    ends.outlet.send(b"x" * 101)
    assert ends.transport.cut
    assert not ends.outlet.waiting


def test_a_line_that_is_closing_takes_nothing(ends: Ends) -> None:
    ends.transport.cut = True
    ends.outlet.send(b"a")
    assert ends.transport.written == []
