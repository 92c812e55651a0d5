"""Speed and cost of one update to all phones of one user.

Peers have one topic; the gateway has one user with all phones, whose queues change in turn, so that no update
is conflated with the next one. The rates are 50,000 and 500,000 deliveries per second, the most that is
possible with 16 updates under way, and half of that. All cases run on the same phones, in turn.
"""

from __future__ import annotations

from bench.case import BOTH_PACES, Case, Scale, thousands
from bench.work import Work

RATE, FLOOD = 50_000, 500_000
WINDOW = 16
HALF = "half of that"
"""Name of the case at half of the rate that is possible with 16 updates under way."""
HALF_PHONES = 1_000
"""The most phones for that case: no goal needs more."""


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    found: list[Case] = []
    for phones in scale.phones(1_000, 10_000):
        rated = Work(phones, per_s=RATE / phones, duration_s=scale.duration_s)
        closed = Work(phones, window=WINDOW, duration_s=scale.glance_s)
        half = Work(phones, share=0.5, duration_s=scale.glance_s)
        flood = Work(phones, per_s=FLOOD / phones, duration_s=scale.glance_s)
        found += [
            _case(phones, f"{thousands(RATE)}/s", rated, with_peers=True),
            _case(phones, f"{WINDOW} under way", closed, with_peers=True),
            *([_case(phones, HALF, half)] if phones <= HALF_PHONES else []),
            _case(phones, f"{thousands(FLOOD)}/s", flood),
        ]
    return found


def _case(phones: int, name: str, work: Work, *, with_peers: bool = False) -> Case:
    whole = f"{thousands(phones)} phones, {name}"
    return Case(whole, work, BOTH_PACES, with_peers=with_peers, group=f"{phones}")
