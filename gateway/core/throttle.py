"""How often may something be done, and who must wait?

Pure buckets and counters; ``now`` is monotonic seconds.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class TokenBucket:
    """Lets *rate_per_s* things through in the long run and *burst* at once.

    Invariant: never more than ``burst + rate_per_s * t`` in any t seconds.
    """

    __slots__ = ("_at", "_burst", "_level", "_rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._level = float(burst)
        self._at: float | None = None

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take *amount* when it is there; otherwise nothing changes."""
        self._fill(now)
        if self._level < amount:
            return False
        self._level -= amount
        return True

    def wait_s(self, now: float, amount: float = 1.0) -> float:
        """Return in how many seconds *amount* will be there, if nobody else takes."""
        self._fill(now)
        return max(0.0, (amount - self._level) / self._rate_per_s)

    def is_full(self, now: float) -> bool:
        """Tell whether the bucket remembers nothing of the past."""
        self._fill(now)
        return self._level >= self._burst

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate_per_s)
        if self._at is None or now > self._at:
            self._at = now


class Buckets(Generic[KeyT]):
    """A bucket for each key, for example each client address.

    Bounded: beyond *keys_max* the key used least recently is forgotten, and with it what it took.
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
        return self._bucket(key).take(now)

    def wait_s(self, key: KeyT, now: float) -> float:
        """Return in how many seconds *key* may take one."""
        return self._bucket(key).wait_s(now)

    def _bucket(self, key: KeyT) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate_per_s, self._burst)
        self._buckets.move_to_end(key)
        while len(self._buckets) > self._keys_max:
            self._buckets.popitem(last=False)
        return bucket


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class LogOnGuard:
    """Counts failed log-ons of each name, existing or not, and locks it for a while.

    It locks one try below OSCC-E's own lock-out, so that guessing through the gateway never
    locks a person out of everything else. Names are kept as hashes.

    Args:
        tries: Failures that lock.
        window_s: How long failures are counted and a lock lasts, from the last failure.
        names_max: Names remembered; beyond it the one that failed longest ago is forgotten.
    """

    def __init__(self, *, tries: int = 4, window_s: float = 900.0, names_max: int = 100_000) -> None:
        self._tries = tries
        self._window_s = window_s
        self._names_max = names_max
        self._names: OrderedDict[bytes, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def locked_s(self, site: str, name: str, now: float) -> float:
        """Return for how many seconds the name is still locked; 0 when it is not."""
        failures = self._names.get(_name_hash(site, name))
        if failures is None or failures.count < self._tries:
            return 0.0
        return max(0.0, failures.until - now)

    def failed(self, site: str, name: str, now: float) -> None:
        """Count a failure."""
        key = _name_hash(site, name)
        known = self._names.pop(key, None)
        count = known.count + 1 if known is not None and known.until > now else 1
        self._names[key] = _Failures(count, now + self._window_s)
        while len(self._names) > self._names_max:
            self._names.popitem(last=False)

    def succeeded(self, site: str, name: str) -> None:
        """Forget the failures of a name: the password was right."""
        self._names.pop(_name_hash(site, name), None)


def _name_hash(site: str, name: str) -> bytes:
    text = f"{site}\0{name.strip().casefold()}".encode()
    return hashlib.blake2s(text, digest_size=16, person=b"name").digest()


class Budget:
    """How many log-ons a site is asked to take: a rate, and so many at a time.

    A refusal changes nothing. What was admitted is given back with :meth:`done`.
    """

    def __init__(self, *, rate_per_s: float = 20.0, burst: float = 20.0, in_flight_max: int = 32) -> None:
        self._bucket = TokenBucket(rate_per_s, burst)
        self._in_flight_max = in_flight_max
        self.in_flight = 0

    def admit(self, now: float) -> bool:
        """Take a place and a share of the rate, or neither."""
        if self.in_flight >= self._in_flight_max or not self._bucket.take(now):
            return False
        self.in_flight += 1
        return True

    def wait_s(self, now: float) -> float:
        """Return when to try again, s; at least a second while all places are taken."""
        wait_s = self._bucket.wait_s(now)
        return max(wait_s, 1.0) if self.in_flight >= self._in_flight_max else wait_s

    def done(self) -> None:
        """Give a place back."""
        self.in_flight -= 1
