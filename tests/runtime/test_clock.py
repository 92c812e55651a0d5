"""Does the system clock show the machine's time?"""

from __future__ import annotations

import time

from gateway.runtime.clock import SystemClock


def test_now_is_monotonic_seconds() -> None:
    before = time.monotonic()  # noqa: TID251 - what the adapter is held against
    shown = SystemClock().now()
    assert before <= shown <= time.monotonic()  # noqa: TID251 - what the adapter is held against


def test_wall_is_whole_milliseconds_since_1970() -> None:
    before = time.time_ns()  # noqa: TID251 - what the adapter is held against
    shown = SystemClock().wall_ms()
    after = time.time_ns()  # noqa: TID251 - what the adapter is held against
    assert before // 1_000_000 <= shown <= after // 1_000_000
