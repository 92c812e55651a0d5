"""How does it stand with many small audiences: users who each have resources of their own?

1,000 users (topics for the others) of 10 phones each, and of one; updates go round the users.
"""

from __future__ import annotations

from bench.case import BOTH_PACES, Case, Scale, thousands
from bench.work import Work

USERS = 1_000
QUEUES = 20
WINDOW = 16


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    users = 100 if scale.is_quick else USERS
    phones = min(10 * users, scale.phones_most - users)
    name = f"{thousands(users)} users of {phones // users} phones"
    rated = Work(
        phones, topics=users, queues=QUEUES, per_s=50_000 / (phones / users), duration_s=scale.duration_s
    )
    closed = Work(phones, topics=users, queues=QUEUES, window=WINDOW, duration_s=scale.duration_s)
    alone = Work(users, topics=users, queues=QUEUES, per_s=20 * users, duration_s=scale.duration_s)
    return [
        Case(f"{name}, 50,000/s", rated, BOTH_PACES, with_peers=True),
        Case(f"{name}, {WINDOW} under way", closed, BOTH_PACES, with_peers=True),
        Case(
            f"{thousands(users)} users of 1 phone, {thousands(20 * users)}/s",
            alone,
            BOTH_PACES,
            with_peers=True,
        ),
    ]
