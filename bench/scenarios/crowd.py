"""What does an element cost that many users of one node see, each through a link of his own?

One phone per user. The two cases with a bunch of elements per event differ in nothing but its size: the
difference of their CPU time, by the difference of what they deliver, is what a further element costs through
one further link, without the cost of the event that carries it.
"""

from __future__ import annotations

from bench.case import BOTH_PACES, Case, Scale, thousands
from bench.work import Work

BUNCH = 40
EVENTS_PER_S = 4
SMALL, LARGE = "1 element an event", f"{BUNCH} elements an event"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    found: list[Case] = []
    for users in [200] if scale.is_quick else [1_000, 5_000]:
        rate = 20_000 if users >= 1_000 else 10_000
        work = Work(users, users=users, per_s=rate / users, duration_s=scale.duration_s)
        found.append(Case(f"{thousands(users)} users, {thousands(rate)}/s", work, BOTH_PACES))
    users = 200 if scale.is_quick else 1_000
    for name, size in ((SMALL, 1), (LARGE, BUNCH)):
        work = Work(users, users=users, per_s=EVENTS_PER_S, size=size, duration_s=scale.duration_s)
        found.append(Case(f"{thousands(users)} users, {name}", work))
    return found
