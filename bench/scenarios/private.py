"""Typical load: many users, each with their own link and resources, and few phones each.

1,000 users (for peers: topics) with one phone each, then with 10 each; updates go to the users in turn.
"""

from __future__ import annotations

from bench.case import BOTH_PACES, Case, Scale, thousands
from bench.work import Work

USERS, EACH = 1_000, 10
QUEUES = 20
WINDOW = 16
RATE = 50_000
PER_USER = (2, 20)
"""Updates per second of each user with one phone."""


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    users = 100 if scale.is_quick else min(USERS, scale.phones_most // EACH)
    phones, per_s = EACH * users, RATE / EACH
    found = [
        Case(
            f"{thousands(users)} users of 1 phone, {thousands(each * users)}/s",
            Work(users, topics=users, queues=QUEUES, per_s=each * users, duration_s=scale.duration_s),
            BOTH_PACES,
            with_peers=True,
            group="all",
        )
        for each in PER_USER
    ]
    rated = Work(phones, topics=users, queues=QUEUES, per_s=per_s, duration_s=scale.duration_s)
    closed = Work(phones, topics=users, queues=QUEUES, window=WINDOW, duration_s=scale.glance_s)
    name = f"{thousands(users)} users of {EACH} phones"
    return [
        *found,
        Case(f"{name}, {thousands(RATE)}/s", rated, BOTH_PACES, with_peers=True, group="all"),
        Case(f"{name}, {WINDOW} under way", closed, BOTH_PACES, with_peers=True, group="all"),
    ]
