"""How often may something be done, and who must wait?

Token buckets; many of them by key; the guard before a log-on's password; the budget of log-ons
that the nodes of a site share. Pure: ``now`` is monotonic seconds.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

_LOOKED_AT: Final = 16
"""How many of the least recently used buckets are looked at for a full one: bounds the work under a flood."""
_SOON_S: Final = 1.0
_ROUNDING: Final = 1e-6
"""So that a wait of :meth:`TokenBucket.wait_s` is long enough whatever its sums were rounded to."""


class TokenBucket:
    """Lets *rate_per_s* things through in the long run and *burst* at once. It starts full.

    Invariant: never more than ``burst + rate_per_s * t`` in any t seconds.
    """

    __slots__ = ("_at", "_level", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = float(burst)
        self._level = self.burst
        self._at: float | None = None

    def take(self, now: float, amount: float = 1.0, *, reserve: float = 0.0) -> bool:
        """Take *amount* when it is there and *reserve* stays behind; otherwise nothing changes."""
        self._fill(now)
        if self._level + _ROUNDING < amount + reserve:
            return False
        self._level -= amount
        return True

    def wait_s(self, now: float, amount: float = 1.0, *, reserve: float = 0.0) -> float:
        """Return in how many seconds :meth:`take` succeeds, if nobody else takes; inf for never."""
        self._fill(now)
        missing = amount + reserve - self._level
        if missing <= 0:
            return 0.0
        if amount + reserve > self.burst + _ROUNDING or self.rate_per_s <= 0:
            return math.inf
        return missing / self.rate_per_s

    def is_full(self, now: float) -> bool:
        """Tell whether the bucket remembers nothing of the past."""
        self._fill(now)
        return self._level >= self.burst

    def resize(self, now: float, rate_per_s: float, burst: float) -> None:
        """Go on with another rate and burst; what is there stays, within the new burst."""
        self._fill(now)
        self.rate_per_s = rate_per_s
        self.burst = float(burst)
        self._level = min(self._level, self.burst)

    def owe(self, now: float, seconds: float) -> None:
        """Begin empty, and give nothing for *seconds*."""
        self._fill(now)
        self._level = -seconds * self.rate_per_s

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate_per_s)
        if self._at is None or now > self._at:
            self._at = now


class Buckets(Generic[KeyT]):
    """A bucket for each key, for example each client address.

    Bounded: beyond *keys_max* one that is full again goes, as it decides like a new one. Among
    buckets that are not, the one used least recently goes, and with it what it took.
    """

    def __init__(self, rate_per_s: float, burst: float, *, keys_max: int = 10_000) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[KeyT, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: KeyT, now: float) -> bool:
        """Take one of *key*'s."""
        return self._bucket(key, now).take(now)

    def wait_s(self, key: KeyT, now: float) -> float:
        """Return in how many seconds *key* may take one. Asking remembers nothing."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else bucket.wait_s(now)

    def _bucket(self, key: KeyT, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[key] = TokenBucket(self._rate_per_s, self._burst)
        self._buckets.move_to_end(key)
        return bucket

    def _make_room(self, now: float) -> None:
        if len(self._buckets) < self._keys_max:
            return
        oldest = list(islice(self._buckets.items(), _LOOKED_AT))
        gone = next((key for key, bucket in oldest if bucket.is_full(now)), oldest[0][0])
        del self._buckets[gone]


# ---- log-on ----


@dataclass(slots=True)
class _Tries:
    """What is remembered of one name: when wrong passwords were answered, and tries without an answer."""

    wrong: list[float]
    open: int = 0
    mixed: bool = False
    """Whether tries overlap: then nobody knows in which order OSCC-E judged them."""


class LogOnGuard:
    """Counts failed log-ons of each name, existing or not, and locks it for a while.

    It locks one try below OSCC-E's own lock-out, so that guessing through the gateway never
    locks a person out of everything else. Names are kept as hashes.

    Invariant: in any *window_s* OSCC-E is shown at most *tries* wrong passwords of a name, also
    when many are tried at once: a try counts as wrong until its answer is there.

    Bounded: beyond *names_max* the name used longest ago is forgotten; OSCC-E's own lock-out
    is then what is left.

    Args:
        tries: One below OSCC-E's lock-out.
        window_s: For how long a wrong password counts.
        names_max: Names remembered.
    """

    def __init__(self, *, tries: int = 4, window_s: float = 900.0, names_max: int = 100_000) -> None:
        self.tries = tries
        self.window_s = window_s
        self._names_max = names_max
        self._names: OrderedDict[bytes, _Tries] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def locked_s(self, site: str, name: str, now: float) -> float:
        """Return for how many seconds no password of the name may be shown; 0 when one may."""
        known = self._names.get(name_hash(site, name))
        if known is None:
            return 0.0
        counted = [at for at in known.wrong if now < at + self.window_s]
        if len(counted) + known.open < self.tries:
            return 0.0
        # what has no answer yet may turn out right: worth asking again soon
        return _SOON_S if known.open else counted[-self.tries] + self.window_s - now

    def trying(self, site: str, name: str) -> None:
        """Note that a password is shown to OSCC-E; one of the three below must follow."""
        known = self._known(name_hash(site, name))
        known.open += 1
        known.mixed = known.mixed or known.open > 1

    def failed(self, site: str, name: str, now: float) -> None:
        """Note that the name or the password was wrong."""
        known = self._known(name_hash(site, name))
        known.wrong = [*known.wrong, now][-self.tries :]
        self._end(name_hash(site, name), known)

    def succeeded(self, site: str, name: str) -> bool:
        """Forget the failures of a name: the password was right, and OSCC-E forgets them too.

        While tries overlap they are kept: one of them may have been judged after the right one.
        Returns whether they were forgotten.
        """
        known = self._names.get(name_hash(site, name))
        is_alone = known is None or not known.mixed
        if known is not None and is_alone:
            known.wrong.clear()
        self._end(name_hash(site, name), known)
        return is_alone

    def unanswered(self, site: str, name: str) -> None:
        """Note that no password was judged: OSCC-E did not answer, or refused for another reason."""
        self._end(name_hash(site, name), self._names.get(name_hash(site, name)))

    def _known(self, key: bytes) -> _Tries:
        known = self._names.setdefault(key, _Tries([]))
        self._names.move_to_end(key)
        if len(self._names) > self._names_max:
            self._names.popitem(last=False)
        return known

    def _end(self, key: bytes, known: _Tries | None) -> None:
        if known is None:
            return
        known.open = max(0, known.open - 1)
        known.mixed = known.mixed and known.open > 0
        if not known.open and not known.wrong:
            del self._names[key]


def name_hash(site: str, name: str) -> bytes:
    """Return what a name is remembered by, whoever spells it how."""
    text = f"{site}\0{name.strip().casefold()}".encode()
    return hashlib.blake2s(text, digest_size=16, person=b"name").digest()


class Urgency(enum.IntEnum):
    """Why a link or a session is opened at OSCC-E; the more urgent may use more of the budget."""

    PERSON = 0
    """Somebody logs on and waits."""
    ROAMING = 1
    """A phone reappeared on another node."""
    REOPENING = 2
    """A link was lost."""
    GIVING = 3
    """A node drains or rebalances; the phone has what it needs."""


_KEPT_FREE: Final = {
    Urgency.PERSON: 0.0,
    Urgency.ROAMING: 0.25,
    Urgency.REOPENING: 0.5,
    Urgency.GIVING: 0.75,
}
"""Which part of the budget each class leaves to the more urgent ones."""


class Budget:
    """How many log-ons a site is asked to take: a rate, and so many at a time.

    A refusal changes nothing. What was admitted is given back with :meth:`done`.

    Invariant: never more than *in_flight_max* at a time, never faster than the rate, and a class
    begins nothing while less is free than it must leave to the more urgent ones.

    Args:
        rate_per_s: Of the site; its live nodes share it.
        burst: Of the site, shared likewise; each node has at least one.
        in_flight_max: Of the site, shared likewise; each node has at least one.
    """

    def __init__(self, *, rate_per_s: float = 20.0, burst: float = 20.0, in_flight_max: int = 32) -> None:
        self._whole = (rate_per_s, burst, in_flight_max)
        self._bucket = TokenBucket(rate_per_s, burst)
        self._in_flight_max = in_flight_max
        self.in_flight = 0

    def share(self, nodes: int, now: float) -> None:
        """Take this node's part of the budget: one of *nodes* that live."""
        rate_per_s, burst, in_flight_max = self._whole
        self._bucket.resize(now, rate_per_s / nodes, max(1.0, burst / nodes))
        self._in_flight_max = max(1, in_flight_max // nodes)

    def begin_beside(self, nodes: int, now: float, unknown_s: float) -> None:
        """Begin beside others, of which each takes more than its part until it knows of this node.

        Args:
            nodes: How many live, with this one.
            now: Monotonic seconds.
            unknown_s: Within which time they know of it.
        """
        self.share(nodes, now)
        if nodes > 1:
            self._bucket.owe(now, unknown_s)

    def admit(self, now: float, urgency: Urgency = Urgency.PERSON) -> bool:
        """Take a place and a share of the rate, or neither."""
        if not self._has_place(urgency) or not self._bucket.take(now, reserve=self._reserve(urgency)):
            return False
        self.in_flight += 1
        return True

    def wait_s(self, now: float, urgency: Urgency = Urgency.PERSON) -> float:
        """Return when to try again, s; at least a second while all places are taken."""
        wait_s = self._bucket.wait_s(now, reserve=self._reserve(urgency))
        return wait_s if self._has_place(urgency) else max(wait_s, _SOON_S)

    def done(self) -> None:
        """Give a place back."""
        self.in_flight = max(0, self.in_flight - 1)

    def _has_place(self, urgency: Urgency) -> bool:
        """Tell whether enough places are free. While none is taken every class may begin."""
        kept = math.floor(self._in_flight_max * _KEPT_FREE[urgency])
        return self.in_flight < self._in_flight_max - kept

    def _reserve(self, urgency: Urgency) -> float:
        """Return how much must stay; never so much that the class could not ever begin."""
        burst = self._bucket.burst
        return min(burst * _KEPT_FREE[urgency], burst - 1.0)
