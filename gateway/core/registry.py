"""Registry: the users, devices, ended sessions, recorded commands and due times of users of this node.

The rules are those of docs/protocol.md: one connection per session, one per user, application and device
(close code 4004), a maximum of devices per user (4006), and the linger after the last connection ended.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Generic, NamedTuple, TypeVar

from gateway.core.commands import CommandRecords
from gateway.core.lease import NO_SLOT, DueSlots
from gateway.core.link import Linger
from gateway.domain.errors import CloseCode, EndReason, SessionRefused, close_for, log_on_window_s
from gateway.domain.model import Application, SmallMap, Ticket, UserId, value

KeyT = TypeVar("KeyT", bound=Hashable)
WaiterT = TypeVar("WaiterT")
_ABSENT_MAX: Final = 10_000


ConnectionT = TypeVar("ConnectionT", bound=Hashable)
"""One connection, by identity: a session's next connection is another object."""


@value()
class ConnectedPhone:
    """The phone at the other end of a connection."""

    user: UserId
    session: str
    """The session's handle (:attr:`gateway.domain.model.Ticket.handle`)."""
    application: Application
    device: str
    """The phone's id, as it named itself."""


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """Limits of connections, and of their silence."""

    connections: int = 10_000
    """Limit of this node's connections, and of the users who linger: beyond it the user whose linger ends
    next is removed.
    """
    devices: int = 5
    """Devices of one user."""
    silent_s: float = 600.0
    """Silence after which a device may be replaced by a new one."""


@dataclass(slots=True, eq=False)
class _UserPhones(Generic[ConnectionT]):
    sessions: SmallMap[str, ConnectionT] = field(default_factory=SmallMap)
    """The connections, the oldest first."""
    devices: dict[Application, dict[str, ConnectionT]] | None = None
    """The same, by application and device; None: there is at most one, as for most users."""
    silent_at: float = -math.inf
    """Earliest time at which a connection is too silent."""
    assistant: str | None = None
    """The handle of the newest Remote Assistant session that has not ended; OSCC-E allows one."""
    left_at: float = 0.0
    until: float = math.inf
    """When the linger ends."""


class Registry(Generic[ConnectionT]):
    """The users of one node.

    Invariants: a user has at most one connection per session, at most one per application and device, and at
    most *devices* in all. A user without a connection lingers, and :meth:`due` reports them exactly once when
    the linger ends. *now* is monotonic seconds everywhere.
    """

    def __init__(
        self,
        last_received_at: Callable[[ConnectionT], float],
        limits: RegistryLimits | None = None,
        linger: Linger | None = None,
    ) -> None:
        self._last_received_at = last_received_at
        self._limits = limits or RegistryLimits()
        self._linger = linger or Linger()
        self._users: dict[UserId, _UserPhones[ConnectionT]] = {}
        self._phones: dict[ConnectionT, ConnectedPhone] = {}
        self._lingering: dict[UserId, None] = {}

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self._phones)

    def would_replace(self, phone: ConnectedPhone, now: float) -> bool:
        """Return whether a device of another session would be replaced.

        Only a session that OSCC-E has accepted may replace one that is served.
        """
        phones = self._users.get(phone.user)
        if phones is None:
            return False
        leaving = self._replaced_by(phones, phone, now)
        return any(self._phones[other].session != phone.session for other in leaving)

    def add(
        self, connection: ConnectionT, phone: ConnectedPhone, now: float
    ) -> tuple[ConnectionT, ...] | CloseCode:
        """Add a connection whose token was opened; return those that it replaces, to be closed with 4004.

        A close code: it is not admitted, and nothing changed. A connection that is here already stays
        and replaces none.
        """
        if connection in self._phones:
            return ()
        phones = self._users.get(phone.user) or _UserPhones()
        replaced = self._replaced_by(phones, phone, now)
        if len(phones.sessions) - len(replaced) >= self._limits.devices:
            return CloseCode.TOO_MANY_DEVICES
        if len(self._phones) - len(replaced) >= self._limits.connections:
            return CloseCode.OVER_CAPACITY
        for other in replaced:
            self._remove_phone(phones, other)
        self._add_phone(phones, connection, phone)
        return replaced

    def remove(self, connection: ConnectionT, now: float) -> None:
        """Remove a connection, if it is here: it may have been replaced. A user without another lingers."""
        phone = self._phones.get(connection)
        if phone is None:
            return
        phones = self._users[phone.user]
        self._remove_phone(phones, connection)
        if not phones.sessions:
            phones.left_at = now
            phones.until = now + self._linger_s(phones)
            self._lingering[phone.user] = None
            self._limit_lingering()

    def ended(self, user: UserId, session: str) -> None:
        """Record that a session ended: it no longer lingers."""
        phones = self._users.get(user)
        if phones is None or phones.assistant != session:
            return
        phones.assistant = None
        if user in self._lingering:
            phones.until = min(phones.until, phones.left_at + self._linger_s(phones))

    def due(self, now: float) -> tuple[UserId, ...]:
        """Remove and return the users whose linger ended."""
        gone = tuple(user for user in self._lingering if self._users[user].until <= now)
        for user in gone:
            del self._lingering[user], self._users[user]
        return gone

    # ---- inner ----

    def _replaced_by(
        self, phones: _UserPhones[ConnectionT], phone: ConnectedPhone, now: float
    ) -> tuple[ConnectionT, ...]:
        """Return the connections that *phone* replaces.

        These are those that may not exist beside it, or else the most silent one of a user with too many.
        """
        same = phones.sessions.get(phone.session), self._of_device(phones, phone)
        excluded = tuple(dict.fromkeys(other for other in same if other is not None))
        if excluded or len(phones.sessions) < self._limits.devices:
            return excluded
        silent = self._most_silent(phones, now)
        return () if silent is None else (silent,)

    def _of_device(self, phones: _UserPhones[ConnectionT], phone: ConnectedPhone) -> ConnectionT | None:
        """Return the connection of the same application and device."""
        if phones.devices is not None:
            return phones.devices.get(phone.application, {}).get(phone.device)
        only = phones.sessions.only
        known = None if only is None else self._phones[only]
        is_same = known is not None and (known.application, known.device) == (phone.application, phone.device)
        return only if is_same else None

    def _most_silent(self, phones: _UserPhones[ConnectionT], now: float) -> ConnectionT | None:
        """Return the most silent connection, if it is silent for too long.

        A user may have thousands: they are compared again only when the one that was the most silent would be
        too silent.
        """
        if now <= phones.silent_at:
            return None
        silent = min(phones.sessions.values(), key=self._last_received_at)
        phones.silent_at = self._last_received_at(silent) + self._limits.silent_s
        return silent if now > phones.silent_at else None

    def _add_phone(
        self, phones: _UserPhones[ConnectionT], connection: ConnectionT, phone: ConnectedPhone
    ) -> None:
        self._phones[connection] = phone
        phones.sessions[phone.session] = connection
        if phones.devices is not None:
            phones.devices.setdefault(phone.application, {})[phone.device] = connection
        elif len(phones.sessions) > 1:
            phones.devices = {}
            for each in phones.sessions.values():
                known = self._phones[each]
                phones.devices.setdefault(known.application, {})[known.device] = each
        phones.until = math.inf
        if phone.application is Application.REMOTE_ASSISTANT:
            phones.assistant = phone.session
        self._users[phone.user] = phones
        self._lingering.pop(phone.user, None)

    def _remove_phone(self, phones: _UserPhones[ConnectionT], connection: ConnectionT) -> None:
        phone = self._phones.pop(connection)
        del phones.sessions[phone.session]
        if len(phones.sessions) < 2:
            phones.devices = None
        elif phones.devices is not None:
            del phones.devices[phone.application][phone.device]

    def _linger_s(self, phones: _UserPhones[ConnectionT]) -> float:
        assisted = phones.assistant is not None
        return self._linger.of(Application.REMOTE_ASSISTANT if assisted else Application.DASHBOARD)

    def _limit_lingering(self) -> None:
        """Keep the number of lingering users within its limit: the one that ends next is removed at once.

        Those whose time is over count: a late node keeps them longer.
        """
        if len(self._lingering) <= self._limits.connections:
            return
        staying = [phones for user in self._lingering if (phones := self._users[user]).until > -math.inf]
        if len(staying) > self._limits.connections:
            min(staying, key=lambda phones: phones.until).until = -math.inf


_ENTRIES_MAX: Final = 10_000


class End(NamedTuple):
    """How a session ended."""

    reason: EndReason
    by: str | None


class _Entry(NamedTuple):
    user: str
    end: End
    since_ms: int
    until_ms: int


class Denylist:
    """Ended sessions, each until its token expires. Users and sessions are given as keyed hashes.

    Bounded: when full, the entry that was added first is removed.
    """

    def __init__(self, *, entries_max: int = _ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def add(self, user: str, session: str, end: End, *, since_ms: int, until_ms: int) -> None:
        """Refuse the session until *until_ms*. The first record of a session is kept."""
        if session not in self._entries:
            self._entries[session] = _Entry(user, end, since_ms, until_ms)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def get(self, session: str, wall_ms: int) -> End | None:
        """Return how the session ended, or None without a record."""
        entry = self._entries.get(session)
        if entry is None:
            return None
        if wall_ms >= entry.until_ms:
            del self._entries[session]
            return None
        return entry.end

    def prune(self, wall_ms: int) -> None:
        """Remove all entries whose time is over, also when nobody asks for them.

        It checks all entries, since a later one may end earlier.
        """
        for session in [session for session, entry in self._entries.items() if wall_ms >= entry.until_ms]:
            del self._entries[session]

    def clear(self, user: str, before_ms: int, *, new: str) -> tuple[str, ...]:
        """Remove the records of the user's sessions from before *before_ms*, when a new log-on began.

        Sessions that this log-on itself ended, by a takeover, stay. So do sessions that were logged off,
        since OSCC-E may not have received the log-off yet. All records of the session *new* are removed.

        Returns:
            The sessions that are no longer refused.
        """
        over = [
            session
            for session, entry in self._entries.items()
            if entry.user == user
            and entry.since_ms < before_ms
            and (entry.end.reason is not EndReason.LOGGED_OFF or session == new)
        ]
        for session in over:
            del self._entries[session]
        return tuple(over)

    def of(self, user: str) -> tuple[tuple[str, End], ...]:
        """Return the user's ended sessions, with how each ended."""
        return tuple((session, entry.end) for session, entry in self._entries.items() if entry.user == user)

    def __len__(self) -> int:
        return len(self._entries)


def refusal(ticket: Ticket, reason: EndReason, by: str | None) -> SessionRefused:
    """Return how to refuse a phone whose session ended for *reason*."""
    code = close_for(reason, remote_assistant=ticket.application is Application.REMOTE_ASSISTANT)
    return SessionRefused(code, reason, by=by, window_s=log_on_window_s(code))


class CommandHistory(Generic[KeyT, WaiterT]):
    """The commands of the users of one node, by user.

    Invariant: a user has one :class:`CommandRecords` while present, and until their outcomes are removed.
    Bounded: of the absent users, the one who left first is removed; then a retry is ``unknown``.
    """

    def __init__(self, *, absent_max: int = _ABSENT_MAX) -> None:
        self._absent_max = absent_max
        self._present: dict[KeyT, CommandRecords[WaiterT]] = {}
        self._absent: OrderedDict[KeyT, CommandRecords[WaiterT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._absent)

    @property
    def users(self) -> tuple[KeyT, ...]:
        """The users with stored commands, or who may have some."""
        return (*self._present, *self._absent)

    def of(self, user: KeyT) -> CommandRecords[WaiterT] | None:
        """Return the user's commands, if there are any."""
        return self._present[user] if user in self._present else self._absent.get(user)

    def came(self, user: KeyT) -> CommandRecords[WaiterT]:
        """Return the user's commands, and record that the user is present."""
        if user not in self._present:
            self._present[user] = self._absent.pop(user) if user in self._absent else CommandRecords()
        return self._present[user]

    def left(self, user: KeyT) -> None:
        """Record that this node no longer acts for the user."""
        records = self._present.pop(user, None)
        if records is None or not len(records):
            return
        self._absent[user] = records
        if len(self._absent) > self._absent_max:
            self._absent.popitem(last=False)

    def expire(self, now: float) -> None:
        """Remove the users whose outcomes were all kept long enough."""
        for user, records in list(self._absent.items()):
            records.expire(now)
            if not len(records):
                del self._absent[user]


# ---- users that need work now ----


class DueTime(Generic[KeyT]):
    """The next due time of one item. It holds only the key of the item."""

    __slots__ = ("_touched", "is_over", "is_touched", "key", "slot", "was_touched")

    def __init__(self, key: KeyT, touched: list[DueTime[KeyT]]) -> None:
        self.key = key
        self.slot = NO_SLOT
        self.is_touched = False
        self.was_touched = True
        """Whether :meth:`DueTimes.take` last returned it because it was touched, not because of its time."""
        self.is_over = False
        self._touched = touched

    def touch(self) -> None:
        """Record a change, after which the due time may be earlier: the item is due at once."""
        if not self.is_touched:
            self.is_touched = True
            self._touched.append(self)


class _Turn(NamedTuple, Generic[KeyT]):
    """The turn of one item; turns are compared by their ends, and by their numbers."""

    until: float
    number: int
    item: KeyT


class WaitQueue(Generic[KeyT]):
    """Items that wait, each for a turn. An item is due when it is touched, and when its turn is over.

    Turns are nearly of one length: most new ones end after all others.
    """

    def __init__(self) -> None:
        self._turns: list[_Turn[KeyT]] = []
        """The turn that ends next comes first."""
        self._turn_of: dict[KeyT, _Turn[KeyT]] = {}
        self._touched: dict[KeyT, None] = {}
        self._numbers = count()
        self.ring: Callable[[], None] = lambda: None
        """Called when :attr:`due_at` may be earlier."""

    def begin(self, item: KeyT, until: float) -> None:
        """Begin a turn of *item*, also if it has one."""
        self.drop(item)
        turn = self._turn_of[item] = _Turn(until, next(self._numbers), item)
        insort(self._turns, turn)
        if self._turns[0] is turn:
            self.ring()

    def touch(self, item: KeyT) -> None:
        """Record a change of *item*, if it waits."""
        if item in self._turn_of:
            if not self._touched:
                self.ring()
            self._touched[item] = None

    def touch_all(self, items: Iterable[KeyT]) -> None:
        """Record a change of those of *items* that wait."""
        if self._turns:
            for item in items:
                self.touch(item)

    def drop(self, item: KeyT) -> None:
        """Remove *item*, if it is here."""
        turn = self._turn_of.pop(item, None)
        if turn is not None:
            del self._turns[bisect_left(self._turns, turn)]
        self._touched.pop(item, None)

    @property
    def due_at(self) -> float:
        """When :meth:`take` returns something, if nothing happens before."""
        if self._touched:
            return -math.inf
        return self._turns[0].until if self._turns else math.inf

    def take(self, now: float) -> Iterable[KeyT]:
        """Return the due items, each once. Where the turn is over, :meth:`begin` or :meth:`drop` follows."""
        due, self._touched = self._touched, {}
        for turn in self._turns:
            if now < turn.until:
                break
            due[turn.item] = None
        return due


class DueTimes(Generic[KeyT]):
    """The due times of all items of one kind, each due up to a slot of :class:`DueSlots` early.

    Invariant: one :meth:`take` returns an item at most once.
    """

    def __init__(self) -> None:
        self._slots: DueSlots[DueTime[KeyT]] = DueSlots()
        self._touched: list[DueTime[KeyT]] = []

    def add(self, key: KeyT) -> DueTime[KeyT]:
        """Return the due time of a new item, which is due at once."""
        due = DueTime(key, self._touched)
        due.touch()
        return due

    def drop(self, due: DueTime[KeyT]) -> None:
        """Remove an item: it is never due again."""
        if not due.is_over:
            due.is_over = True
            del due.key
            self._slots.drop(due)

    @property
    def touched(self) -> Iterator[KeyT]:
        """The items that were touched since the last :meth:`take`."""
        return (due.key for due in self._touched if not due.is_over)

    def put(self, due: DueTime[KeyT], at: float) -> None:
        """Set the next due time of an item; it is due earlier when it is touched."""
        if due.is_over or at == math.inf:
            self._slots.drop(due)
        else:
            self._slots.put(due, at)

    def take(self, now: float) -> list[DueTime[KeyT]]:
        """Return the due items, each to be followed by :meth:`put`: until then it is not due again."""
        touched = [due for due in self._touched if not due.is_over]
        self._touched.clear()
        for due in touched:
            due.is_touched, due.was_touched = False, True
            self._slots.drop(due)
        by_time = self._slots.take(now)
        for due in by_time:
            due.was_touched = False
        return touched + by_time
