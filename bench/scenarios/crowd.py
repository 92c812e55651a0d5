"""Cost of an element that many users of one node see, each through a link of their own.

One phone per user. The first two cases differ only in the number of elements per event. The difference of
their CPU times, divided by the difference of the elements delivered, is the cost of an element through one
further link, without the cost of the event around it.
"""

from __future__ import annotations

from bench.case import Case, Scale, thousands
from bench.work import Work

BUNCH = 40
EVENTS_PER_S = 4
RATE = 20_000
SMALL, LARGE = "1 element an event", f"{BUNCH} elements an event"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    few, many = (100, 200) if scale.is_quick else (1_000, 5_000)
    found: list[Case] = []
    for name, size in ((SMALL, 1), (LARGE, BUNCH)):
        work = Work(few, users=many, per_s=EVENTS_PER_S, size=size, duration_s=scale.duration_s)
        found.append(Case(f"{thousands(few)} users, {name}", work, group="all"))
    for users in (few, many):
        rate = RATE // (2 if scale.is_quick else 1)
        # the server knows many users from the start; in the first case only a few of them connect
        work = Work(users, users=many, per_s=rate / users, duration_s=scale.duration_s)
        found.append(Case(f"{thousands(users)} users, {thousands(rate)}/s", work, group="all"))
    return found
