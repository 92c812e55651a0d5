"""A small Asterisk: queues, members, scripted callers, AstDB and accounts, behind AMI.

It shares no code with the adapter, and behaves like the recordings of a live Asterisk
(``tests/asterisk/transcripts``): answers come before their events, a reload of queues.conf is silent, an
``AgentComplete`` may lack its caller, and a kill loses the last second's changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.simulator.ami_session import Headers, ManagerInterface, Session

VERSION: Final = "GIT-master-f0c1c1a7b7"
PERSIST_S: Final = 1.0
"""Interval in which AstDB is written: a kill loses later changes."""


@dataclass
class Membership:
    """An interface in a queue."""

    interface: str
    name: str
    dynamic: bool = True
    penalty: int = 0
    calls: int = 0
    last_call: int = 0
    last_pause: int = 0
    log_in: int = 0
    in_call: bool = False
    status: int = 1
    paused: bool = False
    reason: str = ""
    ring_in_use: bool = False
    wrap_up: int = 0
    state_interface: str = ""


@dataclass
class Waiting:
    """A caller in a queue."""

    unique: str
    number: str
    since: float
    came_at: int = 1  # the first position of the caller


@dataclass
class Queue:
    """A queue of queues.conf."""

    name: str
    strategy: str = "rrmemory"
    max: int = 0
    weight: int = 0
    service_level: int = 20
    hold: int = 0
    talk: int = 0
    completed: int = 0
    abandoned: int = 0
    within: int = 0
    pauses_absent: bool = False
    """``autopause = all``: a member who does not answer is paused in all queues."""
    members: dict[str, Membership] = field(default_factory=dict)
    callers: list[Waiting] = field(default_factory=list)


class FakeAsterisk(ManagerInterface):
    """The whole Asterisk. Methods without an underscore are the script of a test.

    Args:
        now: Returns wall-clock seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.queues: dict[str, Queue] = {}
        self.db: dict[str, dict[str, str]] = {}
        self.version = VERSION
        self.forgets_caller = False
        """Whether the next ``AgentComplete`` lacks its caller."""
        self.in_use_at_once = True
        """Whether a telephone that answers is in use at once; otherwise it rings until :meth:`device`."""
        self.not_in_queue_add: frozenset[str] = frozenset()
        """Headers that its ``QueueAdd`` ignores: Reason and Wrapuptime in older versions."""
        self.contexts = {"desk", "oscc-remote", "from-queue"}
        """Contexts of the dialplan."""
        self._now = now
        self._unique = 0
        self._written: tuple[dict[str, dict[str, str]], dict[str, Queue]] = ({}, {})
        """AstDB and queues as stored on the disk."""
        self._changed_at: float | None = None
        """The time of the first change that is not on the disk."""

    # ---- life ----

    async def stop(self, *, kill: bool = False) -> None:
        """End, cleanly or by a kill, which loses the last second; callers are gone in both cases."""
        if not kill:
            self.send_event("Shutdown", [("Shutdown", "Cleanly"), ("Restart", "False")], "system")
        elif self._changed_at is not None and self._now() - self._changed_at < PERSIST_S:
            self.db, self.queues = copy.deepcopy(self._written)
        self._write()
        for queue in self.queues.values():
            queue.callers.clear()
            queue.completed = queue.abandoned = queue.within = queue.hold = 0
            for member in queue.members.values():
                member.in_call, member.status, member.calls, member.last_call = False, 1, 0, 0
        await self.close()

    def _write(self) -> None:
        self._written, self._changed_at = copy.deepcopy((self.db, self.queues)), None

    def _change(self) -> None:
        """Record that something is about to change; what changed a second ago is on the disk by now."""
        now = self._now()
        if self._changed_at is not None and now - self._changed_at >= PERSIST_S:
            self._write()
        if self._changed_at is None:
            self._changed_at = now

    # ---- script ----

    def add_queue(self, name: str, *, strategy: str = "rrmemory", length: int = 0) -> Queue:
        """Add a queue."""
        queue = self.queues[name] = Queue(name, strategy, length)
        self._write()
        return queue

    def add_static(self, queue: str, interface: str, name: str, *, penalty: int = 0, state: str = "") -> None:
        """Add a member to queues.conf: silently, as after a reload."""
        member = Membership(interface, name, dynamic=False, penalty=penalty, log_in=int(self._now()))
        member.state_interface = state or interface
        self.queues[queue].members[interface] = member
        self._write()

    def remove_static(self, queue: str, interface: str) -> None:
        """Remove a member from queues.conf, silently."""
        self.queues[queue].members.pop(interface, None)
        self._write()

    def remove_queue(self, name: str) -> None:
        """Remove a queue from queues.conf, silently."""
        del self.queues[name]
        self._write()

    def reload_at_console(self) -> None:
        """Reload queues.conf at the console: accounts with ``read=system`` receive an event."""
        self.send_event("Reload", [("Module", "app_queue.so"), ("Status", "0")], "system")

    def device(self, interface: str, status: int) -> None:
        """Change the state of a telephone, in all queues."""
        for queue in self.queues.values():
            member = queue.members.get(interface)
            if member is not None and member.status != status:
                member.status = status
                self._send_member("QueueMemberStatus", queue, member)

    def set_paused(self, interface: str, reason: str | None) -> None:
        """Pause a person at the desk, with a reason, or end the pause (None)."""
        for queue in self.queues.values():
            member = queue.members.get(interface)
            if member is not None and (member.paused or reason is not None):
                member.paused, member.reason = reason is not None, reason or ""
                if reason is not None:
                    member.last_pause = int(self._now())
                self._send_member("QueueMemberPause", queue, member)

    def join(self, queue_name: str, number: str = "+4989100000") -> str:
        """Add a caller to a queue; return its Uniqueid."""
        queue = self.queues[queue_name]
        self._unique += 1
        unique = f"sandbox-{int(self._now())}.{self._unique}"
        queue.callers.append(Waiting(unique, number, self._now(), len(queue.callers) + 1))
        at = [("Position", str(len(queue.callers))), ("Count", str(len(queue.callers)))]
        self.send_event("QueueCallerJoin", [*self._channel(queue, unique, number), *at])
        return unique

    def ring(self, queue_name: str, unique: str, interface: str) -> None:
        """Let a queue ring an interface for a caller."""
        queue = self.queues[queue_name]
        caller = self._caller(queue, unique)
        self.send_event("AgentCalled", self._with_member(queue, caller, interface))
        # a Local channel without its own device is in use while it rings
        has_device = queue.members[interface].state_interface not in {"", interface}
        self.device(interface, 6 if has_device else 2)

    def answer(self, queue_name: str, unique: str, interface: str) -> None:
        """Let a member answer."""
        queue = self.queues[queue_name]
        caller = self._caller(queue, unique)
        self._leave(queue, caller)
        held = int(self._now() - caller.since)
        queue.hold = held
        queue.within += held <= queue.service_level
        more = [("HoldTime", str(held)), ("RingTime", "2")]
        self.send_event("AgentConnect", [*self._with_member(queue, caller, interface), *more])
        queue.members[interface].in_call = True
        if self.in_use_at_once:
            queue.members[interface].status = 1
            self.device(interface, 2)

    def complete(self, queue_name: str, unique: str, interface: str) -> None:
        """End a call."""
        queue = self.queues[queue_name]
        queue.completed += 1
        for other in self.queues.values():  # shared_lastcall
            member = other.members.get(interface)
            if member is not None:
                member.last_call = int(self._now())
                member.calls += 1
                member.in_call = member.in_call and other is not queue
                member.status = 2
        self.device(interface, 1)
        caller = Waiting(unique, "", self._now())
        headers = self._with_member(queue, caller, interface)
        if self.forgets_caller:
            self.forgets_caller = False
            headers = headers[-3:]
        self.send_event(
            "AgentComplete", [*headers, ("HoldTime", "2"), ("TalkTime", "6"), ("Reason", "agent")]
        )

    def ring_no_answer(self, queue_name: str, unique: str, interface: str) -> None:
        """Let a member not answer."""
        queue = self.queues[queue_name]
        caller = self._caller(queue, unique)
        headers = self._with_member(queue, caller, interface)
        self.send_event("AgentRingNoAnswer", [*headers, ("RingTime", "12000")])
        if queue.pauses_absent:
            self.set_paused(interface, "Auto-Pause")
        self.device(interface, 1)

    def abandon(self, queue_name: str, unique: str) -> None:
        """Let a caller hang up while waiting."""
        queue = self.queues[queue_name]
        caller = self._caller(queue, unique)
        queue.abandoned += 1
        at = [
            ("Position", str(queue.callers.index(caller) + 1)),
            ("OriginalPosition", str(caller.came_at)),
            ("HoldTime", str(int(self._now() - caller.since))),
        ]
        self.send_event("QueueCallerAbandon", [*self._channel(queue, unique, caller.number), *at])
        self._leave(queue, caller)

    def rings_at(self, login: str) -> str | None:
        """Return the number that the dialplan would dial for a remote agent; None: it does not ring."""
        until = self.db.get("oscc-until", {}).get(login, "")
        number = self.db.get("oscc-number", {}).get(login, "")
        if not until.isdecimal() or int(until) < self._now() or not number:
            return None
        return number

    # ---- actions ----

    def act(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        """Execute one action; its events follow its answer."""
        match name:
            case "QueueStatus":
                rows = list(self._status(fields.get("Queue"), fields.get("Member")))
                session.list(number, "Queue status will follow", rows, "QueueStatusComplete")
            case "QueueSummary":
                rows = list(self._summary(fields.get("Queue")))
                session.list(number, "Queue summary will follow", rows, "QueueSummaryComplete")
            case "QueueReload":
                session.ok(number, "Queue reloaded successfully")
            case "QueueReset":
                self._reset(fields.get("Queue"))
                session.ok(number, "Queue stats reset successfully")
            case "QueueRule":
                session.plain(number, [])  # there are none
            case _ if name.startswith("DB"):
                self._change()
                self._act_on_db(session, name, number, fields)
            case _ if name.startswith("Queue"):
                self._change()
                self._act_on_members(session, name, number, fields)
            case _:
                self._act_on_core(session, name, number, fields)

    def _act_on_core(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        match name:
            case "Ping":
                session.plain(number, [("Ping", "Pong"), ("Timestamp", f"{self._now():.6f}")])
            case "CoreSettings":
                session.plain(number, [("AMIversion", self.ami), ("AsteriskVersion", self.version)])
            case "Events":
                session.events = fields.get("EventMask") != "off"
                session.plain(number, [("Events", "On" if session.events else "Off")])
            case _:
                session.plain(number, [("CoreCurrentCalls", "0")])

    def _act_on_db(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        family, key = fields.get("Family", ""), fields.get("Key", "")
        held = self.db.get(family, {})
        match name:
            case "DBPut":
                self.db.setdefault(family, {})[key] = fields.get("Val", "")
                session.ok(number, "Updated database successfully")
            case "DBGet" if key in held:
                row = ("DBGetResponse", [("Family", family), ("Key", key), ("Val", held[key])])
                session.list(number, "Result will follow", [row], "DBGetComplete")
            case "DBDel" if held.pop(key, None) is not None:
                session.ok(number, "Key deleted successfully")
            case "DBDel":
                session.no(number, "Database entry could not be deleted")
            case "DBGetTree" if held:
                rows = [
                    ("DBGetTreeResponse", [("Key", f"/{family}/{one}"), ("Val", value)])
                    for one, value in sorted(held.items())
                ]
                session.list(number, "Result will follow", rows, "DBGetTreeComplete")
            case _:
                session.no(number, "Database entry not found")

    def _act_on_members(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        if not fields.get("Interface"):
            session.no(number, "'Interface' not specified.")
            return
        match name:
            case "QueueAdd":
                self._add(session, number, fields)
            case "QueueRemove":
                self._remove(session, number, fields)
            case "QueuePause":
                self._pause(session, number, fields)
            case "QueuePenalty":
                self._penalty(session, number, fields)
            case _:
                self._ring_in_use(session, number, fields)

    def _add(self, session: Session, number: str, fields: dict[str, str]) -> None:
        fields = {name: value for name, value in fields.items() if name not in self.not_in_queue_add}
        queue, interface = self.queues.get(fields.get("Queue", "")), fields["Interface"]
        if queue is None:
            session.no(number, "Unable to add interface to queue: No such queue")
            return
        if interface in queue.members:
            session.no(number, "Unable to add interface: Already there")
            return
        paused = _true(fields.get("Paused", ""))
        member = Membership(
            interface,
            fields.get("MemberName") or interface,
            penalty=int(fields.get("Penalty", "0")),
            last_pause=int(self._now()) if paused else 0,
            log_in=int(self._now()),
            paused=paused,
            reason=_reason(fields) if paused else "",
            wrap_up=int(fields.get("Wrapuptime", "0")),
            state_interface=fields.get("StateInterface") or interface,
            status=self._first_state(interface),
        )
        queue.members[interface] = member
        session.ok(number, "Added interface to queue")
        self._send_member("QueueMemberAdded", queue, member)

    def _first_state(self, interface: str) -> int:
        """Return the state of an extension: invalid in an unknown context."""
        context = interface.partition("@")[2].partition("/")[0]
        return 1 if not context or context in self.contexts else 4

    def _remove(self, session: Session, number: str, fields: dict[str, str]) -> None:
        queue, interface = self.queues.get(fields.get("Queue", "")), fields["Interface"]
        if queue is None:
            session.no(number, "Unable to remove interface from queue: No such queue")
        elif interface not in queue.members:
            session.no(number, "Unable to remove interface: Not there")
        elif not queue.members[interface].dynamic:
            session.no(number, "Member not dynamic")
        else:
            member = queue.members.pop(interface)
            session.ok(number, "Removed interface from queue")
            self._send_member("QueueMemberRemoved", queue, member)

    def _pause(self, session: Session, number: str, fields: dict[str, str]) -> None:
        found = self._found(fields)
        if not found:
            session.no(number, "Interface not found")
            return
        paused = _true(fields.get("Paused", ""))
        for _, member in found:
            member.paused = paused
            member.reason = _reason(fields) if paused else ""
            if paused:
                member.last_pause = int(self._now())
        session.ok(number, f"Interface {'' if paused else 'un'}paused successfully")
        for queue, member in found:
            sent = replace(member, reason=_reason(fields))  # also at the end of a pause
            self._send_member("QueueMemberPause", queue, sent)

    def _penalty(self, session: Session, number: str, fields: dict[str, str]) -> None:
        found, sent = self._found(fields), fields.get("Penalty", "")
        penalty = int(sent) if sent.removeprefix("-").isdecimal() else 0  # as atoi reads it
        if not found or penalty < 0:
            session.no(number, "Invalid interface, queuename or penalty")
            return
        for _, member in found:
            member.penalty = penalty
        session.ok(number, "Interface penalty set successfully")
        for queue, member in found:
            self._send_member("QueueMemberPenalty", queue, member)

    def _ring_in_use(self, session: Session, number: str, fields: dict[str, str]) -> None:
        wanted = fields.get("RingInUse", "").lower()
        if wanted not in {"yes", "no", "true", "false", "on", "off", "1", "0"}:
            session.no(number, "'RingInUse' parameter must be a truth value (yes/no, on/off, 0/1, etc)")
            return
        found = self._found(fields)
        for _, member in found:
            member.ring_in_use = _true(wanted)
        session.ok(number, "Interface ringinuse set successfully")
        for queue, member in found:
            self._send_member("QueueMemberRinginuse", queue, member)

    def _found(self, fields: dict[str, str]) -> list[tuple[Queue, Membership]]:
        only = fields.get("Queue")
        return [
            (queue, queue.members[fields["Interface"]])
            for queue in self.queues.values()
            if fields["Interface"] in queue.members and only in {None, "", queue.name}
        ]

    def _reset(self, only: str | None) -> None:
        for queue in self.queues.values():
            if only in {None, "", queue.name}:
                queue.completed = queue.abandoned = queue.within = queue.hold = queue.talk = 0

    # ---- rows ----

    def _status(self, only: str | None, member_only: str | None) -> Iterable[tuple[str, Headers]]:
        for queue in self.queues.values():
            if only not in {None, "", queue.name}:
                continue
            yield "QueueParams", self._params(queue)
            for member in queue.members.values():
                if member_only in {None, "", member.interface}:
                    yield "QueueMember", [("Queue", queue.name), *self._row(member)]
            for position, caller in enumerate(queue.callers, start=1):
                yield "QueueEntry", self._entry(queue, position, caller)

    def rows_of(self, name: str) -> Iterable[tuple[str, Headers]]:
        """Return the rows of one queue as ``QueueStatus`` lists them."""
        return list(self._status(name, None))

    def _params(self, queue: Queue) -> Headers:
        total = queue.completed + queue.abandoned
        perf = 100.0 * min(queue.within, queue.completed) / queue.completed if queue.completed else 0.0
        return [
            ("Queue", queue.name),
            ("Max", str(queue.max)),
            ("Strategy", queue.strategy),
            ("Calls", str(len(queue.callers))),
            ("Holdtime", str(queue.hold)),
            ("TalkTime", str(queue.talk)),
            ("Completed", str(queue.completed)),
            ("Abandoned", str(queue.abandoned)),
            ("ServiceLevel", str(queue.service_level)),
            ("ServicelevelPerf", f"{perf:.1f}"),
            ("ServicelevelPerf2", f"{100.0 if total else 0.0:.1f}"),
            ("Weight", str(queue.weight)),
        ]

    def _row(self, member: Membership) -> Headers:
        who = [("Name", member.name), ("Location", member.interface)]
        state = ("StateInterface", member.state_interface or member.interface)
        return [*who, state, *self._values(member, ring_in_use=False)]

    def _values(self, member: Membership, *, ring_in_use: bool) -> Headers:
        return [
            ("Membership", "dynamic" if member.dynamic else "static"),
            ("Penalty", str(member.penalty)),
            ("CallsTaken", str(member.calls)),
            ("LastCall", str(member.last_call)),
            ("LastPause", str(member.last_pause)),
            ("LoginTime", str(member.log_in)),
            ("InCall", str(int(member.in_call))),
            ("Status", str(member.status)),
            ("Paused", str(int(member.paused))),
            ("PausedReason", member.reason),
            *([("Ringinuse", str(int(member.ring_in_use)))] if ring_in_use else []),
            ("Wrapuptime", str(member.wrap_up)),
        ]

    def _entry(self, queue: Queue, position: int, caller: Waiting) -> Headers:
        return [
            ("Queue", queue.name),
            ("Position", str(position)),
            ("Channel", f"Local/q{queue.name}@callers;2"),
            ("Uniqueid", caller.unique),
            ("CallerIDNum", caller.number),
            ("CallerIDName", "Dear Caller"),
            ("ConnectedLineNum", caller.number),
            ("ConnectedLineName", "Dear Caller"),
            ("Wait", str(int(self._now() - caller.since))),
            ("Priority", "0"),
        ]

    def _summary(self, only: str | None) -> Iterable[tuple[str, Headers]]:
        for queue in self.queues.values():
            if only in {None, "", queue.name}:
                there = [one for one in queue.members.values() if one.status not in {4, 5}]
                free = [one for one in there if not one.paused and one.status in {0, 1}]
                yield (
                    "QueueSummary",
                    [
                        ("Queue", queue.name),
                        ("LoggedIn", str(len(there))),
                        ("Available", str(len(free))),
                        ("Callers", str(len(queue.callers))),
                        ("HoldTime", str(queue.hold)),
                        ("TalkTime", str(queue.talk)),
                        ("LongestHoldTime", "0"),
                    ],
                )

    # ---- events ----

    def _send_member(self, kind: str, queue: Queue, member: Membership) -> None:
        who = [("Queue", queue.name), ("MemberName", member.name), ("Interface", member.interface)]
        state = ("StateInterface", member.state_interface or member.interface)
        self.send_event(kind, [*who, state, *self._values(member, ring_in_use=True)])

    def _channel(self, queue: Queue, unique: str, number: str) -> Headers:
        return [
            ("Channel", f"Local/q{queue.name}@callers;2"),
            ("ChannelState", "6"),
            ("ChannelStateDesc", "Up"),
            ("CallerIDNum", number),
            ("CallerIDName", "Dear Caller"),
            ("ConnectedLineNum", number),
            ("ConnectedLineName", "Dear Caller"),
            ("Language", "en"),
            ("AccountCode", ""),
            ("Context", "callers"),
            ("Exten", f"q{queue.name}"),
            ("Priority", "2"),
            ("Uniqueid", unique),
            ("Linkedid", unique),
            ("Queue", queue.name),
        ]

    def _with_member(self, queue: Queue, caller: Waiting, interface: str) -> Headers:
        member = queue.members[interface]
        channel = self._channel(queue, caller.unique, caller.number)
        dest = [(f"Dest{name}", value) for name, value in channel[:-1]]
        of_queue = [("Queue", queue.name), ("Interface", interface), ("MemberName", member.name)]
        return [*channel[:-1], *dest, *of_queue]

    def _caller(self, queue: Queue, unique: str) -> Waiting:
        return next(caller for caller in queue.callers if caller.unique == unique)

    def _leave(self, queue: Queue, caller: Waiting) -> None:
        at = [("Position", str(queue.callers.index(caller) + 1)), ("Count", str(len(queue.callers) - 1))]
        queue.callers.remove(caller)
        self.send_event("QueueCallerLeave", [*self._channel(queue, caller.unique, caller.number), *at])


def _true(text: str) -> bool:
    return text.lower() in {"true", "yes", "on", "1", "y", "t"}


def _reason(fields: dict[str, str]) -> str:
    """Return the reason, cut at 79 bytes, possibly within a character."""
    return fields.get("Reason", "").encode()[:79].decode("utf-8", "replace")
