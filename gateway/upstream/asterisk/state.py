"""State of an Asterisk's queues: members, callers and contacts, from rows and events of AMI.

Pure: messages in, values out; ``now_ms`` is an argument. Rows of ``QueueStatus`` and events come on one
connection in one order, and both have absolute values. So each is applied as it comes. When a row and an
event overtake each other, the next one corrects the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, Literal, TypeVar

from gateway.upstream.asterisk.ami import AmiMessage, decimal, whole

STATES: Final = {
    0: "unknown",
    1: "not in use",
    2: "in use",
    3: "busy",
    4: "invalid",
    5: "unavailable",
    6: "ringing",
    7: "ringing, in use",
    8: "on hold",
}
"""Device states as Asterisk names them."""
UNAVAILABLE_STATES: Final = frozenset({4, 5})
"""Device states INVALID and UNAVAILABLE: the telephone is not reachable."""
BUSY_STATES: Final = frozenset({2, 3, 6, 7, 8})
RINGING_STATES: Final = frozenset({6, 7})
ON_HOLD: Final = 8
LEFT_UNANSWERED_MS: Final = 500
"""How long after a caller left the queue unanswered telephones may still be shown as ringing."""
SETTLES_MS: Final = 500
"""How long after the end of a contact its telephone may still be busy: device states come separately."""
DOUBTED_MS: Final = 10_000
"""How long whole readings must show a telephone without a call until its contact counts as over."""
STEADY_MS: Final = 2_000
"""``Wait`` has whole seconds: a caller's instant moves only by more than this."""
UNLISTED_MOST: Final = 32
"""Unknown queues that may each cause a reading of everything between two regular ones."""

Phase = Literal["ringing", "talking"]
KeyT = TypeVar("KeyT", int, str)


@dataclass(slots=True)
class Membership:
    """One membership: an interface in a queue. Times of Asterisk are in its own seconds; 0 is never."""

    queue: str
    interface: str
    name: str = ""
    dynamic: bool = False
    penalty: int = 0
    calls_taken: int = 0
    last_call_s: int = 0
    last_pause_s: int = 0
    login_s: int = 0
    in_call: bool = False
    status: int = 0
    paused: bool = False
    reason: str = ""
    wrapup_s: int = 0
    unpaused_ms: int | None = None
    """When the end of its pause was observed, by the gateway's clock."""

    @property
    def is_there(self) -> bool:
        """Whether its telephone can be reached."""
        return self.status not in UNAVAILABLE_STATES

    @property
    def is_busy(self) -> bool:
        """Whether it is in a call, of this queue or another."""
        return self.in_call or self.status in BUSY_STATES


@dataclass(slots=True)
class Contact:
    """A caller whom a queue has offered to an interface, or connected with it."""

    caller: str
    """The caller's Uniqueid; empty for a call that began before the connection."""
    queue: str
    phase: Phase
    since_ms: int | None
    ends_ms: int | None = None
    """When it ends unless it was answered: its caller has left the queue."""


@dataclass(slots=True)
class QueueState:
    """One queue: its figures, members and callers."""

    name: str
    strategy: str = ""
    length_max: int = 0
    weight: int = 0
    waiting: int = 0
    hold_s: int = 0
    completed: int = 0
    abandoned: int = 0
    threshold_s: int = 0
    level_pct: float | None = None
    members: dict[str, Membership] = field(default_factory=dict)
    callers: dict[str, int] = field(default_factory=dict)
    """Uniqueid → since when the caller waits, by the gateway's clock."""
    recount: set[str] = field(default_factory=set)
    """Interfaces that the figures may no longer count as they are."""
    activities: dict[str, str] = field(default_factory=dict)
    """Interface → as what the figures count it."""
    counts: dict[str, int] = field(default_factory=dict)
    """Activity → number of members; kept, so that an event counts its own member and no other."""
    until_ms: dict[str, int] = field(default_factory=dict)
    """Interface → until when its activity lasts, where time alone ends it."""

    def count(self, interface: str, activity: str | None, until_ms: int | None) -> None:
        """Count a member as *activity*; None: it is gone."""
        before = self.activities.pop(interface, None)
        if before is not None:
            self.counts[before] -= 1
        self.until_ms.pop(interface, None)
        if activity is not None:
            self.activities[interface] = activity
            self.counts[activity] = self.counts.get(activity, 0) + 1
            if until_ms is not None:
                self.until_ms[interface] = until_ms


class Queues:
    """All queues of one Asterisk.

    *changed_queues* and *changed_interfaces* contain the possible changes since they were last taken.
    *unknown* contains queues of events that no reading has shown: everything is read because of them.
    *unlisted* contains those of them since the last regular reading that none has shown since either.
    """

    def __init__(self) -> None:
        self.queues: dict[str, QueueState] = {}
        self.contacts: dict[str, dict[tuple[str, str], Contact]] = {}
        """Interface → its contacts by (queue, Uniqueid)."""
        self.memberships: dict[str, dict[str, Membership]] = {}
        """Interface → its memberships by queue."""
        self.changed_queues: set[str] = set()
        self.changed_interfaces: set[str] = set()
        self.shape = 0
        """Increased when a queue or a membership is added, removed or renamed."""
        self.unknown: set[str] = set()
        self.unlisted: set[str] = set()
        self.refresh: set[str] = set()
        """Queues whose figures are to be read, as no event has them."""
        self.settling: dict[str, int] = {}
        """Interface → until when its telephone may be busy with a contact that has ended, ms."""
        self._doubted: dict[tuple[str, tuple[str, str]], int] = {}
        """Interface and key of a contact that a whole reading does not show → since when, ms."""
        self._passes: list[Pass] = []

    # ---- readings ----

    def begin(self, *, with_members: bool) -> Pass:
        """Begin a reading: the rows of one ``QueueStatus`` follow, among events."""
        one = Pass(self, with_members=with_members)
        self._passes.append(one)
        return one

    def abandon(self, one: Pass) -> None:
        """Drop a reading whose end does not come."""
        if one in self._passes:
            self._passes.remove(one)

    def forget_contacts(self) -> None:
        """Remove all contacts, since their ends may have been missed while the connection was away."""
        for interface, contacts in list(self.contacts.items()):
            for key in list(contacts):
                self._remove_contact(interface, key)

    def end_missed_contacts(self, member: Membership, now_ms: int) -> None:
        """End conversations that whole readings do not show: the event of their end was missed.

        A member who left the queue and joined it again counts as in no call while the conversation goes on;
        the state of the telephone shows it.
        """
        for key, contact in list(self.contacts.get(member.interface, {}).items()):
            if contact.queue != member.queue or contact.phase != "talking":
                continue
            if member.is_busy:
                self._doubted.pop((member.interface, key), None)
            elif now_ms - self._doubted.setdefault((member.interface, key), now_ms) >= DOUBTED_MS:
                self._remove_contact(member.interface, key)

    def drop_queue(self, name: str) -> None:
        """Remove a queue, its members and its contacts."""
        queue = self.queues.pop(name)
        for interface in list(queue.members):
            self.drop_member(queue, interface)
        for interface, contacts in list(self.contacts.items()):
            for key in [key for key in contacts if key[0] == name]:
                self._remove_contact(interface, key)
        self.changed_queues.add(name)
        self.shape += 1

    def drop_member(self, queue: QueueState, interface: str) -> None:
        """End a membership."""
        if queue.members.pop(interface, None) is None:
            return
        memberships = self.memberships[interface]
        del memberships[queue.name]
        if not memberships:
            del self.memberships[interface]
        self._touch(queue.name, interface)
        self.shape += 1

    # ---- events ----

    def event(self, event: AmiMessage, now_ms: int) -> None:
        """Apply one event; those that do not concern queues are ignored."""
        match kind := event.get("Event", ""):
            case (
                "QueueMemberAdded" | "QueueMemberRemoved" | "QueueMemberPause" | "QueueMemberPenalty"
                | "QueueMemberRinginuse" | "QueueMemberStatus"
            ):  # fmt: skip
                apply = self._member_event
            case "QueueCallerJoin" | "QueueCallerLeave" | "QueueCallerAbandon":
                apply = self._caller_event
            case "AgentCalled" | "AgentConnect" | "AgentRingNoAnswer" | "AgentComplete" | "AgentDump":
                apply = self._contact_event
            case _:
                return
        name = event.get("Queue", "")
        queue = self.queues.get(name)
        if queue is None:
            self._missed(name)
        else:
            apply(kind, queue, event, now_ms)

    def _member_event(self, kind: str, queue: QueueState, event: AmiMessage, now_ms: int) -> None:
        interface = interface_of(event)
        if kind == "QueueMemberRemoved":
            self.drop_member(queue, interface)
        else:
            self.member(event, interface, now_ms)
            for one in self._passes:
                one.saw_member(queue.name, interface)

    def _caller_event(self, kind: str, queue: QueueState, event: AmiMessage, now_ms: int) -> None:
        caller = event.get("Uniqueid", "")
        self.changed_queues.add(queue.name)
        match kind:
            case "QueueCallerJoin":
                queue.waiting = max(0, whole(event, "Count"))
                self.waits(queue, caller, now_ms)
                for one in self._passes:
                    one.saw_caller(queue.name, caller)
            case "QueueCallerLeave":
                queue.waiting = max(0, whole(event, "Count"))
                queue.callers.pop(caller, None)
                self._left(queue.name, caller, now_ms)
            case _:
                self.refresh.add(queue.name)
                self._over(queue.name, caller, now_ms)

    def _contact_event(self, kind: str, queue: QueueState, event: AmiMessage, now_ms: int) -> None:
        interface, caller = interface_of(event), event.get("Uniqueid", "")
        match kind:
            case "AgentCalled":
                self._contact(interface, Contact(caller, queue.name, "ringing", now_ms))
            case "AgentConnect":
                self._over(queue.name, caller, now_ms)
                self._contact(interface, Contact(caller, queue.name, "talking", now_ms))
                self.refresh.add(queue.name)
            case "AgentRingNoAnswer":
                self._end_contact(interface, queue.name, caller, now_ms)
            case _:
                if (
                    interface in queue.members
                ):  # otherwise it is in a call until its telephone's state arrives
                    queue.members[interface].in_call = False
                self.refresh.add(queue.name)
                self._end_contact(interface, queue.name, caller, now_ms)
        self._touch(queue.name, interface)

    def due(self, now_ms: int) -> None:
        """End the contacts whose caller left the queue unanswered, and settle device states."""
        for interface, contacts in list(self.contacts.items()):
            for key, contact in list(contacts.items()):
                if contact.ends_ms is not None and contact.ends_ms <= now_ms:
                    self._remove_contact(interface, key)
        for interface in [one for one, until_ms in self.settling.items() if until_ms <= now_ms]:
            del self.settling[interface]
            self.changed_interfaces.add(interface)

    # ---- inside ----

    def _missed(self, name: str) -> None:
        """Have everything read because of an unknown queue, once until the next regular reading.

        An account may be sent events of queues that it is not shown.
        """
        if name not in self.unlisted and len(self.unlisted) < UNLISTED_MOST:
            self.unlisted.add(name)
            self.unknown.add(name)

    def member(self, message: AmiMessage, interface: str, now_ms: int) -> Membership | None:
        """Apply a row or an event of a membership; None when its queue is unknown."""
        queue = self.queues.get(message.get("Queue", ""))
        if queue is None or not interface:
            return None
        member = queue.members.get(interface)
        if member is None:
            member = queue.members[interface] = Membership(queue.name, interface)
            self.memberships.setdefault(interface, {})[queue.name] = member
            queue.recount.add(interface)
            self.shape += 1
        was_paused, before, named = member.paused, _values(member), member.name
        _apply(member, message)
        if member.name != named:
            self.shape += 1
        if member.paused:
            member.unpaused_ms = None
        elif was_paused:
            member.unpaused_ms = now_ms
        if _values(member) != before:
            self._touch(queue.name, interface)
        return member

    def waits(self, queue: QueueState, caller: str, since_ms: int) -> None:
        """Record that a caller waits in a queue; its instant stays steady."""
        known = queue.callers.get(caller)
        if known is None or abs(known - since_ms) > STEADY_MS:
            queue.callers[caller] = since_ms
            self.changed_queues.add(queue.name)

    def _contact(self, interface: str, contact: Contact) -> None:
        self.contacts.setdefault(interface, {})[contact.queue, contact.caller] = contact
        self._touch_all(interface)

    def _left(self, queue: str, caller: str, now_ms: int) -> None:
        for contacts in self.contacts.values():
            contact = contacts.get((queue, caller))
            if contact is not None and contact.phase == "ringing":
                contact.ends_ms = now_ms + LEFT_UNANSWERED_MS

    def _over(self, queue: str, caller: str, now_ms: int) -> None:
        """End the ringing for a caller who is connected, or gone."""
        for interface, contacts in list(self.contacts.items()):
            contact = contacts.get((queue, caller))
            if contact is not None and contact.phase == "ringing":
                self._remove_contact(interface, (queue, caller))
                self.settling[interface] = now_ms + SETTLES_MS

    def _end_contact(self, interface: str, queue: str, caller: str, now_ms: int) -> None:
        contacts = self.contacts.get(interface, {})
        self.settling[interface] = now_ms + SETTLES_MS
        if (queue, caller) in contacts:
            self._remove_contact(interface, (queue, caller))
            return
        # the caller's channel may be gone already: then the event names no caller
        for key, contact in list(contacts.items()):
            if contact.queue == queue and (not caller or not contact.caller):
                self._remove_contact(interface, key)

    def _remove_contact(self, interface: str, key: tuple[str, str]) -> None:
        contacts = self.contacts[interface]
        del contacts[key]
        self._doubted.pop((interface, key), None)
        if not contacts:
            del self.contacts[interface]
        self._touch(key[0], interface)
        self._touch_all(interface)

    def _touch(self, queue: str, interface: str) -> None:
        self.changed_queues.add(queue)
        self.changed_interfaces.add(interface)
        if queue in self.queues:
            self.queues[queue].recount.add(interface)

    def _touch_all(self, interface: str) -> None:
        """Have an interface counted again in all its queues."""
        memberships = self.memberships.get(interface, {})
        self.changed_queues.update(memberships)
        for name in memberships:
            self.queues[name].recount.add(interface)


class EventsCheck:
    """Whether events of queues come on a connection; an account without ``read=agent`` is sent none."""

    def __init__(self) -> None:
        self.come = False
        """Whether one has come, or it was reported that none comes."""
        self._ended: int | None = None
        self._grown = 0

    def read(self, queues: Queues) -> bool:
        """Process a reading of all queues; return whether it shows, for the first time, that no events come.

        Calls have ended in two readings, and none of their events has come.
        """
        before = self._ended
        self._ended = sum(each.completed + each.abandoned for each in queues.queues.values())
        if not self.come and before is not None and self._ended > before:
            self._grown += 1
            self.come = self._grown > 1
            return self.come
        return False


class Pass:
    """One reading of the queues, row by row.

    Invariant: data of an event during the reading does not count as missing.
    """

    def __init__(self, queues: Queues, *, with_members: bool) -> None:
        self._queues = queues
        self._with_members = with_members
        self._listed: QueueState | None = None
        """The queue whose rows are being received."""
        self._names: set[str] = set()
        self._members: set[str] = set()
        self._callers: set[str] = set()

    def row(self, row: AmiMessage, now_ms: int) -> None:
        """Apply one row; rows of other kinds are ignored."""
        match row.get("Event"):
            case "QueueParams":
                self._end_queue()
                self._begin_queue(row)
            case "QueueMember" if self._listed is not None:
                member = self._queues.member(row, interface_of(row), now_ms)
                if member is not None:
                    self._members.add(member.interface)
                    if self._with_members and "InCall" in row:
                        self._queues.end_missed_contacts(member, now_ms)
            case "QueueEntry" if self._listed is not None:
                caller = row.get("Uniqueid", "")
                self._callers.add(caller)
                self._queues.waits(self._listed, caller, now_ms - 1000 * whole(row, "Wait"))

    def end(self, only: str | None = None) -> None:
        """End the reading. *only*: it covered one queue, so it shows nothing about others."""
        self._end_queue()
        asked = set(self._queues.queues) if only is None else {only} & set(self._queues.queues)
        for name in asked - self._names:
            self._queues.drop_queue(name)
        self._queues.abandon(self)

    def saw_member(self, queue: str, interface: str) -> None:
        """Record an event of a membership."""
        if self._listed is not None and self._listed.name == queue:
            self._members.add(interface)

    def saw_caller(self, queue: str, caller: str) -> None:
        """Record an event of a caller."""
        if self._listed is not None and self._listed.name == queue:
            self._callers.add(caller)

    def _begin_queue(self, row: AmiMessage) -> None:
        name, queues = row.get("Queue", ""), self._queues
        queue = queues.queues.get(name)
        if queue is None:
            queue = queues.queues[name] = QueueState(name)
            queues.changed_queues.add(name)
            queues.shape += 1
            if not self._with_members:
                queues.unknown.add(name)  # it may have members: everything is read
        before = _figures(queue)
        queue.strategy = row.get("Strategy", "")
        queue.length_max = whole(row, "Max")
        queue.weight = whole(row, "Weight")
        queue.waiting = max(0, whole(row, "Calls"))
        queue.hold_s = whole(row, "Holdtime")
        queue.completed = whole(row, "Completed")
        queue.abandoned = whole(row, "Abandoned")
        queue.threshold_s = whole(row, "ServiceLevel")
        queue.level_pct = decimal(row, "ServicelevelPerf")
        if _figures(queue) != before:
            queues.changed_queues.add(name)
        if self._with_members:
            queues.unknown.discard(name)
        queues.unlisted.discard(name)
        queues.refresh.discard(name)
        self._names.add(name)
        self._listed, self._members, self._callers = queue, set(), set()

    def _end_queue(self) -> None:
        queue, self._listed = self._listed, None
        if queue is None:
            return
        for caller in queue.callers.keys() - self._callers:
            del queue.callers[caller]
            self._queues.changed_queues.add(queue.name)
        if self._with_members:
            for interface in queue.members.keys() - self._members:
                self._queues.drop_member(queue, interface)


def interface_of(message: AmiMessage) -> str:
    """Return the interface of a row or an event: rows and old versions call it location."""
    return message.get("Interface") or message.get("Location", "")


def _apply(member: Membership, message: AmiMessage) -> None:
    """Store the fields of *member*; a field that a version does not send is not changed."""
    member.name = message.get("MemberName") or message.get("Name") or member.name
    if "Membership" in message:
        member.dynamic = message["Membership"] != "static"
    member.penalty = whole(message, "Penalty", member.penalty)
    member.calls_taken = whole(message, "CallsTaken", member.calls_taken)
    member.last_call_s = whole(message, "LastCall", member.last_call_s)
    member.last_pause_s = whole(message, "LastPause", member.last_pause_s)
    member.login_s = whole(message, "LoginTime", member.login_s)
    member.in_call = message.get("InCall", "1" if member.in_call else "0") == "1"
    member.status = whole(message, "Status", member.status)
    member.wrapup_s = whole(message, "Wrapuptime", member.wrapup_s)
    member.paused = message.get("Paused", "1" if member.paused else "0") == "1"
    reason = message.get("PausedReason")
    if reason is None and message.get("Event") == "QueueMemberPause":
        reason = message.get("Reason")
    # sent once, at the end of a pause, and not stored by Asterisk
    member.reason = (member.reason if reason is None else reason) if member.paused else ""


_figures: Final[Callable[[QueueState], object]] = attrgetter(
    "strategy", "length_max", "weight", "waiting", "hold_s", "completed", "abandoned", "threshold_s",
    "level_pct",
)  # fmt: skip
"""Returns what a reading of queues shows of one."""
_values: Final[Callable[[Membership], object]] = attrgetter(
    "penalty", "calls_taken", "last_call_s", "last_pause_s", "login_s", "in_call", "status", "paused",
    "reason", "wrapup_s", "dynamic", "name",
)  # fmt: skip
"""Returns what a row or an event shows of a membership."""


REASON_BYTES: Final = 79
"""Bytes of a reason that Asterisk stores."""


def is_same_reason(one: str, other: str) -> bool:
    """Return whether two reasons are equal in Asterisk, which stores 79 bytes and may cut a character."""
    return _kept(one) == _kept(other)


def _kept(reason: str) -> str:
    return reason.encode()[:REASON_BYTES].decode("utf-8", "ignore").rstrip("\ufffd")


def take(waiting: dict[KeyT, None], most: int) -> list[KeyT]:
    """Remove and return the first of *waiting*, *most* at a time."""
    taken = list(waiting)[:most]
    for one in taken:
        del waiting[one]
    return taken
