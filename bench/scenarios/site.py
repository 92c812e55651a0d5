"""The largest OSCC-E site on one core.

300 supervisors all see 1,500 agents and 100 queues. 175 of these change per second, in 5 readings of 35, on
each of 300 links: 52,500 elements per second arrive.
"""

from __future__ import annotations

from bench.case import Case, Scale, thousands
from bench.work import Work

SUPERVISORS, AGENTS, QUEUES = 300, 1_500, 100
READINGS_PER_S, ELEMENTS = 5, 35
CONNECT_PER_S = 20
"""Supervisors that connect per second, 4,800 elements each: a site's default limit."""
SETTLE_S = 12.0
"""Pause after the last phone is served: a phone that has waited 10 s is served without its missing data."""
RATE = SUPERVISORS * READINGS_PER_S * ELEMENTS


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    share = 10 if scale.is_quick else 1
    users = SUPERVISORS // share
    work = Work(
        users,
        users=users,
        per_s=READINGS_PER_S,
        size=ELEMENTS,
        queues=QUEUES,
        agents=AGENTS // share,
        duration_s=scale.duration_s,
        settle_s=SETTLE_S,
        warmup_s=3,
        connect_per_s=CONNECT_PER_S,
    )
    name = f"{users} supervisors, {thousands(work.agents)} agents, {QUEUES} queues"
    return [Case(f"{name}, {thousands(RATE / share)}/s", work)]
