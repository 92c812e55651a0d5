"""How fast and how cheaply does one update reach all phones of one user?

One topic for the others; for the gateway one user with all the phones, whose queues change in turn, so that
no update is conflated with the next one. Asked for are 50,000, 100,000 and 500,000 deliveries per second,
and as many as can be with 16 updates under way.
"""

from __future__ import annotations

from bench.case import BOTH_PACES, Case, Scale, thousands
from bench.work import Work

RATES = (50_000, 100_000, 500_000)
WINDOW = 16


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    found: list[Case] = []
    for phones in scale.phones(1_000, 10_000):
        for rate in RATES[:1] if scale.is_quick else RATES:
            work = Work(phones, per_s=rate / phones, duration_s=scale.duration_s)
            found.append(_case(f"{thousands(phones)} phones, {thousands(rate)}/s", work))
        work = Work(phones, window=WINDOW, duration_s=scale.duration_s)
        found.append(_case(f"{thousands(phones)} phones, {WINDOW} under way", work))
    return found


def _case(name: str, work: Work) -> Case:
    return Case(name, work, BOTH_PACES, with_peers=True)
