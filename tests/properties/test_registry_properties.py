"""In any order of joins, leaves and replacements, no entry is lost, counted twice, or kept too long."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.link import Linger
from gateway.core.registry import ConnectedPhone, Registry, RegistryLimits
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, UserId

LIMITS = RegistryLimits(connections=4, devices=2, silent_s=600.0)
LINGER = Linger(dashboard_s=90.0, remote_assistant_s=900.0)
SEATS = st.builds(
    ConnectedPhone,
    st.builds(UserId, st.just("main"), st.integers(1, 6)),
    st.sampled_from(["s1", "s2", "s3", "s4", "s5"]),
    st.sampled_from(Application),
    st.sampled_from(["d1", "d2", "d3", "d4"]),
)
WHICH = st.integers(0, 9)


@dataclass
class Here:
    """A connection as the onlooker remembers it."""

    number: int
    seat: ConnectedPhone
    last_received_at: float


@dataclass
class Left:
    """A user without a connection."""

    at: float
    until: float


class Node(RuleBasedStateMachine):
    """The registry beside a list of who is connected."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.received: dict[int, float] = {}
        self.registry = Registry[int](self.received.__getitem__, LIMITS, LINGER)
        self.here: list[Here] = []
        self.left: dict[UserId, Left] = {}
        self.assistants: dict[UserId, str] = {}
        self.replaced: list[int] = []
        self.count = 0

    def of(self, user: UserId) -> list[Here]:
        return [one for one in self.here if one.seat.user == user]

    @rule(seconds=st.sampled_from([1.0, 30.0, 89.0, 100.0, 400.0, 601.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seat=SEATS)
    def one_comes(self, seat: ConnectedPhone) -> None:
        self.count += 1
        mine = self.of(seat.user)
        same = [
            one
            for one in mine
            if one.seat.session == seat.session
            or (one.seat.application, one.seat.device) == (seat.application, seat.device)
        ]
        silent = min(mine, key=lambda one: one.last_received_at, default=None)
        if (
            not same
            and len(mine) == LIMITS.devices
            and silent is not None
            and self.now - silent.last_received_at > 600
        ):
            same = [silent]
        self.received[self.count] = self.now
        answer = self.registry.add(self.count, seat, self.now)
        if len(mine) - len(same) == LIMITS.devices:
            assert answer is CloseCode.TOO_MANY_DEVICES
        elif len(self.here) - len(same) == LIMITS.connections:
            assert answer is CloseCode.OVER_CAPACITY
        else:
            assert isinstance(answer, tuple)
            assert sorted(answer) == [one.number for one in same]
            self.seat(seat, same)

    def seat(self, seat: ConnectedPhone, making_way: list[Here]) -> None:
        self.here = [one for one in self.here if one not in making_way]
        self.replaced += [one.number for one in making_way]
        self.here.append(Here(self.count, seat, self.now))
        self.left.pop(seat.user, None)
        if seat.application is Application.REMOTE_ASSISTANT:
            self.assistants[seat.user] = seat.session

    def full(self) -> list[UserId]:
        """Return the users who have as many devices as they may."""
        return [user for user in dict.fromkeys(one.seat.user for one in self.here) if self.is_full(user)]

    def is_full(self, user: UserId) -> bool:
        return len(self.of(user)) == LIMITS.devices

    @precondition(lambda self: self.full())
    @rule(which=WHICH)
    def one_too_many_comes(self, which: int) -> None:
        full = self.full()
        user = full[which % len(full)]
        sessions = {one.seat.session for one in self.of(user)}
        devices = {one.seat.device for one in self.of(user)}
        session = next(name for name in ("s1", "s2", "s3") if name not in sessions)
        device = next(name for name in ("d1", "d2", "d3") if name not in devices)
        self.one_comes(ConnectedPhone(user, session, Application.DASHBOARD, device))

    @precondition(lambda self: self.here)
    @rule(which=WHICH)
    def one_speaks(self, which: int) -> None:
        one = self.here[which % len(self.here)]
        one.last_received_at = self.now
        self.received[one.number] = self.now

    @precondition(lambda self: self.here)
    @rule(which=WHICH)
    def one_goes(self, which: int) -> None:
        one = self.here.pop(which % len(self.here))
        user = one.seat.user
        self.registry.remove(one.number, self.now)
        if not self.of(user):
            self.left[user] = Left(self.now, self.now + (900.0 if user in self.assistants else 90.0))
            staying = [left for left in self.left.values() if left.until > self.now]
            if len(staying) > LIMITS.connections:
                min(staying, key=lambda left: left.until).until = self.now

    @precondition(lambda self: len(self.here) < LIMITS.connections)
    @rule(seat=SEATS)
    def one_looks_in(self, seat: ConnectedPhone) -> None:
        self.one_comes(seat)
        if self.here and self.here[-1].number == self.count:
            self.one_goes(len(self.here) - 1)

    @precondition(lambda self: self.replaced)
    @rule(which=WHICH)
    def a_replaced_one_goes_late(self, which: int) -> None:
        self.registry.remove(self.replaced[which % len(self.replaced)], self.now)

    @rule(user=st.builds(UserId, st.just("main"), st.integers(1, 6)), session=st.sampled_from(["s1", "s2"]))
    def a_session_ends(self, user: UserId, session: str) -> None:
        self.registry.ended(user, session)
        if self.assistants.get(user) == session:
            del self.assistants[user]
            if user in self.left:
                self.left[user].until = min(self.left[user].until, self.left[user].at + 90.0)

    @rule()
    def lingers_end(self) -> None:
        ended = {user for user, left in self.left.items() if left.until <= self.now}
        assert sorted(self.registry.due(self.now)) == sorted(ended)
        for user in ended:
            del self.left[user]
            self.assistants.pop(user, None)

    @invariant()
    def everybody_is_where_they_should_be(self) -> None:
        assert len(self.registry) == len(self.here) <= LIMITS.connections
        for user in {one.seat.user for one in self.here}:
            assert user not in self.left
            assert len(self.of(user)) <= LIMITS.devices


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=max(60, settings().max_examples))
