"""After any interleaving of events, readings, cuts and silent reloads the state equals the Asterisk's."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.simulator.ami_session import Session
from gateway.upstream.asterisk.ami import Framer
from gateway.upstream.asterisk.people import AsteriskView, Rules
from gateway.upstream.asterisk.state import Pass, Queues
from tests.doubles.fake_ami import Account, FakeAsterisk

QUEUES = ("sales", "support")
INTERFACES = tuple(f"Local/{number}@desk/n" for number in range(2001, 2003))
queues = st.sampled_from(QUEUES)
interfaces = st.sampled_from(INTERFACES)
Headers = list[tuple[str, str]]


class FramedConnection:
    """What the fake writes to one connection, as the adapter's framer reads it."""

    def __init__(self) -> None:
        self.account = Account("secret")
        self.events = True
        self.framer = Framer()
        self.framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
        self.taken: Callable[[dict[str, str]], None] = lambda _: None

    def event(self, kind: str, headers: Headers, right: str = "agent") -> None:
        self.say([("Event", kind), ("Privilege", f"{right},all"), *headers])

    def say(self, headers: Headers) -> None:
        text = "".join(f"{name}: {value}\r\n" for name, value in headers)
        for message in self.framer.feed(f"{text}\r\n".encode()):
            self.taken(dict(message))


class States(RuleBasedStateMachine):
    """One Asterisk, one connection, and the state that is kept of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.fake = FakeAsterisk(lambda: self.now)
        self.state = Queues()
        self.view = AsteriskView(self.state, Rules())
        self.reading: tuple[Pass, list[str]] | None = None
        self.is_silent = False
        """Whether something changed that no event reports, and no whole reading came since."""
        self.calls: dict[str, tuple[str, str | None, bool]] = {}
        self._connect()

    def _connect(self) -> None:
        connection = FramedConnection()
        connection.taken = lambda message: self.state.event(message, round(1000 * self.now))
        self.fake.sessions.clear()
        self.fake.sessions.add(cast(Session, connection))

    @initialize()
    def furnish(self) -> None:
        for name in QUEUES:
            self.fake.add_queue(name)
        self._read_whole()

    # ---- readings ----

    def _read_whole(self) -> None:
        reading = self.state.begin(with_members=True)
        for name in list(self.fake.queues):
            self._rows(reading, name)
        reading.end()
        self.is_silent = False

    def _rows(self, reading: Pass, name: str) -> None:
        for kind, headers in self.fake.rows_of(name):
            reading.row({"Event": kind, **dict(headers)}, round(1000 * self.now))

    @precondition(lambda self: self.reading is None)
    @rule()
    def begin_reading(self) -> None:
        self.reading = self.state.begin(with_members=True), list(self.fake.queues)
        self.is_silent = False

    @precondition(lambda self: self.reading is not None)
    @rule()
    def read_on(self) -> None:
        assert self.reading is not None
        reading, left = self.reading
        if left:
            name = left.pop(0)
            if name in self.fake.queues:
                self._rows(reading, name)
        else:
            reading.end()
            self.reading = None

    @rule()
    def cut(self) -> None:
        if self.reading is not None:
            self.state.abandon(self.reading[0])
            self.reading = None
        self._connect()
        self.state.forget_contacts()
        self._read_whole()

    # ---- what happens ----

    @rule(queue=queues, interface=interfaces, paused=st.booleans())
    def add(self, queue: str, interface: str, paused: bool) -> None:
        fields = {"Queue": queue, "Interface": interface, "Paused": str(paused).lower(), "Reason": "Lunch"}
        self._act("QueueAdd", fields)

    @rule(queue=queues, interface=interfaces)
    def remove(self, queue: str, interface: str) -> None:
        self._act("QueueRemove", {"Queue": queue, "Interface": interface})

    @rule(interface=interfaces, paused=st.booleans(), reason=st.sampled_from(["", "Lunch", "Ärzte: 10:30"]))
    def pause(self, interface: str, paused: bool, reason: str) -> None:
        self.now += 1
        fields = {"Interface": interface, "Paused": "true" if paused else "false", "Reason": reason}
        self._act("QueuePause", fields)

    @rule(interface=interfaces, penalty=st.integers(0, 9))
    def penalty(self, interface: str, penalty: int) -> None:
        self._act("QueuePenalty", {"Interface": interface, "Penalty": str(penalty)})

    @rule(interface=interfaces, status=st.sampled_from([1, 2, 4, 5, 8]))
    def device(self, interface: str, status: int) -> None:
        self.fake.device(interface, status)

    @rule(queue=queues, interface=interfaces)
    def silent_reload(self, queue: str, interface: str) -> None:
        if queue not in self.fake.queues:
            return
        if interface in self.fake.queues[queue].members:
            if not self.fake.queues[queue].members[interface].dynamic:
                self.fake.remove_static(queue, interface)
        else:
            self.fake.add_static(queue, interface, "From queues.conf")
        self.is_silent = True

    @rule(queue=queues)
    def join(self, queue: str) -> None:
        self.now += 1
        if len(self.calls) < 6 and queue in self.fake.queues:
            self.calls[self.fake.join(queue)] = (queue, None, False)

    @rule(queue=queues, interface=interfaces)
    def connect(self, queue: str, interface: str) -> None:
        busy = {call[1] for call in self.calls.values()}
        if (
            queue in self.fake.queues
            and interface in self.fake.queues[queue].members
            and interface not in busy
        ):
            caller = self.fake.join(queue)
            self.fake.ring(queue, caller, interface)
            self.fake.answer(queue, caller, interface)
            self.calls[caller] = (queue, interface, True)

    @precondition(lambda self: self.reading is None)
    @rule(queue=queues)
    def queue_comes_or_goes(self, queue: str) -> None:
        if any(call[0] == queue for call in self.calls.values()):
            return
        if queue in self.fake.queues:
            self.fake.remove_queue(queue)
        else:
            self.fake.add_queue(queue)
        self.is_silent = True

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), interface=interfaces, forgets=st.booleans())
    def advance(self, data: st.DataObject, interface: str, forgets: bool) -> None:
        self.now += 1
        caller = data.draw(st.sampled_from(sorted(self.calls)))
        queue, rung, talks = self.calls[caller]
        members = self.fake.queues[queue].members
        if rung is not None and rung not in members:
            # the member that rang or talked has left the queue: Asterisk ends the call without an event
            del self.calls[caller]
            if not talks:
                self.fake.abandon(queue, caller)
        elif talks:
            self.fake.forgets_caller = forgets
            self.fake.complete(queue, caller, rung or "")
            del self.calls[caller]
        elif rung is not None:
            self.fake.answer(queue, caller, rung)
            self.calls[caller] = (queue, rung, True)
        elif interface in members and all(other[1] != interface for other in self.calls.values()):
            self.fake.ring(queue, caller, interface)
            self.calls[caller] = (queue, interface, False)
        else:
            self.fake.abandon(queue, caller)
            del self.calls[caller]

    def _act(self, name: str, fields: dict[str, str]) -> None:
        self.fake.act(cast(Session, Answers()), name, "1", fields)

    # ---- laws ----

    @invariant()
    def members_are_what_they_are(self) -> None:
        """A reading under way may have shown some queues before, and others after a silent change."""
        if self.is_silent or self.reading is not None:
            return
        assert self.state.queues.keys() == self.fake.queues.keys()
        for name, queue in self.fake.queues.items():
            held = self.state.queues[name].members
            assert held.keys() == queue.members.keys()
            for interface, member in queue.members.items():
                mine = held[interface]
                assert (mine.paused, mine.penalty, mine.status) == (
                    member.paused,
                    member.penalty,
                    member.status,
                )
                assert mine.reason == member.reason

    @invariant()
    def callers_are_counted(self) -> None:
        if self.reading is None and not self.is_silent:
            assert self.state.queues.keys() == self.fake.queues.keys()
            for name, queue in self.fake.queues.items():
                assert self.state.queues[name].waiting == len(queue.callers)
                assert set(self.state.queues[name].callers) == {one.unique for one in queue.callers}

    def teardown(self) -> None:
        if self.reading is not None:
            self.state.abandon(self.reading[0])
            self.reading = None
        self._read_whole()
        self.state.due(round(1000 * self.now) + 1000)
        self.members_are_what_they_are()
        self.callers_are_counted()
        talking = {call[1] for call in self.calls.values() if call[2]}
        for interface, contacts in self.state.contacts.items():
            for contact in contacts.values():
                assert contact.phase == "ringing" or interface in talking


class Answers:
    """A session that only answers; nobody reads it."""

    def ok(self, number: str, message: str) -> None:
        """It was done."""

    def no(self, number: str, message: str) -> None:
        """It was refused."""


TestStateOfAsterisk = States.TestCase


# ---- ends that were missed ----


def _read(queues: Queues, now_ms: int, **member: str) -> None:
    reading = queues.begin(with_members=True)
    reading.row({"Event": "QueueParams", "Queue": "sales"}, now_ms)
    reading.row({"Event": "QueueMember", "Queue": "sales", "Location": "PJSIP/1", **member}, now_ms)
    reading.end()


def _talking(queues: Queues, now_ms: int) -> bool:
    event = {"Queue": "sales", "Interface": "PJSIP/1", "Uniqueid": "1.1"}
    queues.event({"Event": "AgentCalled", **event}, now_ms)
    queues.event({"Event": "AgentConnect", **event}, now_ms)
    return bool(queues.contacts)


def test_a_conversation_whose_end_was_missed_ends_by_whole_readings() -> None:
    queues = Queues()
    _read(queues, 0, InCall="0")
    assert _talking(queues, 1_000)
    _read(queues, 1_001, InCall="0")  # Asterisk marks the call a little later
    _read(queues, 5_000, InCall="1")
    _read(queues, 60_000, InCall="0")
    _read(queues, 60_100, InCall="0")
    assert queues.contacts, "two readings within a moment show one state"
    _read(queues, 90_000, InCall="0")
    assert not queues.contacts


def test_a_member_who_joins_again_during_a_call_keeps_it_while_the_telephone_is_in_use() -> None:
    queues = Queues()
    _read(queues, 0, InCall="0")
    assert _talking(queues, 1_000)
    member = {"Queue": "sales", "Interface": "PJSIP/1"}
    queues.event({"Event": "QueueMemberRemoved", **member}, 2_000)
    queues.event({"Event": "QueueMemberAdded", **member, "InCall": "0", "Status": "2"}, 2_100)
    for second in range(3, 200, 10):
        _read(queues, 1_000 * second, InCall="0", Status="2")
    assert queues.contacts
    _read(queues, 200_000, InCall="0", Status="1")
    _read(queues, 230_000, InCall="0", Status="1")
    assert not queues.contacts


def test_a_version_that_does_not_say_whether_a_telephone_is_in_a_call_ends_no_conversation() -> None:
    queues = Queues()
    _read(queues, 0)
    assert _talking(queues, 1_000)
    for second in range(2, 200, 10):
        _read(queues, 1_000 * second)
    assert queues.contacts
