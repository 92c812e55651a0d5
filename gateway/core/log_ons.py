"""Log-ons: their admission at one site, and the bound of wrong passwords of each name.

Until OSCC-E answers, a flood of wrong passwords looks like the start of a shift. Three measures separate them
as answers come: limits on the open and failed log-ons of an address; the order of waiting log-ons (addresses
with more right passwords than wrong ones first); and appointments for log-ons that cannot wait, spread as far
as the rate allows.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from gateway.core.rate_limits import BEYOND_PART, AdmissionQueue, drop_over
from gateway.domain.model import normalised

WAIT_S: Final = 2.0
"""Limit of the waiting log-ons, in seconds of the rate; further ones get appointments."""
PATIENCE_S: Final = 3.0
"""The longest wait of a log-on for its turn, however slow OSCC-E is."""
APPOINTMENT_MAX_S: Final = 300.0
"""The longest ``Retry-After`` of the protocol."""
SHARE_PER_S: Final = 1.0
SHARE: Final = 20.0
"""For one address: log-ons without success (under way, or refused by OSCC-E) at once, and per second."""
FAILED_PER_S: Final = 1 / 60
FAILED: Final = 20.0
"""For one address: wrong passwords at once, and per second after that (Synapse:
`rc_login.failed_attempts`).
"""
SUCCEEDED_PER_S: Final = 1 / 600
SUCCEEDED: Final = 60.0
"""Recent successful log-ons that raise an address's limit of wrong ones, by one each."""
BOOKED: Final = 10
"""Appointments of one address that hold a place; each recent successful log-on allows one more."""
SUSPECT: Final = 5
"""Excess of wrong over right passwords from which an address books no place ahead of others."""
LIKELY: Final = 5
"""Excess of right over wrong passwords from which an address's log-ons are likely to succeed."""
_SLACK: Final = 1.1
"""Factor by which appointments are further apart than the rate allows: late log-ons find room."""
_OFFICE_SLACK: Final = 1.2
"""Factor for appointments of one address, at the rate of log-ons that are likely to succeed."""
_LATE_S: Final = 60.0
"""How long after its instant an appointment gives precedence."""
_LOOKED_AT: Final = 16
"""Least recently used addresses to examine: bounds the work under a flood."""
_SPREAD: Final = 64
"""Number of instants over which the appointments are spread that would otherwise be too late."""

Judged = Literal["right", "wrong", "refused", "unjudged"]
"""Result of a log-on: a session; a wrong password; another refusal of OSCC-E; no answer."""


class Decaying:
    """A count that falls by *per_s* each second. Invariant: between 0 and *most*."""

    __slots__ = ("_at", "_count", "_most", "_per_s")

    def __init__(self, per_s: float, most: float = math.inf) -> None:
        self._per_s = per_s
        self._most = most
        self._count = 0.0
        self._at = 0.0

    def count(self, now: float) -> float:
        """Return the present count."""
        return max(0.0, self._count - max(0.0, now - self._at) * self._per_s)

    def add(self, now: float, amount: float = 1.0) -> None:
        """Add *amount*; a negative amount subtracts."""
        self._count = min(self._most, max(0.0, self.count(now) + amount))
        self._at = max(self._at, now)

    def wait_s(self, now: float, most: float) -> float:
        """Return when the count plus one is at most *most*, s."""
        return max(0.0, self.count(now) + 1.0 - most) / self._per_s


@dataclass(slots=True, eq=False)
class AddressRecord:
    """Recent log-ons of one address, or IPv6 /64."""

    share: Decaying = field(default_factory=lambda: Decaying(SHARE_PER_S))
    failed: Decaying = field(default_factory=lambda: Decaying(FAILED_PER_S, FAILED + SUCCEEDED))
    succeeded: Decaying = field(default_factory=lambda: Decaying(SUCCEEDED_PER_S, SUCCEEDED))
    open: int = 0
    """Log-ons that wait or are under way."""
    booked: int = 0
    booked_until: float = 0.0
    """Appointments that hold a place, and the last of them."""
    next_at: float = 0.0
    """The last appointment given."""

    def refused_s(self, now: float) -> float:
        """Return how long the address may not log on; 0 when it may."""
        failed_s = self.failed.wait_s(now, FAILED + self.succeeded.count(now))
        return max(failed_s, self.share.wait_s(now, SHARE))

    def balance(self, now: float) -> int:
        """Return how many more passwords were wrong than right recently."""
        return round(self.failed.count(now) - self.succeeded.count(now))

    def is_likely(self, now: float) -> bool:
        """Return whether the next log-on of the address is likely to succeed."""
        return self.balance(now) <= -LIKELY

    def is_idle(self, now: float) -> bool:
        """Return whether the record has the same effect as a new one."""
        return not self.open and not (self.share.count(now) or self.failed.count(now))

    def is_over(self, now: float) -> bool:
        """Return whether nothing that happened at the address still has an effect."""
        is_past = max(self.booked_until, self.next_at) <= now
        return is_past and self.is_idle(now) and not self.succeeded.count(now)

    def may_book(self, now: float, *, is_due: bool) -> bool:
        """Return whether one more appointment of the address may hold a place ahead of others.

        One that follows an appointment always may: a flood does not wait for appointments.
        """
        if now >= self.booked_until:
            self.booked = 0
        has_room = is_due or self.booked < BOOKED + self.succeeded.count(now)
        return self.balance(now) < SUSPECT and has_room


@dataclass(slots=True, eq=False)
class LogOnPlace:
    """A log-on that requests admission.

    *refused_s*: seconds after which to come back; None while it waits or is admitted.
    """

    client: bytes
    record: AddressRecord
    since: float
    number: int
    nth: int
    """Open log-ons of its address before it."""
    wake: Callable[[], None]
    is_trusted: bool
    is_due: bool
    """Whether it comes at its appointment, or a little later."""
    booked_at: float | None
    """Its appointment, if it holds a place."""
    refused_s: float | None = None

    def rank(self, now: float) -> tuple[bool, bool, float, int, bool, int, float, int]:
        """Return its key in the order: the least comes first."""
        balance = self.record.balance(now)
        return (
            not self.is_trusted,
            balance >= SUSPECT,
            math.inf if self.booked_at is None else self.booked_at,
            balance,
            not self.is_due,
            self.nth,
            self.since,
            self.number,
        )


class _Appointment(NamedTuple):
    since: float
    """Since when its client requests log-ons."""
    at: float
    is_booked: bool


class LogOnQueue:
    """The log-ons of one site that wait for their turn. Pure: ``now`` is monotonic seconds.

    :meth:`join` returns a place, which may be refused already. The waiting task calls :meth:`enter` at once,
    when woken and after :meth:`wait_s`. It ends with :meth:`give_up` after :data:`PATIENCE_S`, or with
    :meth:`withdraw`. It reports the result of an admitted log-on with :meth:`judged`.

    Order: trusted devices; then, unless its address is suspect, a booked log-on that comes in time; then the
    address with the fewest wrong passwords beyond its right ones; then one that comes at another appointment;
    then addresses in turn; then the oldest.

    Bounded: as many wait as the rate admits in :data:`WAIT_S`; beyond that the last in order is refused.
    Beyond *addresses_max* an address without effect is removed, else the one used least recently. Beyond
    *appointments_max* the oldest appointment loses its precedence.

    *admission_queue* is that of the site's links, which has the budget.
    """

    def __init__(
        self, admission_queue: AdmissionQueue, *, addresses_max: int = 10_000, appointments_max: int = 10_000
    ) -> None:
        self._admission_queue: Final = admission_queue
        self._addresses_max: Final = addresses_max
        self._appointments_max: Final = appointments_max
        self._waiting: list[LogOnPlace] = []
        self._addresses: OrderedDict[str, AddressRecord] = OrderedDict()
        self._appointments: OrderedDict[bytes, _Appointment] = OrderedDict()
        self._booked_until = 0.0
        self._numbers: Final[Iterator[int]] = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def addresses(self) -> int:
        """Number of stored addresses."""
        return len(self._addresses)

    @property
    def appointments(self) -> int:
        """Number of stored appointments."""
        return len(self._appointments)

    def join(
        self, client: bytes, address: str, now: float, wake: Callable[[], None], *, is_trusted: bool = False
    ) -> LogOnPlace:
        """Take a place; *wake* is called when its turn may have come, or it was refused.

        Args:
            client: The common id of the log-ons of one person on one device, to recognise an appointment.
            address: The client's address, as the unit that limits apply to.
            now: Monotonic seconds.
            wake: Must not call back.
            is_trusted: Whether the device had a session of this user: its address does not limit it, and it
                comes first.
        """
        record = self._record(address, now)
        known = self._appointment(client, now)
        is_due = known is not None and known.at <= now
        place = LogOnPlace(
            client=client,
            record=record,
            since=now if known is None else known.since,
            number=next(self._numbers),
            nth=record.open,
            wake=wake,
            is_trusted=is_trusted,
            is_due=is_due,
            booked_at=known.at if known is not None and is_due and known.is_booked else None,
        )
        refused_s = 0.0 if is_trusted else record.refused_s(now)
        if refused_s > 0:
            place.refused_s = self._later(place, now, refused_s)
            return place
        record.open += 1
        self._waiting.append(place)
        if len(self._waiting) > self._places:
            self._refuse(max(self._waiting, key=lambda each: each.rank(now)), now)
        return place

    def enter(self, place: LogOnPlace, now: float) -> bool:
        """Enter if it is the place's turn and the budget allows it; then :meth:`judged` must follow."""
        if place.refused_s is not None or self._first(now) is not place:
            return False
        if not self._admission_queue.admit_log_on(now, is_likely=place.record.is_likely(now)):
            return False
        self._waiting.remove(place)
        self._appointments.pop(place.client, None)
        place.record.share.add(now)
        self._wake_first(now)
        return True

    def wait_s(self, place: LogOnPlace, now: float) -> float:
        """Return when to try again, s; inf for a place that is not the first, which will be woken."""
        if self._first(now) is not place:
            return math.inf
        return self._admission_queue.log_on_wait_s(now, is_likely=place.record.is_likely(now))

    def give_up(self, place: LogOnPlace, now: float) -> None:
        """Refuse a place that waited for too long, unless it was refused already."""
        if place.refused_s is None:
            self._refuse(place, now)
            self._wake_first(now)

    def withdraw(self, place: LogOnPlace, now: float) -> None:
        """Remove a place: the client is gone."""
        if place in self._waiting:
            self._waiting.remove(place)
            place.record.open -= 1
            self._wake_first(now)

    def judged(self, place: LogOnPlace, result: Judged, now: float) -> None:
        """Give back an entered place, and record the result of the log-on."""
        record = place.record
        record.open -= 1
        if result in {"right", "unjudged"}:
            record.share.add(now, -1.0)
        if result == "right":
            record.succeeded.add(now)
        elif result == "wrong":
            record.failed.add(now)
            self._refuse_all(record, now)
        self._admission_queue.log_on_done()
        self._wake_first(now)

    @property
    def _places(self) -> int:
        return max(2, math.ceil(self._admission_queue.budget.log_ons_per_s * WAIT_S))

    def _first(self, now: float) -> LogOnPlace | None:
        return min(self._waiting, key=lambda each: each.rank(now), default=None)

    def _wake_first(self, now: float) -> None:
        first = self._first(now)
        if first is not None:
            first.wake()

    def _refuse_all(self, record: AddressRecord, now: float) -> None:
        """Refuse the waiting log-ons of an address that has failed too often."""
        if record.refused_s(now) > 0:
            for place in [each for each in self._waiting if each.record is record and not each.is_trusted]:
                self._refuse(place, now)

    def _refuse(self, place: LogOnPlace, now: float) -> None:
        self._waiting.remove(place)
        place.record.open -= 1
        place.refused_s = self._later(place, now, place.record.refused_s(now))
        place.wake()

    def _later(self, place: LogOnPlace, now: float, limited_s: float) -> float:
        """Return the seconds after which to come back.

        An early log-on keeps its appointment. One that is booked comes after all booked ones of the site, any
        other after those of its address: a flood delays only its own address.

        *limited_s*: how long the address may not log on.
        """
        known = self._appointment(place.client, now)
        if known is not None and now < known.at:
            return known.at - now
        record, per_s = place.record, self._admission_queue.budget.log_ons_per_s
        is_booked = not limited_s and record.may_book(now, is_due=place.is_due)
        earliest = now + (limited_s or self._admission_queue.log_on_wait_s(now) + len(self._waiting) / per_s)
        step_s = _SLACK / per_s if is_booked else _OFFICE_SLACK / ((1.0 + BEYOND_PART) * per_s)
        if limited_s:
            step_s = 1 / SHARE_PER_S
        at = max(earliest, (self._booked_until if is_booked else record.next_at) + step_s)
        if at > now + APPOINTMENT_MAX_S:
            return APPOINTMENT_MAX_S * (0.5 + place.number % _SPREAD / (2 * _SPREAD))
        record.next_at = max(record.next_at, at)
        if is_booked:
            record.booked += 1
            record.booked_until = max(record.booked_until, at)
            self._booked_until = at
        if not limited_s:
            self._remember(place.client, _Appointment(place.since, at, is_booked))
        return at - now

    def _appointment(self, client: bytes, now: float) -> _Appointment | None:
        """Return the appointment of a client, unless it is much too late."""
        known = self._appointments.get(client)
        return None if known is None or now >= known.at + _LATE_S else known

    def _remember(self, client: bytes, appointment: _Appointment) -> None:
        self._appointments[client] = appointment
        self._appointments.move_to_end(client)
        if len(self._appointments) > self._appointments_max:
            self._appointments.popitem(last=False)

    def prune(self, now: float) -> None:
        """Remove addresses of which nothing still counts, also without new ones."""
        drop_over(self._addresses, lambda record: record.is_over(now))

    def _record(self, address: str, now: float) -> AddressRecord:
        record = self._addresses.get(address)
        if record is None:
            if len(self._addresses) >= self._addresses_max:
                oldest = list(itertools.islice(self._addresses.items(), _LOOKED_AT))
                gone = next((name for name, each in oldest if each.is_idle(now)), oldest[0][0])
                del self._addresses[gone]
            record = self._addresses[address] = AddressRecord()
        self._addresses.move_to_end(address)
        return record


# ---- wrong passwords of a name ----


class _Failure(NamedTuple):
    at: float
    origin: str


@dataclass(slots=True)
class _Tries:
    """Wrong passwords of one name since the last right one, and tries without an answer by their origin."""

    wrong: list[_Failure]
    open: list[str] = field(default_factory=list)
    mixed: bool = False
    """Whether tries overlap: then the order in which OSCC-E checked them is unknown."""


WRONG_KEPT_S: Final = 86_400.0
"""How long a wrong password is stored."""


class LogOnGuard:
    """Counts failed log-ons of each name, existing or not, and locks it for a while.

    It locks one try below OSCC-E's own lock-out, so that guessing through the gateway never locks a person
    out of everything else. Names are given as hashes, see :func:`name_hash`.

    There are three bounds. An origin (an address, or a device that had a session of the name) first meets its
    own: it has fewer tries than the name, so that one attacker leaves a try to the person at another origin.
    Then the name has its bound in a window. After that many failures, and no log-on since, the name gets one
    try per window for :data:`WRONG_KEPT_S`.

    Invariant: in any *window_s* OSCC-E gets at most *tries* wrong passwords of a name from devices that are
    not trusted, also when many are tried at once: a try counts as wrong until its answer is there.

    Bounded: beyond *names_max* the name used longest ago is removed; then only OSCC-E's own lock-out protects
    it.
    """

    def __init__(
        self,
        *,
        tries: int = 4,
        window_s: float = 900.0,
        names_max: int = 100_000,
    ) -> None:
        self.tries = tries
        self.tries_of_origin = max(1, tries - 1)
        self.window_s = window_s
        self._names_max = names_max
        self._names: OrderedDict[bytes, _Tries] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def locked_s(self, name: bytes, now: float, origin: str = "", *, is_trusted: bool = False) -> float:
        """Return how long *origin* may try no further password of the name, s.

        *is_trusted*: the origin is a device that had a session of the name, so only its own tries bind it.
        """
        full = (
            failed[-most].at + self.window_s - now
            for failed, _, most in self._bounds(name, now, origin, is_trusted=is_trusted)
            if len(failed) >= most
        )
        return max(full, default=0.0)

    def is_busy(self, name: bytes, now: float, origin: str = "", *, is_trusted: bool = False) -> bool:
        """Return whether *origin* must wait until tries under way are answered; see :meth:`locked_s`."""
        return any(
            len(failed) + under_way >= most
            for failed, under_way, most in self._bounds(name, now, origin, is_trusted=is_trusted)
        )

    def trying(self, name: bytes, origin: str = "") -> None:
        """Record that a password is sent to OSCC-E; one of the three below must follow."""
        known = self._known(name)
        known.open.append(origin)
        known.mixed = known.mixed or len(known.open) > 1

    def failed(self, name: bytes, now: float, origin: str = "") -> None:
        """Record that the name or the password was wrong."""
        known = self._known(name)
        known.wrong = [*known.wrong, _Failure(now, origin)][-2 * self.tries :]
        self._end(name, known, origin)

    def succeeded(self, name: bytes, origin: str = "") -> bool:
        """Remove the failures of a name, as OSCC-E does: the password was right.

        While tries overlap they are kept, since one of them may have been checked after the right one.
        Returns whether they were removed.
        """
        known = self._names.get(name)
        is_alone = known is None or not known.mixed
        if known is not None and is_alone:
            known.wrong.clear()
        self._end(name, known, origin)
        return is_alone

    def unanswered(self, name: bytes, origin: str = "") -> None:
        """Record that no password was checked: OSCC-E did not answer, or refused for another reason."""
        self._end(name, self._names.get(name), origin)

    def _bounds(
        self, name: bytes, now: float, origin: str, *, is_trusted: bool
    ) -> Iterator[tuple[list[_Failure], int, int]]:
        """Yield for each bound the failures that count, how many tries are under way, and the highest sum."""
        known = self._names.get(name)
        if known is None:
            return
        recent = [failure for failure in known.wrong if now < failure.at + self.window_s]
        own = [failure for failure in recent if failure.origin == origin]
        yield own, known.open.count(origin), self.tries_of_origin
        if is_trusted:
            return
        lasting = sum(now < failure.at + WRONG_KEPT_S for failure in known.wrong)
        yield recent, len(known.open), 1 if lasting >= self.tries else self.tries

    def prune(self, now: float) -> None:
        """Remove names whose failures no longer count, also without new ones."""

        def is_over(known: _Tries) -> bool:
            return not known.open and all(now >= failure.at + WRONG_KEPT_S for failure in known.wrong)

        drop_over(self._names, is_over)

    def _known(self, name: bytes) -> _Tries:
        known = self._names.setdefault(name, _Tries([]))
        self._names.move_to_end(name)
        if len(self._names) > self._names_max:
            self._names.popitem(last=False)
        return known

    def _end(self, name: bytes, known: _Tries | None, origin: str) -> None:
        if known is None:
            return
        if origin in known.open:
            known.open.remove(origin)
        known.mixed = known.mixed and bool(known.open)
        if not known.open and not known.wrong:
            del self._names[name]


def name_hash(site: str, name: str, *more: str) -> bytes:
    """Return the key that stands for a name, in any spelling; *more* separates its counters."""
    text = "\0".join((site, normalised(name), *more)).encode()
    return hashlib.blake2s(text, digest_size=16, person=b"name").digest()
