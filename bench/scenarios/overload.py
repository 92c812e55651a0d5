"""What becomes of phones when more comes from the OSCC-E Server than a node keeps up with.

1,000 users of one phone, each with a link of their own. First so many updates are under way that the node
has always something to do: that is its capacity. Then it gets 2, 5 and 10 times as many. In the end one
user's link floods, while all others get a few updates a second.
"""

from __future__ import annotations

from bench.case import Case, Scale, thousands
from bench.scenarios.private import QUEUES, USERS
from bench.work import Work

WINDOW = 512
"""So many are under way: half a one for each user."""
TIMES = (2, 5, 10)
FLOOD_PER_S = 100_000
PER_USER = 4


def capacity(times: int) -> str:
    """Return what a case is called that measures the capacity before so many times of it are offered."""
    return f"all that it delivers, before {times} × of it"


def offered(times: int) -> str:
    """Return what a case is called that offers so many times the capacity."""
    return f"{times} × of it offered"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    users = 100 if scale.is_quick else min(USERS, scale.phones_most)
    found: list[Case] = []
    for times in TIMES:
        closed = Work(users, topics=users, queues=QUEUES, window=WINDOW, duration_s=scale.glance_s)
        over = Work(users, topics=users, queues=QUEUES, share=times, duration_s=scale.duration_s)
        found.append(Case(capacity(times), closed, sitting=f"{times} times"))
        found.append(Case(offered(times), over, sitting=f"{times} times"))
    flooded = Work(
        users,
        topics=users,
        queues=QUEUES,
        per_s=PER_USER * users,
        duration_s=scale.duration_s,
        flood_per_s=FLOOD_PER_S,
    )
    return [*found, Case(f"one link floods, {thousands(FLOOD_PER_S)}/s", flooded)]
