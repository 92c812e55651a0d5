"""Drain schedule: when each phone is sent away, and when it may come back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

_WINDOW_S: Final = 1.0
"""A phone uses no more of its slot: it is away for no longer than it must."""


class Moving(NamedTuple):
    """What a site must take: so many users that are owned here open their links elsewhere."""

    users: int
    log_ons_per_s: float
    """The site's budget; above 0."""


@dataclass(frozen=True, slots=True)
class DrainSchedule:
    """When one phone gets its `bye`, s from now, and from when until when it comes back, s after that."""

    at_s: float
    window_s: tuple[float, float]


def farewells(
    phones: int, *, accepts_per_s: Iterable[float], moving: Iterable[Moving], grace_s: float
) -> tuple[DrainSchedule, ...]:
    """Return the schedule of so many phones, in the order in which they get their `bye`.

    Each phone has a slot of its own to come back in. So in any time at most two more of them return
    than the survivors accept and the sites' budgets allow in that time, however the phones choose within
    their slots; for the budgets the caller mixes the phones of the users that are owned here with the others.

    All get it within the grace. When there is time, each gets it when its slot begins, so that it is
    away for a second at most. Otherwise the `bye`s are spread evenly over the grace, as many in its last
    moment might not leave. When no other node is left to take the phones, waiting is of no use: all
    get it at once, and come back over the grace at least, to the node that starts here next.

    Args:
        phones: How many are connected here.
        accepts_per_s: Handshakes that each survivor takes on beyond its own.
        moving: Of each site.
        grace_s: Within how many seconds all get their `bye`.
    """
    links_s = max((users / per_s for users, per_s in moving), default=0.0)
    accepted_per_s = sum(accepts_per_s)
    if accepted_per_s > 0:
        whole_s = max(links_s, phones / accepted_per_s)
        told_s = min(whole_s, grace_s)
    else:
        whole_s = max(links_s, grace_s)
        told_s = 0.0
    return tuple(_drain_schedule(place, phones, told_s, whole_s) for place in range(phones))


def _drain_schedule(place: int, phones: int, told_s: float, whole_s: float) -> DrainSchedule:
    at_s = told_s * place / phones
    low_s = whole_s * place / phones - at_s
    return DrainSchedule(at_s, (low_s, low_s + min(_WINDOW_S, whole_s / phones)))
