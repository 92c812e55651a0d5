"""Whatever is lost, repeated or handed over, a command runs at most once and its waiters are answered once.

Phones that keep the contract (a repeated frame says ``retry`` and names the epoch in which it was
first sent, and is not repeated after its deadline) meet owners that give, die and come back.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.commands import BUSY, FOREIGN, REUSED, Began, CommandLimits, CommandRecords, Decision
from gateway.domain.commands import AcknowledgeNotice, Call, Outcome, Status

LIMITS = CommandLimits(keep_s=20.0, per_session=2, per_user=3, entries=4, waiters=3)
SESSIONS = st.sampled_from(["desk", "phone"])


class Sent(NamedTuple):
    """A command as its phone first sent it."""

    key: str
    session: str
    stream: int | None
    at: float


class Commands(RuleBasedStateMachine):
    """One user, one owner at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epoch = 10
        self.owner = CommandRecords[int](LIMITS)
        self.sent: list[Sent] = []
        self.executed: dict[str, int] = {}
        self.waiting: dict[str, list[int]] = {}
        self.running: dict[str, str] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.ends: dict[str, float] = {}
        self.waiters = 0
        self.crowded = False

    # ---- phones ----

    @rule(session=SESSIONS, behind=st.integers(0, 2), knows=st.booleans(), arrives=st.booleans())
    def send(self, session: str, behind: int, knows: bool, arrives: bool) -> None:
        stream = self.epoch - behind if knows else None
        self.sent.append(Sent(f"k{len(self.sent)}", session, stream, self.now))
        if arrives:
            self.deliver(self.sent[-1], retry=False)

    @rule(session=SESSIONS, times=st.integers(1, 4))
    def send_and_settle(self, session: str, times: int) -> None:
        for _ in range(times):
            self.send(session, 0, knows=True, arrives=True)
            if self.sent[-1].key in self.running:
                self.settle(len(self.running) - 1, Status.APPLIED)

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 7))
    def send_again(self, which: int) -> None:
        one = self.sent[-1 - which % len(self.sent)]
        if self.now < one.at + LIMITS.keep_s:
            self.deliver(one, retry=True)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 5))
    def misuse_a_key(self, which: int) -> None:
        key = list(self.running)[which % len(self.running)]
        one = Sent(key, "desk", self.epoch, self.now)
        assert self.begin(one, retry=True, body="other") is REUSED

    def deliver(self, one: Sent, *, retry: bool) -> None:
        self.waiters += 1
        self.crowded = self.crowded or len(self.owner) >= LIMITS.entries
        began = self.begin(one, retry=retry, body=one.key)
        self.check_known(one, began)
        match began:
            case Decision.NEW:
                self.executed[one.key] = self.executed.get(one.key, 0) + 1
                self.running[one.key] = one.session
                self.waiting[one.key] = [self.waiters]
            case Decision.PENDING:
                self.waiting[one.key].append(self.waiters)
            case _ if began is FOREIGN:
                assert retry
                assert self.crowded or one.stream != self.epoch
            case _ if began is BUSY:
                self.check_busy(one)
            case Outcome() as outcome:
                assert outcome is self.outcomes[one.key], "the key was not reused"

    def check_known(self, one: Sent, began: Began) -> None:
        if one.key in self.running:
            assert began in (Decision.PENDING, BUSY)
        elif one.key in self.ends and self.now < self.ends[one.key] and not self.crowded:
            assert began is self.outcomes[one.key]

    def check_busy(self, one: Sent) -> None:
        if one.key in self.running:
            assert len(self.waiting[one.key]) == LIMITS.waiters
        else:
            of_session = sum(session == one.session for session in self.running.values())
            assert of_session == LIMITS.per_session or len(self.running) == LIMITS.per_user

    def begin(self, one: Sent, *, retry: bool, body: str) -> Began:
        call = Call(one.key, one.session, AcknowledgeNotice(body, 1), one.stream, retry, 0)
        return self.owner.begin(call, self.waiters, self.now, self.epoch)

    # ---- the owner ----

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 5), status=st.sampled_from([Status.APPLIED, Status.UNCHANGED]))
    def settle(self, which: int, status: Status) -> None:
        key = list(self.running)[which % len(self.running)]
        outcome = Outcome(status)
        received = self.owner.settle(key, outcome, self.now)
        assert list(received) == self.waiting.pop(key)
        assert self.owner.settle(key, Outcome(Status.REJECTED), self.now) == ()
        del self.running[key]
        self.outcomes[key], self.ends[key] = outcome, self.now + LIMITS.keep_s

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 5))
    def a_waiter_leaves(self, which: int) -> None:
        key = list(self.running)[which % len(self.running)]
        if self.waiting[key]:
            self.owner.leave(self.waiting[key].pop())

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.owner.expire(self.now)

    @rule(to_itself=st.booleans())
    def give(self, to_itself: bool) -> None:
        while self.running:
            self.settle(0, Status.APPLIED)
        history = self.owner.history(self.now, epoch=self.epoch)
        self.epoch += 1
        if not to_itself:
            self.owner = CommandRecords[int](LIMITS)
        self.owner.adopt(history, self.epoch, self.now)

    @rule(between=st.integers(0, 1))
    def die(self, between: int) -> None:
        self.running.clear()
        self.waiting.clear()
        self.outcomes.clear()
        self.ends.clear()
        self.epoch += 1 + between
        self.owner = CommandRecords[int](LIMITS)

    @rule(session=SESSIONS)
    def another_owns_for_a_while(self, session: str) -> None:
        """Our owner loses the user and gets it back; meanwhile another executed one command."""
        while self.running:
            self.settle(0, Status.APPLIED)
        one = Sent(f"k{len(self.sent)}", session, self.epoch, self.now)
        self.sent.append(one)
        self.executed[one.key] = 1
        self.epoch += 2
        self.crowded = True

    # ---- what always holds ----

    @invariant()
    def nothing_runs_twice(self) -> None:
        assert all(times == 1 for times in self.executed.values())

    @invariant()
    def everything_is_bounded(self) -> None:
        assert len(self.owner) <= LIMITS.entries
        assert sorted(self.owner.in_flight) == sorted(self.running)
        assert len(self.running) <= LIMITS.per_user
        of_sessions = list(self.running.values())
        assert all(of_sessions.count(session) <= LIMITS.per_session for session in of_sessions)


TestCommands = Commands.TestCase
TestCommands.settings = settings(max_examples=max(60, settings().max_examples))
