"""Cost of phones that stop reading, and its effect on the others.

The same work with and without stalled phones beside those that read. The kernel's figure is the memory of the
server's sockets of stalled connections; the process's figure is the growth of its memory.
"""

from __future__ import annotations

from bench.case import DEFAULT_PACE, Case, Scale, thousands
from bench.work import Work

READERS, STALLED = 1_000, 500
RATE = 20_000
WITHOUT, WITH = "none stalled", f"{STALLED} more stalled"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    readers = 200 if scale.is_quick else READERS
    found: list[Case] = []
    for name, stalled in ((WITHOUT, 0), (WITH, STALLED)):
        work = Work(
            readers + stalled,
            per_s=RATE / readers,
            stalled=stalled,
            # the gateway disconnects a phone that reads nothing for 10 s
            duration_s=min(scale.duration_s, 6.0),
            warmup_s=1.0,
        )
        found.append(Case(f"{thousands(readers)} phones, {thousands(RATE)}/s, {name}", work, DEFAULT_PACE))
    return found
