"""Overload: the OSCC-E Server sends more updates than a node can deliver.

1,000 users of one phone, each with their own link. First the node's capacity is measured, with enough updates
under way to keep it busy. Then 2, 5 and 10 times the capacity is offered. Last, one user's link floods, while
all others receive a few updates per second.
"""

from __future__ import annotations

from bench.case import Case, Scale, thousands
from bench.scenarios.private import QUEUES, USERS
from bench.work import Work

WINDOW = 512
"""Updates under way: about one for every two users."""
TIMES = (2, 5, 10)
FLOOD_PER_S = 100_000
PER_USER = 4


def capacity(times: int) -> str:
    """Return the name of the case that measures the capacity before *times* × of it is offered."""
    return f"all that it delivers, before {times} × of it"


def offered(times: int) -> str:
    """Return the name of the case that offers *times* the capacity."""
    return f"{times} × of it offered"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    users = 100 if scale.is_quick else min(USERS, scale.phones_most)
    found: list[Case] = []
    for times in TIMES:
        closed = Work(users, topics=users, queues=QUEUES, window=WINDOW, duration_s=scale.glance_s)
        over = Work(users, topics=users, queues=QUEUES, share=times, duration_s=scale.duration_s)
        found.append(Case(capacity(times), closed, group=f"{times} times"))
        found.append(Case(offered(times), over, group=f"{times} times"))
    flooded = Work(
        users,
        topics=users,
        queues=QUEUES,
        per_s=PER_USER * users,
        duration_s=scale.duration_s,
        flood_per_s=FLOOD_PER_S,
    )
    return [*found, Case(f"one link floods, {thousands(FLOOD_PER_S)}/s", flooded)]
