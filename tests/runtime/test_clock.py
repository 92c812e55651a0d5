"""Does the system clock show the machine's time?"""

from __future__ import annotations

import time

import pytest

from gateway.app.process import SystemClock


def test_now_is_monotonic_seconds() -> None:
    before = time.monotonic()  # noqa: TID251 - what the adapter is held against
    shown = SystemClock().now()
    assert before <= shown <= time.monotonic()  # noqa: TID251 - what the adapter is held against


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no such clock")
def test_time_goes_on_while_the_machine_is_suspended() -> None:
    """No test can suspend its machine: which clock is read decides it."""
    assert vars(SystemClock)["now"].__func__.args == (time.CLOCK_BOOTTIME,)


def test_wall_is_whole_milliseconds_since_1970() -> None:
    before = time.time_ns()  # noqa: TID251 - what the adapter is held against
    shown = SystemClock().wall_ms()
    after = time.time_ns()  # noqa: TID251 - what the adapter is held against
    assert before // 1_000_000 <= shown <= after // 1_000_000
