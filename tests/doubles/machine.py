"""How long programs of this machine waited for a core: bounds of scenarios are extended by it."""

from __future__ import annotations

import re
from pathlib import Path

PRESSURE = Path("/proc/pressure/cpu")
"""Written by Linux since 4.20 where pressure stall information is on."""


def waited_s(pressure: Path = PRESSURE) -> float:
    """Return for how many seconds since the start some program was ready to run and had no core.

    0 on a machine that does not say so: there the bounds are those of an idle machine.
    """
    try:
        found = re.search(r"^some .*\btotal=(\d+)", pressure.read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1e6 if found else 0.0
