"""Phones that a node sends to others: schedule and pace of a drain, and the balance of nodes.

Balance: a node that has far more phones than the other nodes sends some of them away. Pure. *now* is
monotonic seconds.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_WINDOW_S: Final = 1.0
"""Longest part of its slot that a phone uses, so that it is away only as long as necessary."""


class UsersToMove(NamedTuple):
    """Users owned here whose links a site must open at other nodes."""

    users: int
    log_ons_per_s: float
    """The site's budget; above 0."""


@dataclass(frozen=True, slots=True)
class DrainSchedule:
    """When one phone gets its `bye`, s from now, and its window to come back, s after that."""

    at_s: float
    window_s: tuple[float, float]


def moving_s(moving: Iterable[UsersToMove]) -> float:
    """Return how long the sites' budgets need for the links of the users to move."""
    return max((users / per_s for users, per_s in moving), default=0.0)


def drain_schedules(
    phones: int, *, accepts_per_s: Iterable[float], moving: Iterable[UsersToMove], grace_s: float
) -> tuple[DrainSchedule, ...]:
    """Return the schedule of the `bye` frames of *phones*, in their order.

    Each phone has its own slot to come back in. So wherever in their slots the phones return, in any period
    at most two more return than the other nodes accept in it. Where the grace is long enough, the same holds
    for the sites' budgets; for these the caller mixes the phones of users owned here with the others.

    All phones get their `bye` within the grace, each when its slot begins, so that it is away for at most one
    second. A budget that needs longer delays no phone: the phone gets values of its user through the other
    node, and this node keeps the link until the other one may open it. Only when the other nodes accept fewer
    phones within the grace are slots later than their `bye` frames, which are spread evenly over the grace,
    as a burst in its last moment might not leave. When no other node is left, waiting is of no use: all
    phones get it at once, and come back over the grace at least, to the next process of this node.

    Args:
        phones: How many are connected here.
        accepts_per_s: Handshakes that each other node accepts beyond its own.
        moving: The users to move, of each site.
        grace_s: Seconds within which all get their `bye`.
    """
    moved_s, accepted_per_s = moving_s(moving), sum(accepts_per_s)
    if accepted_per_s > 0:
        accepted_s = phones / accepted_per_s
        spread_s = min(max(moved_s, accepted_s), grace_s)
        whole_s = max(spread_s, accepted_s)
    else:
        whole_s = max(moved_s, grace_s)
        spread_s = 0.0
    return tuple(_drain_schedule(place, phones, spread_s, whole_s) for place in range(phones))


def _drain_schedule(place: int, phones: int, spread_s: float, whole_s: float) -> DrainSchedule:
    at_s = spread_s * place / phones
    low_s = whole_s * place / phones - at_s
    return DrainSchedule(at_s, (low_s, low_s + min(_WINDOW_S, whole_s / phones)))


IN_TIME_S: Final = 2.0
"""A user that has moved this long after the phone's window has moved in time in any case."""
BACK_S: Final = 1.0
"""A phone that is served this long after its window is back in time in any case."""
LAST_S: Final = 60.0
"""Within this time the phones that are left at the end come back in any case."""
GONE_S: Final = 2.0
"""After this further time a phone is no longer counted as away: it may be switched off."""
ROOM_MIN: Final = 4.0
"""Phones that may be away in any case."""
_USUAL: Final = 8
"""Phones, sent while few are away, that show how long a move takes on these nodes."""
_LATE_PART: Final = 0.2
"""Part of the phones that may be late without fewer being sent away."""
_CUT: Final = 0.7
"""Factor of the number of phones that may be away when many are late."""
RATE_S: Final = 10.0
"""The rate at which phones move is measured over this time."""
_WEIGHT: Final = 0.1
"""Weight of one phone in the mean of late phones."""
_WATCHED_MAX: Final = 200
"""Limit of the phones that are no longer counted but still watched: one that moves after all was late."""


class Move(enum.IntEnum):
    """How far a phone that was sent away has moved."""

    AWAY = 0
    """No node serves it."""
    BACK = 1
    """Another node serves it, with data from this node."""
    DONE = 2
    """Another node owns its user, or the phone has left for good."""


class AwayLimit:
    """How many phones may be away at once while a node drains, by the time that others need for them.

    A phone is away until it has reached *until*. The number begins small. Each phone in time raises it by
    one, until phones are late. From then on it falls at intervals while many are late, and rises slowly.
    So phones and their users do not wait in a queue before nodes that need longer for each than planned.

    A move is in time if it takes at most twice as long as moves while few phones are away: those show how
    slow the other nodes are at present. A phone that never comes shows nothing about other nodes, unless no
    other phone comes either.

    Args:
        now: When the drain begins.
        until: How far a phone must have moved.
        in_time_s: How long that may take in any case.
    """

    def __init__(self, now: float, until: Move = Move.DONE, in_time_s: float = IN_TIME_S) -> None:
        self.room = ROOM_MIN
        self._began = now
        self._moved = 0
        """How many have moved as far as necessary."""
        self._measured = (now, 0)
        """When the present measurement of the rate began, and how many had moved then."""
        self._highest_per_s = 0.0
        self._until = until
        self._in_time_s = in_time_s
        self._counted: dict[Callable[[], Move], tuple[float, bool]] = {}
        """The phones that are away: when the window of each ends, and whether few were away before it."""
        self._later: list[tuple[float, int, Callable[[], Move]]] = []
        """Those whose windows begin later, as a heap by the end of the window."""
        self._serial = 0
        self._watched: dict[Callable[[], Move], None] = {}
        self._usual_s: deque[float] = deque(maxlen=_USUAL)
        """How long moves of phones took lately before which few were away."""
        self.in_time_s = in_time_s
        """How long after its window a phone may take."""
        self._moved_at = -math.inf
        self._late_part = 0.0
        self._cut_at = -math.inf

    def per_s(self, now: float) -> float:
        """Return the highest rate at which phones have moved."""
        return max(self._highest_per_s, self._moved / max(now - self._began, 1.0))

    def may_send(self, now: float) -> bool:
        """Return whether one more phone may be sent away.

        Phones whose windows begin later are not away yet for the other nodes: those wait for none of them.
        """
        while self._later and self._later[0][0] <= now + _WINDOW_S:
            back_by, _, phone = heapq.heappop(self._later)
            self._counted[phone] = back_by, len(self._counted) < ROOM_MIN
        was_full = len(self._counted) >= self.room
        for phone in [phone for phone in self._watched if phone() >= self._until]:
            del self._watched[phone]
            self._note(now, is_late=True)
        for phone, (back_by, is_first) in list(self._counted.items()):
            if phone() >= self._until:
                del self._counted[phone]
                if is_first:
                    self._set_time_limit(max(0.0, now - back_by))
                is_late = now - back_by > self.in_time_s
                self._note(now, is_late=is_late, is_limiting=was_full)
            elif now - back_by > self.in_time_s + GONE_S:
                del self._counted[phone]
                self._watch(phone)
                if self._moved_at < back_by:
                    self._lower_room(now)
        return len(self._counted) < self.room

    def sent(self, phone: Callable[[], Move], back_by: float) -> None:
        """Record a phone that is away: how far it has moved, and when its window ends."""
        self._serial += 1
        heapq.heappush(self._later, (back_by, self._serial, phone))

    def _set_time_limit(self, took_s: float) -> None:
        """Derive from a move without a queue how long a phone may take."""
        self._usual_s.append(took_s)
        usual_s = sorted(self._usual_s)[len(self._usual_s) // 2]
        self.in_time_s = max(self._in_time_s, 2 * usual_s)

    def _measure(self, now: float) -> None:
        since, moved = self._measured
        if now - since >= RATE_S:
            self._highest_per_s = max(self._highest_per_s, (self._moved - moved) / (now - since))
            self._measured = now, self._moved

    def _watch(self, phone: Callable[[], Move]) -> None:
        self._watched[phone] = None
        if len(self._watched) > _WATCHED_MAX:
            del self._watched[next(iter(self._watched))]

    def _note(self, now: float, *, is_late: bool, is_limiting: bool = False) -> None:
        self._measure(now)
        self._moved += 1
        self._moved_at = now
        if is_late:
            self._lower_room(now)
            return
        self._late_part *= 1 - _WEIGHT
        if is_limiting:
            self.room += 1.0 if self._cut_at == -math.inf else 1.0 / self.room

    def _lower_room(self, now: float) -> None:
        self._late_part += _WEIGHT * (1 - self._late_part)
        if self._late_part > _LATE_PART and now - self._cut_at >= self.in_time_s:
            self.room, self._cut_at = max(ROOM_MIN, _CUT * self.room), now


_HURRY: Final = 0.9
"""Part of the grace in which all phones are sent away that others serve in time: the last users need time to
move, too.
"""
_END: Final = 0.98
"""Part of the grace after which all that are left are sent away: each `bye` has to leave in time."""


class DrainPace:
    """When a node that drains sends each of its phones away.

    Users may move later than the grace allows, since their phones are served with data from this node
    meanwhile. But no phone is sent while those before it are not served. At the end of the grace the phones
    that are left are all sent away, each with the time at which it will be served.
    """

    def __init__(self, began: float, phones: int, grace_s: float) -> None:
        self._began = began
        self._phones = phones
        self._grace_s = grace_s
        self._moving, self._returning = AwayLimit(began), AwayLimit(began, Move.BACK, BACK_S)

    def may_send(self, place: int, planned: DrainSchedule, now: float) -> bool:
        """Return whether the phone in *place*, which is due by its plan, may be sent away."""
        at_last = self._began + max(planned.at_s, _HURRY * self._grace_s * place / self._phones)
        is_room, are_back = self._moving.may_send(now), self._returning.may_send(now)
        return are_back and (is_room or now >= at_last)

    def sent(self, moved: Callable[[], Move], back_by: float) -> None:
        """Record a phone that is away: how far it has moved, and when its window ends."""
        self._moving.sent(moved, back_by)
        self._returning.sent(moved, back_by)

    def is_over(self, now: float) -> bool:
        """Return whether all phones that are left are to be sent away now."""
        return now >= self._began + _END * self._grace_s

    def last_windows(self, planned: Sequence[DrainSchedule], now: float) -> list[tuple[float, float]]:
        """Return the windows of the phones that are left, which are all sent away now.

        They come back at the highest rate at which phones before them did, or faster, so that none is away
        for too long. But none comes back before its planned slot: the other nodes would refuse it.
        """
        left, per_s, past_s = len(planned), self._returning.per_s(now), now - self._began
        most_s = min(LAST_S, self._grace_s)
        whole_s = min(left / per_s, most_s) if per_s else most_s
        windows = []
        for number, plan in enumerate(planned):
            low_s, high_s = _drain_schedule(number, left, 0.0, whole_s).window_s
            later_s = max(0.0, plan.at_s + plan.window_s[0] - past_s - low_s)
            windows.append((low_s + later_s, max(high_s + later_s, plan.at_s + plan.window_s[1] - past_s)))
        return windows


BEGIN: Final = 1.3
"""Balancing begins above this multiple of the mean of all nodes."""
END: Final = 1.2
"""Balancing ends at this multiple; no phone is sent away below it."""
EXCESS_MIN: Final = 10
"""Minimum number of phones above :data:`END` times the mean for which balancing begins."""
SETTLED_S: Final = 60.0
"""How long the set of nodes that accept phones must be unchanged: nothing is balanced during a rolling
restart.
"""
SHARE: Final = 0.1
"""Usable part of the rate of log-ons and links, since each phone may move its user's link."""
UNSEEN_S: Final = 10.0
"""Time within which a phone that was sent away is counted elsewhere; until then it counts at no node."""
ROUND_S: Final = 60.0
"""Time after which the effect is checked."""
FUTILE: Final = 0.25
"""Part of the phones sent away in a round that must have moved to other nodes."""
PAUSE_S: Final = 600.0
"""Pause after a round without effect; doubled for each further one."""
PAUSE_MAX_S: Final = 24 * 3600.0


class Balance:
    """Decides how many phones one node sends to other nodes.

    Invariants: none within :data:`SETTLED_S` after a change of the set of nodes that accept phones. None that
    would leave this node with fewer than :data:`END` times the mean. In any period at most what the rate
    allows in that period and half of :data:`UNSEEN_S`, plus one. None during the pause after a round in which
    the phones came back here.
    """

    def __init__(self, now: float) -> None:
        self.is_active = False
        """Whether this node has too many phones, and sends some to other nodes."""
        self._nodes: frozenset[str] = frozenset()
        self._since = now
        self._looked_at = now
        self._allowed = 0.0
        self._sent: list[tuple[float, int]] = []
        """When phones were sent to other nodes within :data:`UNSEEN_S`, and how many."""
        self._round_at = now
        self._round_phones = (0, 0)
        """Numbers of phones at the begin of the round, here and on other nodes."""
        self._round_sent = 0
        self._pause_s = PAUSE_S
        self.paused_until = -math.inf
        """Until when no phone is sent to another node, as the last round had no effect."""

    def phones_to_move(self, now: float, phones: int, others: Mapping[str, int], log_ons_per_s: float) -> int:
        """Return how many phones to send away now.

        Args:
            now: The time.
            phones: How many are connected here, without those that were sent away.
            others: The phones of each other node that accepts phones, by its life. Empty when there is none,
                when they are unknown, or when a node leaves.
            log_ons_per_s: Log-ons and links that the sites accept per second.
        """
        self._allow(now, log_ons_per_s)
        if not self._is_settled(now, others) or now < self.paused_until:
            self.is_active = False
            return 0
        elsewhere = sum(others.values())
        mean = (phones + elsewhere) / (len(others) + 1)
        excess = phones - END * mean
        if self.is_active and self._is_futile(now, phones, elsewhere):
            return 0
        if not self.is_active:
            if phones <= BEGIN * mean or excess < EXCESS_MIN:
                return 0
            self._round_at, self._round_phones, self._round_sent = now, (phones, elsewhere), 0
        self.is_active = excess >= 1
        excess -= END * self._unseen(now) / (len(others) + 1)  # other nodes may or may not count them yet
        return self._take(now, max(0, math.floor(min(self._allowed, excess))))

    def sent(self, now: float, fewer: int) -> None:
        """Record that *fewer* phones were sent away than allowed, because no more were suitable."""
        if fewer:
            self._allowed += fewer
            self._round_sent -= fewer
            self._sent.append((now, -fewer))

    def _allow(self, now: float, log_ons_per_s: float) -> None:
        per_s = SHARE * log_ons_per_s
        passed_s, self._looked_at = now - self._looked_at, now
        self._allowed = min(self._allowed + per_s * passed_s, max(1.0, per_s * UNSEEN_S / 2))

    def _is_settled(self, now: float, others: Mapping[str, int]) -> bool:
        nodes = frozenset(others)
        if nodes != self._nodes:
            self._nodes, self._since = nodes, now
        return bool(nodes) and now - self._since >= SETTLED_S

    def _is_futile(self, now: float, phones: int, elsewhere: int) -> bool:
        """Check a finished round; without effect a pause begins, as the load balancer sends phones back."""
        if now - self._round_at < ROUND_S:
            return False
        sent, (phones_before, elsewhere_before) = self._round_sent, self._round_phones
        moved = min(phones_before - phones, elsewhere - elsewhere_before)
        self._round_at, self._round_phones, self._round_sent = now, (phones, elsewhere), 0
        if sent == 0 or moved >= FUTILE * sent:
            self._pause_s = PAUSE_S
            return False
        self.is_active = False
        self.paused_until = now + self._pause_s
        self._pause_s = min(PAUSE_MAX_S, 2 * self._pause_s)
        return True

    def _unseen(self, now: float) -> int:
        self._sent = [(at, count) for at, count in self._sent if now - at < UNSEEN_S]
        return sum(count for _, count in self._sent)

    def _take(self, now: float, count: int) -> int:
        self._allowed -= count
        self._round_sent += count
        if count:
            self._sent.append((now, count))
        return count
