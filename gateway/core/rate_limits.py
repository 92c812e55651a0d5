"""Rate limits: token buckets, quotas, a site's budget and its queue, and shares of a turn of the event loop.

Pure. *now* is monotonic seconds.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import count, islice, zip_longest
from typing import Final, Generic, Protocol, TypeVar

from gateway.core.link import OpeningLinks
from gateway.domain.model import LONG_AGO
from gateway.protocol import frames

KeyT = TypeVar("KeyT", bound=Hashable)
ItemT = TypeVar("ItemT")

_LOOKED_AT: Final = 16
"""Least recently used keys to examine for one with its whole burst: bounds the work under a flood."""
_PRUNED_MAX: Final = 256
"""Entries that one pruning of a pool looks at: bounds its time."""
_SOON_S: Final = 1.0
_ROUNDING: Final = 1e-6
"""Makes a wait long enough despite rounding."""


def drop_over(pool: dict[KeyT, ItemT], is_over: Callable[[ItemT], bool]) -> None:
    """Remove entries that are over, among the first :data:`_PRUNED_MAX`."""
    for key in [key for key, item in islice(pool.items(), _PRUNED_MAX) if is_over(item)]:
        del pool[key]


class TokenBucket:
    """Admits *rate_per_s* in the long run, and *burst* at once (GCRA). It starts full; the rate is above 0.

    Invariant: never more than ``burst + rate_per_s * t`` in any t seconds.
    """

    __slots__ = ("_full_at", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = float(burst)
        self._full_at = LONG_AGO

    def take(self, now: float, amount: float = 1.0, *, reserve: float = 0.0) -> bool:
        """Take *amount* if it is there and *reserve* remains; otherwise change nothing."""
        if self.wait_s(now, amount, reserve=reserve) > 0:
            return False
        self._full_at = max(self._full_at, now) + amount / self.rate_per_s
        return True

    def give_back(self, amount: float = 1.0) -> None:
        """Put back what was taken and not used."""
        self._full_at -= amount / self.rate_per_s

    def wait_s(self, now: float, amount: float = 1.0, *, reserve: float = 0.0) -> float:
        """Return the seconds until :meth:`take` succeeds, if nothing else is taken; inf for never."""
        missing = amount + reserve - self._level(now)
        if missing <= _ROUNDING:
            return 0.0
        return math.inf if amount + reserve > self.burst + _ROUNDING else missing / self.rate_per_s

    def resize(self, now: float, rate_per_s: float, burst: float) -> None:
        """Continue with another rate and burst; the content is kept up to the new burst."""
        missing = max(0.0, burst - self._level(now))
        self.rate_per_s = rate_per_s
        self.burst = float(burst)
        self._full_at = now + missing / rate_per_s

    def owe(self, now: float, seconds: float) -> None:
        """Begin empty, and admit nothing for *seconds*."""
        self._full_at = now + seconds + self.burst / self.rate_per_s

    def _level(self, now: float) -> float:
        return self.burst - max(0.0, self._full_at - now) * self.rate_per_s


class KeyedRates(Generic[KeyT]):
    """A rate limit with a burst for each key, for example each client address (GCRA).

    Invariant: in any t seconds one key takes at most ``burst + per_s * (t + most_s)``.

    Bounded: beyond *keys_max* a key with its whole burst is removed, as it has the same effect as a new one.
    If there is none, the one used least recently is removed, with the record of what it took.
    """

    def __init__(self, per_s: float, burst: float, *, keys_max: int = 10_000) -> None:
        self._per_s = per_s
        self._burst_s = burst / per_s
        self._keys_max = keys_max
        self._full_at: OrderedDict[KeyT, float] = OrderedDict()
        """When each key has its whole burst again."""
        self._next_at: dict[KeyT, float] = {}
        """The last assigned appointment of a key."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: KeyT, now: float, amount: float = 1.0, most_s: float = 0.0) -> float:
        """Take *amount* of *key*, if it has to wait for at most *most_s*; return how long, s."""
        after = max(self._full_at.get(key, now), now) + amount / self._per_s
        wait_s = after - now - self._burst_s
        if wait_s <= most_s + _ROUNDING:
            if key not in self._full_at:
                self._make_room(now)
            self._full_at[key] = after
        if key in self._full_at:
            self._full_at.move_to_end(key)
        return wait_s if wait_s > _ROUNDING else 0.0

    def appointment_s(self, key: KeyT, now: float, most_s: float) -> float:
        """Return when a refused caller is to come back, s: one after the other as the rate allows."""
        free_at = self._full_at.get(key, now) + 1 / self._per_s - self._burst_s
        at = max(now, free_at, self._next_at.get(key, -math.inf) + 1 / self._per_s)
        self._next_at[key] = min(at, now + most_s)
        return self._next_at[key] - now

    def prune(self, now: float) -> None:
        """Remove keys with their whole burst, also without new ones: a key may be an address or a name."""
        for key, full_at in list(islice(self._full_at.items(), _PRUNED_MAX)):
            if full_at <= now:
                self._forget(key)

    def _make_room(self, now: float) -> None:
        if len(self._full_at) >= self._keys_max:
            oldest = list(islice(self._full_at.items(), _LOOKED_AT))
            self._forget(next((key for key, full_at in oldest if full_at <= now), oldest[0][0]))

    def _forget(self, key: KeyT) -> None:
        del self._full_at[key]
        self._next_at.pop(key, None)


class Quota(Generic[KeyT]):
    """Admits *most* uses of each key in any *window_s*. Pure: ``now`` is monotonic seconds.

    A use under way counts until it is given back because it had no effect.

    Bounded: beyond *keys_max* the key used least recently is removed, with the record of its uses.
    """

    def __init__(self, *, most: int, window_s: float, keys_max: int = 10_000) -> None:
        self._most = most
        self._window_s = window_s
        self._keys_max = keys_max
        self._taken: OrderedDict[KeyT, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, key: KeyT, now: float) -> float:
        """Take one. Return 0.0 when it was there, else the seconds until the next one."""
        taken = [at for at in self._taken.get(key, ()) if at > now - self._window_s]
        if len(taken) >= self._most:
            return taken[0] + self._window_s - now
        self._keep(key, [*taken, now])
        return 0.0

    def taken(self, key: KeyT, now: float) -> tuple[float, ...]:
        """Return the instants of *key*'s uses that still count, the oldest first."""
        return tuple(at for at in self._taken.get(key, ()) if at > now - self._window_s)

    def adopt(self, key: KeyT, instants: Iterable[float], now: float) -> None:
        """Count *key*'s uses on other nodes, too.

        *instants*: their instants, as :meth:`taken` returns them there.

        Some of them may be uses of this node that are reported a little late. So the newest of both lists
        count as one, then the next ones. The result is no less than either list, and no use counts twice.
        """
        here = sorted(self.taken(key, now), reverse=True)
        there = sorted((at for at in instants if at > now - self._window_s), reverse=True)
        both = [max(pair) for pair in zip_longest(here, there, fillvalue=-math.inf)]
        if both:
            self._keep(key, both[: self._most][::-1])

    def give_back(self, key: KeyT, at: float) -> None:
        """Give back the use at *at*, which had no effect."""
        taken = self._taken.get(key)
        if taken is not None and at in taken:
            taken.remove(at)
            if not taken:
                del self._taken[key]

    def prune(self, now: float) -> None:
        """Remove keys whose uses no longer count, also without new ones."""
        drop_over(self._taken, lambda taken: taken[-1] <= now - self._window_s)

    def _keep(self, key: KeyT, taken: list[float]) -> None:
        self._taken[key] = taken
        self._taken.move_to_end(key)
        while len(self._taken) > self._keys_max:
            self._taken.popitem(last=False)


# ---- budget of a site ----


class Urgency(enum.IntEnum):
    """Why a link is opened at OSCC-E. A more urgent class may use more of the budget."""

    PERSON = 0
    """A user has logged on and waits."""
    ROAMING = 1
    """A phone reappeared on another node."""
    REOPENING = 2
    """A link was lost."""
    GIVING = 3
    """A node drains or rebalances; the phone has its data."""


_KEPT_FREE: Final = {
    Urgency.PERSON: 0.0,
    Urgency.ROAMING: 0.25,
    Urgency.REOPENING: 0.5,
    Urgency.GIVING: 0.75,
}
"""Part of the budget that each class leaves to the more urgent ones."""
_PLACES_KEPT_FREE: Final = _KEPT_FREE | {Urgency.GIVING: 0.5}
"""Part of the places that each class leaves to the more urgent ones."""
SLOWED_PART: Final = 0.1
"""Part of the budget that newcomers may use while the node is overloaded.

Newcomers are log-ons, and links of users who have just logged on. All other links are of users who are
served already.
"""
LOG_ON_PART: Final = 0.5
"""Part of the budget that log-ons may use, unless they are likely to succeed."""
BEYOND_PART: Final = 0.5
"""Part of the budget by which log-ons that are likely to succeed may exceed theirs, when links leave room."""


class Budget:
    """Log-ons and links that a site is asked to accept: a rate, and a number at a time.

    Log-ons, whose passwords are not checked yet, have their own bucket and places: at most half of the rate
    and of the places. The other half is reserved for links. Log-ons that are likely to succeed may use what
    links leave of their rate, beyond half of the burst, up to three quarters of the rate in all.

    A refusal changes nothing. An admission is given back with :meth:`done` or :meth:`log_on_done`. A link
    that another node hands over takes its place when the hand-over is done: until then the site has no work
    with it. At most as many hand-overs as there are places are under way.

    Invariant: never more than *in_flight_max* at a time, and never faster than the rate. Log-ons never have
    more than half of either, except for the rate of those that are likely to succeed. A class of links is
    refused while less is free than it must leave to the more urgent classes.

    Args:
        rate_per_s: Rate of the site; its live nodes share it.
        burst: Burst of the site, shared likewise; each node has at least one.
        in_flight_max: Places of the site, shared likewise; each node has at least one.
        log_ons_max_per_s: Rate of log-ons, where it is less than half of the rate.
    """

    def __init__(
        self,
        *,
        rate_per_s: float = 20.0,
        burst: float = 20.0,
        in_flight_max: int = 32,
        log_ons_max_per_s: float = math.inf,
    ) -> None:
        self._whole = (rate_per_s, burst, in_flight_max)
        self._log_on_part = min(LOG_ON_PART, log_ons_max_per_s / rate_per_s)
        self.is_slowed = False
        """Whether newcomers are slowed, since the node is overloaded."""
        self._bucket = TokenBucket(rate_per_s, burst)
        self._newcomer_bucket = TokenBucket(rate_per_s, burst)
        """For links of users who have just logged on, in addition, while the node is overloaded."""
        self._log_on_bucket = TokenBucket(rate_per_s, burst)
        self._beyond_bucket = TokenBucket(rate_per_s, burst)
        """For log-ons beyond their half."""
        self._in_flight_max = in_flight_max
        self._links = 0
        self._log_ons = 0
        self.hand_overs = 0
        """Number of links that other nodes are to hand over, without a place."""
        self.share(1, 0.0)

    @property
    def in_flight(self) -> int:
        """Number of log-ons and links under way."""
        return self._links + self._log_ons

    @property
    def log_ons_per_s(self) -> float:
        """This node's rate of log-ons."""
        return self._log_on_bucket.rate_per_s

    @property
    def has_one_place(self) -> bool:
        """Whether log-ons and links share a single place."""
        return self._in_flight_max == 1

    def share(self, nodes: int, now: float, *, unknown_s: float = 0.0) -> None:
        """Set this node's part of the budget: one of *nodes* live ones.

        Within *unknown_s* other nodes may use more than their part, since they do not know this one yet: it
        opens no link until then.
        """
        self._nodes = nodes
        rate_per_s, burst, in_flight_max = self._whole[0] / nodes, self._whole[1] / nodes, self._whole[2]
        log_ons = self._log_on_part * (SLOWED_PART if self.is_slowed else 1.0)
        for bucket, part in (
            (self._bucket, 1.0),
            (self._newcomer_bucket, SLOWED_PART),
            (self._log_on_bucket, log_ons),
            (self._beyond_bucket, log_ons * BEYOND_PART),
        ):
            bucket.resize(now, rate_per_s * part, max(1.0, burst * part))
        self._in_flight_max = max(1, in_flight_max // nodes)
        if nodes > 1 and unknown_s > 0:
            self._bucket.owe(now, unknown_s)

    def slow(self, now: float, *, is_slowed: bool) -> None:
        """Record whether the node is overloaded: then newcomers use :data:`SLOWED_PART` of its rate.

        They then let all others pass.
        """
        if is_slowed is not self.is_slowed:
            self.is_slowed = is_slowed
            self.share(self._nodes, now)

    def admit(self, now: float, urgency: Urgency = Urgency.PERSON) -> bool:
        """Take a place and a share of the rate for a link, or neither."""
        slowed = self._slowed(urgency)
        if not self.has_place(urgency) or (slowed is not None and slowed.wait_s(now) > 0):
            return False
        if not self._bucket.take(now, reserve=self._reserve(urgency)):
            return False
        if slowed is not None:
            slowed.take(now)
        if urgency is Urgency.GIVING:
            self.hand_overs += 1
        else:
            self._links += 1
        return True

    def handed_over(self) -> bool:
        """Record that a link was handed over; take a place for it, or return False.

        Without a place its share of the rate is given back: it is admitted again.
        """
        has_place = self._has_free_place(Urgency.GIVING)
        self._links += has_place
        self._end_hand_over(is_used=has_place)
        return has_place

    def hand_over_failed(self) -> None:
        """Record that a link is not handed over: nothing was asked of the site."""
        self._end_hand_over(is_used=False)

    def _end_hand_over(self, *, is_used: bool) -> None:
        self.hand_overs -= 1
        if not is_used:
            self._bucket.give_back()

    def admit_log_on(self, now: float, *, is_likely: bool = False) -> bool:
        """Take a place and a share of the rate for a log-on, or neither."""
        if self.log_on_wait_s(now, is_likely=is_likely) > 0 or not self._bucket.take(now):
            return False
        if not self._log_on_bucket.take(now):
            self._beyond_bucket.take(now)
        self._log_ons += 1
        return True

    def wait_s(self, now: float, urgency: Urgency = Urgency.PERSON) -> float:
        """Return when to try again, s; at least a second while all places are taken."""
        wait_s, slowed = self._bucket.wait_s(now, reserve=self._reserve(urgency)), self._slowed(urgency)
        if slowed is not None:
            wait_s = max(wait_s, slowed.wait_s(now))
        return wait_s if self.has_place(urgency) else max(wait_s, _SOON_S)

    def log_on_wait_s(self, now: float, *, is_likely: bool = False) -> float:
        """Return when to try a log-on again, s; at least a second while all their places are taken."""
        wait_s = max(self._bucket.wait_s(now), self._log_on_bucket.wait_s(now))
        if is_likely:
            left_s = self._bucket.wait_s(now, reserve=self._reserve(Urgency.REOPENING))
            wait_s = min(wait_s, max(left_s, self._beyond_bucket.wait_s(now)))
        places = max(1, math.floor(self._in_flight_max * LOG_ON_PART))
        has_place = self._log_ons < places and self.in_flight < self._in_flight_max
        return wait_s if has_place else max(wait_s, _SOON_S)

    def done(self) -> None:
        """Give back a link's place: it is open, or failed."""
        self._links = max(0, self._links - 1)

    def log_on_done(self) -> None:
        """Give back a log-on's place: it was answered, or failed."""
        self._log_ons = max(0, self._log_ons - 1)

    def has_place(self, urgency: Urgency) -> bool:
        """Return whether enough places are free. While none is taken every class may begin."""
        is_full = urgency is Urgency.GIVING and self.hand_overs >= self._in_flight_max
        return not is_full and self._has_free_place(urgency)

    def _has_free_place(self, urgency: Urgency) -> bool:
        kept = math.floor(self._in_flight_max * _PLACES_KEPT_FREE[urgency])
        return self._links < self._in_flight_max - kept and self.in_flight < self._in_flight_max

    def _slowed(self, urgency: Urgency) -> TokenBucket | None:
        """Return the further bucket from which a link must take, if there is one."""
        return self._newcomer_bucket if self.is_slowed and urgency is Urgency.PERSON else None

    def _reserve(self, urgency: Urgency) -> float:
        """Return how much must remain; never so much that the class could never begin."""
        burst = self._bucket.burst
        return min(burst * _KEPT_FREE[urgency], burst - 1.0)


_LOG_EVERY_S: Final = 1.0


class FrameVerdict(enum.Enum):
    """What happens to a frame that is not served."""

    DROP = enum.auto()
    DROP_AND_REPORT = enum.auto()
    CLOSE = enum.auto()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of one connection. The defaults are the protocol's."""

    hello_s: float = 5.0
    hello_bytes: int = 8 * 1024
    frame_bytes_in: int = 16 * 1024
    frame_bytes_out: int = 256 * 1024
    frames_per_s: float = 20.0
    frames_burst: int = 40
    dropped_max: int = 200
    errors_per_s: int = 4
    topics: int = 64
    commands_in_flight: int = 8
    command_ahead_s: float = 60.0
    devices: int = 5
    ping_s: float = 25.0
    pong_s: float = 10.0
    resync_s: float = 5.0
    pace_min_s: float = 0.05

    def frame(self) -> frames.Limits:
        """Return the limits that are sent to phones."""
        return frames.Limits(
            frame_bytes_in=self.frame_bytes_in,
            frame_bytes_out=self.frame_bytes_out,
            frames_per_s=self.frames_per_s,
            frames_burst=self.frames_burst,
            topics=self.topics,
            commands_in_flight=self.commands_in_flight,
            devices=self.devices,
        )


class RateViolations:
    """Rate violations of one phone; most have none.

    Frames over the rate are dropped and reported at most once a second; after ``dropped_max`` of them the
    connection is closed. The ``errors_per_s``-th bad frame within a second closes it, too.
    """

    __slots__ = ("_dropped", "_errors", "_logged_at")

    def __init__(self) -> None:
        self._dropped = 0
        self._logged_at = LONG_AGO
        self._errors: deque[float] = deque()

    def too_many(self, now: float, limits: SessionLimits) -> FrameVerdict:
        """Count a frame over the rate."""
        self._dropped += 1
        if self._dropped > limits.dropped_max:
            return FrameVerdict.CLOSE
        if now - self._logged_at < _LOG_EVERY_S:
            return FrameVerdict.DROP
        self._logged_at = now
        return FrameVerdict.DROP_AND_REPORT

    def error(self, now: float, limits: SessionLimits) -> FrameVerdict:
        """Count one bad frame."""
        self._errors.append(now)
        if len(self._errors) > limits.errors_per_s:
            self._errors.popleft()
        if len(self._errors) == limits.errors_per_s and now - self._errors[0] < 1.0:
            return FrameVerdict.CLOSE
        return FrameVerdict.DROP_AND_REPORT


@dataclass(order=True, slots=True)
class Place:
    """A place in the queue: the most urgent first, then the oldest."""

    urgency: Urgency
    number: int
    wake: Callable[[], None] = field(compare=False)
    entered_before: int = field(default=0, compare=False)
    """How many of its line had entered when it was taken."""
    gone: bool = field(default=False, compare=False)


class AdmissionQueue:
    """The queue for a site's budget. Pure: ``now`` is monotonic seconds.

    A link that joined calls :meth:`enter` at once, whenever it is woken, and after :meth:`wait_s`. Log-ons
    have their own queue and part of the budget (:mod:`gateway.core.log_ons`), and yield to users who
    have logged on already and wait for their link.

    Invariants: no link overtakes a place that is more urgent or came before, except that slowed newcomers are
    overtaken by all others. The first link has been woken since it became the first. Each that entered gives
    its place back with :meth:`done`, and one that is to be handed over has it from :meth:`handed_over`. The
    queue is as long as there are users without a link. What may free a part of the budget goes through the
    queue, which then wakes its first link.

    No link enters while *openings*, which all queues of a node share, have no room for another. When they
    have room again, each queue is to :meth:`wake_first`.
    """

    def __init__(self, budget: Budget, openings: OpeningLinks | None = None) -> None:
        self.budget: Final = budget
        self.openings: Final = OpeningLinks() if openings is None else openings
        self._waiting_phones: list[Place] = []
        self._others: list[Place] = []
        self._numbers = count()
        self._entered = [0, 0]
        """Places that have entered: of newcomers, and of others."""
        self._log_ons_in_row = 0
        """Log-ons admitted while links wait, since the last link that was lost or moved."""

    def __len__(self) -> int:
        return sum(not place.gone for line in (self._waiting_phones, self._others) for place in line)

    def join(self, urgency: Urgency, wake: Callable[[], None]) -> Place:
        """Take a place; *wake* is called when its turn may have come, and must not call back."""
        place = Place(urgency, next(self._numbers), wake, self._entered[urgency is not Urgency.PERSON])
        heapq.heappush(self._line(urgency), place)
        return place

    def enter(self, place: Place, now: float) -> bool:
        """Enter if it is the place's turn, the node has room, and the budget allows it.

        A link that another node hands over then awaits that; see :meth:`handed_over`.
        """
        if place not in self._firsts() or self.openings.wait_s(now) > 0:
            return False
        if not self.budget.admit(now, place.urgency):
            return False
        self.withdraw(place)
        self._entered[place.urgency is not Urgency.PERSON] += 1
        if place.urgency is not Urgency.PERSON:
            self._log_ons_in_row = 0
        return True

    def left_s(self, place: Place, waited_s: float) -> float:
        """Estimate when it is the turn of a *place* that has waited for *waited_s*; inf if nobody's came.

        Those before it, and those that entered meanwhile, are of its line.
        """
        first = _first(self._line(place.urgency))
        before = 0 if first is None else max(0, place.number - first.number)
        entered = self._entered[place.urgency is not Urgency.PERSON] - place.entered_before
        return waited_s * (before + 1) / entered if entered else math.inf

    def would_admit(self, now: float, urgency: Urgency) -> bool:
        """Return whether a new link would enter at once."""
        before = _first(self._line(urgency)) if self.budget.is_slowed else self._head()
        return before is None and self.openings.wait_s(now) == 0 and self.budget.wait_s(now, urgency) == 0

    def withdraw(self, place: Place) -> None:
        """Leave the queue."""
        was_first = place in self._firsts()
        place.gone = True
        if was_first:
            self.wake_first()

    def admit_log_on(self, now: float, *, is_likely: bool = False) -> bool:
        """Admit a log-on, unless a user who has logged on waits for the link.

        One that *is_likely* to succeed may use the unused half of links, while none waits. It takes turns
        with links that were lost or roam: each successful log-on needs a link, too, which comes before
        theirs. With a single place every waiting link comes first, since it would never find a free place
        otherwise.
        """
        head = self._head()
        is_free = self._leaves_room(head)
        if not (is_free and self.budget.admit_log_on(now, is_likely=is_likely and head is None)):
            return False
        self._log_ons_in_row = 0 if head is None else self._log_ons_in_row + 1
        return True

    def done(self) -> None:
        """Give back the place of a link that entered: it is open, or failed."""
        self.budget.done()
        self.wake_first()

    def handed_over(self) -> bool:
        """Record that a link was handed over; return whether it has a place now."""
        has_place = self.budget.handed_over()
        self.wake_first()
        return has_place

    def hand_over_failed(self) -> None:
        """Record that a link that entered is not handed over."""
        self.budget.hand_over_failed()
        self.wake_first()

    def log_on_done(self) -> None:
        """Give back the place of an admitted log-on: it was answered, or failed."""
        self.budget.log_on_done()
        self.wake_first()

    def share(self, nodes: int, now: float, *, unknown_s: float = 0.0) -> None:
        """Set this node's part of the budget: see :meth:`Budget.share`."""
        self.budget.share(nodes, now, unknown_s=unknown_s)
        self.wake_first()

    def slow(self, now: float, *, is_slowed: bool) -> None:
        """Record whether the node is overloaded: see :meth:`Budget.slow`."""
        if is_slowed is not self.budget.is_slowed:
            self.budget.slow(now, is_slowed=is_slowed)
            self.wake_first()

    def _leaves_room(self, head: Place | None) -> bool:
        """Return whether the first waiting link leaves a log-on its turn."""
        if head is None:
            return True
        if head.urgency is Urgency.PERSON or self.budget.has_one_place:
            return False
        is_in_turn = head.urgency <= Urgency.REOPENING and self.budget.has_place(head.urgency)
        return not (is_in_turn and self._log_ons_in_row)

    def wait_s(self, place: Place, now: float) -> float:
        """Return when to try again, s; inf for a place that is not the first, which will be woken."""
        if place not in self._firsts():
            return math.inf
        return max(self.budget.wait_s(now, place.urgency), self.openings.wait_s(now))

    def log_on_wait_s(self, now: float, *, is_likely: bool = False) -> float:
        """Return when a refused log-on may be tried again, s."""
        return self.budget.log_on_wait_s(now, is_likely=is_likely and self._head() is None)

    def wake_first(self) -> None:
        """Wake the first link: budget or node may have room for it."""
        for place in self._firsts():
            place.wake()

    def _head(self) -> Place | None:
        firsts = self._firsts()
        return firsts[0] if firsts else None

    def _firsts(self) -> list[Place]:
        """Return the places whose turn it is: the first, and the first that slowed newcomers let pass."""
        firsts = [
            place for line in (self._waiting_phones, self._others) if (place := _first(line)) is not None
        ]
        return firsts if self.budget.is_slowed else firsts[:1]

    def _line(self, urgency: Urgency) -> list[Place]:
        return self._waiting_phones if urgency is Urgency.PERSON else self._others


def _first(line: list[Place]) -> Place | None:
    """Return the first place of a line; those that left are removed."""
    while line and line[0].gone:
        heapq.heappop(line)
    return line[0] if line else None


# ---- time in a turn of the event loop ----


OWN_PART: Final = 0.25
"""Time of one kind of work in a turn of the event loop, as a part of the time that all others took. With at
most four kinds that have more to do than they can, the times do not grow without end.
"""
TURN_MAX_S: Final = 0.1
"""The longest time that it may take."""


class ReaderPace(Protocol):
    """When a reader of changes may be sent the next ones: *interval_s* after it was last sent some."""

    sent_at: float
    interval_s: float


class TurnShare:
    """How long one kind of work may take in one turn of the event loop, before other work has its turn.

    The time is short, so that nothing else is delayed. It grows while the work of others makes the turns
    long, as on a node that does not get its core: within a fixed time the work would then never be done.

    Args:
        least_s: The time while the turns are short.
    """

    __slots__ = ("_least_s", "time_s")

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self.time_s = least_s

    def others_took(self, seconds: float) -> None:
        """Record how long all others took in a turn."""
        self.time_s = min(max(self._least_s, OWN_PART * seconds), max(self._least_s, TURN_MAX_S))
