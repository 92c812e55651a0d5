"""How long programs of this machine waited for a core: bounds of scenarios are extended by it."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.runtime.event_loop import SystemClock

_CLOCK = SystemClock()
PRESSURE = Path("/proc/pressure/cpu")
"""Written by Linux since 4.20 with pressure stall information."""


def waited_s(pressure: Path = PRESSURE) -> float:
    """Return the seconds since the start in which a program was ready to run and had no core.

    0 on a machine without this figure: there the bounds are those of an idle machine.
    """
    try:
        found = re.search(r"^some .*\btotal=(\d+)", pressure.read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1e6 if found else 0.0


class Watch:
    """Measures time in which no program of the machine waited for a core."""

    def __init__(self) -> None:
        self._began_s, self._waited_s = _CLOCK.now(), waited_s()

    def run_s(self) -> float:
        """Return how much of it has passed."""
        return _CLOCK.now() - self._began_s - (waited_s() - self._waited_s)
