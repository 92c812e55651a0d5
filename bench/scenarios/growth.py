"""Growth of the cost with phones and with resources.

50,000 deliveries per second to a growing number of phones of one user, on the same server; and to 1,000
phones of a user who sees a growing number of resources, which change in turn.
"""

from __future__ import annotations

from bench.case import NO_PACE, Case, Scale, thousands
from bench.work import Work

PHONES = (1_000, 2_500, 5_000, 10_000, 19_500)
RESOURCES = (10, 100, 500, 1_500)
RATE = 50_000


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    found: list[Case] = []
    for phones in (500, 1_000) if scale.is_quick else scale.phones(*PHONES):
        work = Work(phones, per_s=RATE / phones, duration_s=scale.glance_s)
        found.append(Case(f"{thousands(phones)} phones", work, NO_PACE, group="phones"))
    for resources in (10, 100) if scale.is_quick else RESOURCES:
        phones = scale.phones(1_000)[0]
        work = Work(phones, per_s=RATE / phones, queues=resources, duration_s=scale.glance_s)
        found.append(Case(f"{thousands(resources)} resources", work, NO_PACE))
    return found
