"""Speed and cost of one update to all phones of one user.

One topic for the others; for the gateway one user with all the phones, whose queues change in turn, so that
no update is conflated with the next one. Asked for are 50,000 and 500,000 deliveries per second, as many as
can be with 16 updates under way, and half of those. All are asked of the same phones, one after the other.
"""

from __future__ import annotations

from bench.case import BOTH_PACES, Case, Scale, thousands
from bench.work import Work

RATE, FLOOD = 50_000, 500_000
WINDOW = 16
HALF = "half of that"
"""Of what could be delivered with updates under way: saturation."""
HALF_PHONES = 1_000
"""More phones are not asked for it: nothing is held against it."""


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
    return Case(whole, work, BOTH_PACES, with_peers=with_peers, sitting=f"{phones}")
