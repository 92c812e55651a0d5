"""Cost of an element that many users of one node see, each through a link of their own.

One phone per user. The two first cases with a bunch of elements per event differ in nothing but its size: the
difference of their CPU time, by the difference of what they deliver, is what a further element costs through
one further link, without the cost of the event that carries it.
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
        found.append(Case(f"{thousands(few)} users, {name}", work, sitting="all"))
    for users in (few, many):
        rate = RATE // (2 if scale.is_quick else 1)
        # of more users than come at first: the others come later, into the same server's life
        work = Work(users, users=many, per_s=rate / users, duration_s=scale.duration_s)
        found.append(Case(f"{thousands(users)} users, {thousands(rate)}/s", work, sitting="all"))
    return found
