"""Users of a node, and what idle ones cost it."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import cast

import pytest

import gateway
from gateway.core.assembly import Composer
from gateway.core.link import Linger
from gateway.core.registry import RegistryLimits
from gateway.domain.commands import (
    AttachSession,
    Call,
    Execute,
    KeepAlive,
    Outcome,
    SetAgentRoutingState,
)
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, SessionRefused
from gateway.domain.model import Application, Kind, NodeId, Scope, SessionId, UserId
from gateway.domain.resources import Agent
from gateway.domain.upstream import Part, Source
from gateway.protocol.envelopes import Offer
from gateway.runtime.node import USERS_SLICE_S, NodeSettings, UserStates
from gateway.runtime.sessions import ATTACH_S
from gateway.runtime.user_state import UserState
from tests.doubles.clock import ManualClock
from tests.runtime.followed import followed
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import FakePhone, Scene, replace_method, scene, user


async def test_an_ended_user_state_takes_no_phones_and_the_next_begins_after_it() -> None:
    async with open_nodes(1) as at:
        phone = await at.served(0)
        before = at.home(0)
        link = at.link()
        close = link.close

        async def close_slowly() -> None:
            await at.clock.sleep(1)
            await close()

        link.close = close_slowly  # type: ignore[method-assign]  # a server that takes its time
        before.stop()
        assert (before.is_over, at.home(0)) == (True, before)
        back = await at.scenes[0].again(phone)
        await at.pass_time(0.5)
        assert len(at.openings) == 1
        await at.pass_time(1.5)
        assert at.home(0) is not before
        assert before.over.is_set()
        assert back.of_kind("welcome")
        assert [one.instead_of for one in at.openings] == [None, None], "link and lease were given up before"
        assert at.openings[1].token > at.openings[0].token


async def test_what_is_known_of_commands_is_forgotten_in_time(at: Scene) -> None:
    phone = await at.served()
    await phone.send_command("1", "1")
    phone.bye()
    await at.pass_time(95)
    assert len(at.node.command_history) == 1
    await at.pass_time(600)
    assert len(at.node.command_history) == 0


async def test_a_fault_over_what_is_due_for_one_user_keeps_no_other_from_what_is_due_for_him(
    at: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.served("anna")
    await at.served("bert")

    def fail(now: float) -> object:
        raise ZeroDivisionError

    ticked: list[float] = []
    anna, bert = at.node.user_states.values()
    replace_method(monkeypatch, anna, "tick", fail)
    replace_method(monkeypatch, bert, "tick", ticked.append)
    for _ in range(2):
        bert.due.touch()
        await at.pass_time(1)
    assert len(ticked) == 2
    here = [record for record in caplog.records if record.name == "gateway.runtime.node"]
    assert {record.getMessage() for record in here} == {"user_tick_failed"}


async def test_a_fault_over_a_renewal_delays_it_and_does_not_end_the_renewals_of_the_lease(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.served()
    dialer = at.owner().link_dialer
    may_ask, faults = dialer.may_ask, list[float]()

    def fail_once() -> bool:
        if not faults:
            faults.append(at.clock.now())
            raise ZeroDivisionError
        return may_ask()

    replace_method(monkeypatch, dialer, "may_ask", fail_once)
    await at.pass_time(60)
    assert faults
    assert at.owner().lease.left_s(at.clock.now()) > 4.0


async def test_after_a_fault_the_work_that_was_not_reached_is_done_in_the_next_tick(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.served(settled_s=40)
    owner, whole = at.owner(), list[bool]()

    def tick(now: float, *, is_touched: bool = True) -> None:
        whole.append(is_touched)
        if len(whole) == 1:
            raise ZeroDivisionError

    replace_method(monkeypatch, owner, "tick", tick)
    owner.touch()
    await at.pass_time(2)
    assert whole[:2] == [True, True]


class Worked(ManualClock):
    """A clock on which work takes time, and which counts how often others had a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.worked_s = 0.0
        self.turns: list[float] = []

    def now(self) -> float:
        return super().now() + self.worked_s

    async def sleep(self, seconds: float) -> None:
        assert seconds == 0
        self.turns.append(self.worked_s)


async def test_what_is_due_for_thousands_of_users_is_done_in_slices_of_two_milliseconds() -> None:
    clock, homes, ticked = Worked(), UserStates(Composer()), list[int]()

    def home(user: UserId) -> UserState:
        def tick(_: float) -> None:
            ticked.append(user.key)
            clock.worked_s += 0.0001

        due = homes._due_times.add(user)
        return cast("UserState", SimpleNamespace(tick=tick, due=due, due_at=lambda now: now + 60))

    users = [UserId("main", number) for number in range(3_000)]
    homes._user_states.update({each: home(each) for each in users})
    await homes.tick(clock)
    assert ticked == list(range(3_000))
    slices = [after - before for before, after in pairwise([0.0, *clock.turns])]
    assert len(slices) > 100
    assert max(slices) <= USERS_SLICE_S + 0.0002
    await homes.tick(clock)
    assert len(ticked) == 3_000, "nothing is due for anybody"


def _ticks_of(user_state: UserState, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list to which the times of the user's ticks are added from now on."""
    ticked: list[float] = []
    tick = user_state.tick

    def count(now: float) -> None:
        ticked.append(now)
        tick(now)

    replace_method(monkeypatch, user_state, "tick", count)
    return ticked


async def test_little_is_done_for_who_waits_for_a_link(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await at.served("anna")
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    await at.pass_time(10)
    (anna,) = at.node.user_states.values()
    ticked = _ticks_of(anna, monkeypatch)
    await at.pass_time(60)
    assert 8 <= len(ticked) <= 30
    at.upstream.unreachable = False
    await at.pass_time(60)
    assert (phone.health, phone.closed) == ("live", None)


async def test_little_is_done_for_a_user_whom_a_late_node_keeps_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(NodeSettings(NodeId("n1"), "n1-1", linger=Linger(30.0, 30.0))) as at:
        phone = await at.served("anna")
        phone.leave()
        await at.starve(5.0)
        (anna,) = at.node.user_states.values()
        ticked = _ticks_of(anna, monkeypatch)
        await at.pass_time(84.0)
        assert at.upstream.link(user(1)) is not None
        assert len(ticked) <= 20
        await at.pass_time(8.0)
        assert at.upstream.link(user(1)) is None


@pytest.mark.parametrize("seconds", [0.0, 40.0])
async def test_a_followed_user_costs_nothing_until_something_is_due(
    at: Nodes, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    await followed(at, settled_s=10 + seconds)
    ticked = _ticks_of(next(at.home(n) for n in (0, 1) if at.home(n).follower is not None), monkeypatch)
    await at.pass_time(30)
    assert len(ticked) <= 10


# ---- One user on one node: who are his phones, and what is the node to him ----


ALONE_S = UNFOLLOW_S = 30.0


def is_there(at: Nodes, phone: FakePhone) -> bool:
    """Tell whether the owner takes a phone to be connected, on whatever node."""
    member = at.scenes[0].owner().user_sessions.by_handle.get(phone.ticket.handle)
    return member is not None and member.present


async def test_a_role_follows_the_other_and_phones_keep_what_they_show(at: Nodes) -> None:
    near, far = await followed(at, settled_s=7)
    shown = near.shown, far.shown
    roles = [(at.home(0).owner, at.home(1).follower)]
    for drained in (0, 1):
        at.scenes[drained].node.drain()
        at.scenes[1 - drained].node.is_draining = False
        await at.pass_time(15)
        roles.append((at.home(drained).owner, at.home(drained).follower))
    assert [owner is None for owner, _ in roles] == [False, True, True]
    assert at.owners() == [0]
    assert [one.node for one in at.openings] == [0, 1, 0]
    assert (near.closed, far.closed) == (None, None)
    assert (near.shown, far.shown) == shown
    assert (near.health, far.health) == ("live", "live")


async def test_a_user_without_a_phone_here_is_unfollowed_after_a_while_and_can_return(at: Nodes) -> None:
    _, far = await followed(at, settled_s=7)
    user_state = at.home(1)
    far.bye()
    await at.pass_time(UNFOLLOW_S - 2)
    assert not user_state.over.is_set()
    await at.pass_time(4)
    assert user_state.over.is_set()
    assert user_state.is_over
    back = await at.scenes[1].again(far)
    await at.pass_time(1)
    assert at.home(1) is not user_state
    assert back.of_kind("welcome")


async def test_an_owner_whose_phones_are_all_elsewhere_stays_beyond_the_linger(at: Nodes) -> None:
    near, far = await followed(at, settled_s=7)
    assert at.home(0).is_kept
    assert not at.home(1).is_kept
    at.trouble.lose_all(Offer)
    near.bye()
    await at.pass_time(180)
    assert at.owners() == [0]
    assert (far.closed, far.health) == (None, "live")


async def test_phones_of_nodes_that_are_silent_count_as_gone(at: Nodes) -> None:
    near, far = await followed(at, settled_s=7)
    near.bye()
    await at.kill(1)
    await at.pass_time(14)
    assert is_there(at, far)
    await at.pass_time(12)
    assert not is_there(at, far)
    await at.pass_time(75)
    assert at.owners() == [0], "its linger begins when it is known to be silent"
    await at.pass_time(20)
    assert at.owners() == []


async def test_a_command_that_waited_for_another_owner_is_not_executed_and_that_is_said(at: Nodes) -> None:
    _, far = await followed(at, settled_s=7)
    at.scenes[0].lines.clear()
    await at.kill(0)
    far.command("1", "1")
    await at.pass_time(5)
    assert at.owners() == [1]
    assert far.outcome() == ("rejected", "upstream_unavailable")
    assert not at.scenes[1].asked(Execute), "its phone may have sent it again over another node"


@pytest.mark.parametrize("ends", ["in time", "with its user"])
async def test_a_command_that_waits_for_an_owner_in_vain_was_not_begun(at: Nodes, ends: str) -> None:
    _, far = await followed(at, settled_s=7)
    await at.kill(0)
    at.ways[1].shut()
    far.command("1", "1", expires_at_ms=at.clock.wall_ms() + 3_000)
    await at.pass_time(2)
    assert far.result("1") is None
    if ends == "with its user":
        at.home(1).stop()
        await at.clock.settle()
    else:
        await at.pass_time(2)
    assert far.outcome() == ("rejected", "upstream_unavailable")


async def test_what_a_phone_follows_goes_with_it_to_the_next_owner(at: Nodes) -> None:
    near, far = await followed(at, settled_s=7)
    far.send(kind="follow", id="1", topics=["agents"])
    await at.pass_time(1)
    assert "queue:5" not in far.shown
    near.bye()
    await at.pass_time(ALONE_S + 11)
    assert at.owners() == [1]
    member = at.scenes[1].member(far)
    assert member.topics == ("agents",)
    at.home(1).follow("unknown", ("queues",))


# ---- users of a node ----


ASSISTANT = Application.REMOTE_ASSISTANT


def _stranger(
    at: Scene, phone: FakePhone, *, user: UserId | None = None, session: SessionId | None = None
) -> FakePhone:
    """Give a phone with another ticket."""
    ticket = phone.ticket
    changed = dataclasses.replace(ticket, user=user or ticket.user, session=session or ticket.session)
    return FakePhone(at, changed)


# ---- who makes way ----


async def test_the_refusal_of_an_earlier_connection_does_not_concern_the_present_one(at: Scene) -> None:
    await at.served()
    at.link().holds = lambda request: isinstance(request, AttachSession)
    early = await at.phone("anna", device="d2")
    early.hello()
    await at.pass_time(ATTACH_S / 2)
    early.leave()
    present = await at.again(early)
    await at.pass_time(ATTACH_S / 2 + 1)
    at.link().serve_held()
    await at.pass_time(1)
    assert len(present.of_kind("welcome")) == 1
    assert at.upstream.session(present.ticket.secret).present
    await at.pass_time(2 * Linger().dashboard_s)
    assert at.upstream.session(present.ticket.secret).alias, "it is not let go"


async def test_a_replaced_connection_that_goes_late_leaves_its_successor_alone(at: Scene) -> None:
    old = await at.served()
    old.leave, leave = lambda: None, old.leave  # type: ignore[method-assign]  # slow to go
    new = await at.again(old)
    assert old.code == CloseCode.REPLACED
    leave()
    at.node.detach(old)
    await at.clock.settle()
    assert at.owner().feed.connections == {new.ticket.handle: new}
    assert at.upstream.session(new.ticket.secret).present
    at.upstream.set_waiting(4)
    await at.pass_time(1)
    assert new.waiting == 4


async def test_a_sixth_device_is_refused_and_a_silent_one_makes_way(at: Scene) -> None:
    phones = [await at.served(device=f"d{number}") for number in range(5)]
    sixth = await at.served(device="d5")
    assert sixth.code == CloseCode.TOO_MANY_DEVICES
    assert [phone.code for phone in phones] == [None] * 5
    await at.clock.advance(601)
    for phone in phones[1:]:
        phone.last_received_at = at.clock.now()
    late = await at.served(device="d6")
    assert [phone.code for phone in phones] == [CloseCode.REPLACED, None, None, None, None]
    assert late.code is None


async def test_a_full_node_refuses() -> None:
    settings = NodeSettings(NodeId("n1"), "n1-1", limits=RegistryLimits(connections=1))
    async with scene(settings) as at:
        await at.served()
        assert (await at.served("bert", ASSISTANT, number="1234")).code == CloseCode.OVER_CAPACITY
        assert set(at.node.user_states) == {user(1)}


# ---- ends ----


async def test_what_a_session_sees_is_reported_for_the_export(at: Scene) -> None:
    wide = await at.served()
    assert {"queue:5", "agent:7", "agent:8", "me", "site"} <= at.node.seen_by(wide.ticket).keys()
    at.upstream.people[user(7)].scopes[Application.DASHBOARD] = Scope(agents=frozenset({7, 8}))
    wide, narrow = await at.served("bert", device="d2"), await at.served("bert", ASSISTANT, number="1234")
    assert {"agent:7", "agent:8"} <= at.node.seen_by(wide.ticket).keys()
    assert "agent:8" not in at.node.seen_by(narrow.ticket)
    narrow.leave()
    assert at.node.seen_by(narrow.ticket) == {}
    assert at.node.seen_by(_stranger(at, wide, user=user(2)).ticket) == {}


async def test_what_is_exported_names_no_group_or_queue_outside_the_scope(at: Scene) -> None:
    at.upstream.put(
        Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(group_ids=("4", "9"), queue_ids=("5", "6"))),
        Part(Kind.AGENT, 8, Source.DIRECTORY, Agent(queue_ids=("6",))),
    )
    phone = await at.served()
    agents = [at.node.seen_by(phone.ticket)[key] for key in ("agent:7", "agent:8")]
    assert [(each.group_ids, each.queue_ids) for each in agents if isinstance(each, Agent)] == [
        ((), ("5",)),
        ((), ()),
    ]


async def test_a_connection_or_a_site_that_is_not_here_changes_nothing(at: Scene) -> None:
    phone = await at.phone("anna")
    at.node.follow(phone, ("agents",))
    at.node.detach(phone)
    assert not at.node.user_states
    foreign = _stranger(at, phone, user=UserId("gone", 1))
    at.upstream.people[UserId("gone", 1)] = at.upstream.people[user(1)]
    await foreign.connect()
    assert foreign.code == CloseCode.TOKEN_INVALID
    assert not at.node.user_states


async def test_after_its_life_a_node_takes_nobody() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
    with pytest.raises(SessionRefused) as refused:
        await at.node.attach(phone, phone.ticket, None, print)
    assert refused.value.code is CloseCode.DRAINING


async def test_a_command_of_a_user_who_was_released_is_refused(at: Scene) -> None:
    phone = await at.served()
    at.node.user_states[phone.ticket.user].stop()
    await at.clock.settle()
    command = SetAgentRoutingState("7", "work")
    call = Call("k", phone.ticket.handle, command, None, retry=False, deadline_ms=at.clock.wall_ms() + 9)
    outcomes: list[Outcome] = []
    phone.commands.execute(call, outcomes.append)
    await at.clock.settle()
    assert [one.error and one.error.code for one in outcomes] == [ErrorCode.UPSTREAM_UNAVAILABLE]


async def test_a_phone_that_left_while_it_was_judged_takes_no_seat(at: Scene) -> None:
    old = await at.served()
    at.upstream.end_session(at.upstream.session(old.ticket.secret), EndReason.EXPIRED)
    await at.pass_time(1)
    served = await at.served()
    link = at.link()
    link.mute()
    again = await at.again(old)
    again.leave()
    link.unmute()
    await at.clock.settle()
    assert (served.closed, at.node.connections) == (None, 1)


async def test_while_it_is_overloaded_a_node_lets_newcomers_in_slowly(at: Scene) -> None:
    budget, is_overloaded = at.admission_queue.budget, True
    usual = budget.log_ons_per_s
    at.node.is_overloaded = lambda: is_overloaded
    await at.clock.advance(1.0)
    assert budget.log_ons_per_s == pytest.approx(usual / 10)
    is_overloaded = False
    await at.clock.advance(1.0)
    assert budget.log_ons_per_s == usual


async def test_a_lease_is_renewed_in_time_however_long_the_other_work_for_users_takes(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.served()

    async def busy(_: object, clock: ManualClock) -> None:
        await clock.sleep(60.0)

    monkeypatch.setattr(UserStates, "tick", busy)
    for _ in range(20):
        await at.clock.advance(1.0)
        assert at.owner().lease.left_s(at.clock.now()) >= 3.0


# ---- idle users ----


_PACKAGE = str(Path(gateway.__file__).parent)
ROOM = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=10_000.0, log_ons_in_flight=1_000)


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count the calls of the product's functions."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            calls[f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


async def idle_users(at: Scene, users: int) -> None:
    """Serve users who log on at the same time; return when nothing about them is new."""
    for key in range(100, 100 + users):
        at.upstream.add_user(key, f"user{key}", scope=Scope(queues=frozenset({5})))
    for key in range(100, 100 + users):
        await at.served(f"user{key}")
    await at.pass_time(40)


async def until_all_is_done(at: Scene, users: int) -> None:
    """Return soon after the leases were renewed and the links had a keep-alive."""
    kept_alive = len(at.asked(KeepAlive))
    while len(at.asked(KeepAlive)) < kept_alive + users:
        await at.clock.advance(0.5)
    while any((at.owner(key).lease.due_at or 0.0) - at.clock.now() < 3.5 for key in range(100, 100 + users)):
        await at.clock.advance(0.5)


async def test_the_seconds_in_which_nothing_is_due_cost_the_same_for_any_number_of_users() -> None:
    costs: list[Counter[str]] = []
    for users in (1, 25):
        async with scene(ROOM) as at:
            await idle_users(at, users)
            await until_all_is_done(at, users)
            with counted_calls() as calls:
                for _ in range(6):
                    at.node.user_states[user(100)].due.touch()  # one user is not idle
                    await at.clock.advance(0.5)
            costs.append(calls)
    few, many = costs
    assert sum(few.values()) > 0
    assert many - few == Counter()


async def test_a_minute_costs_little_more_than_what_falls_due() -> None:
    costs: list[int] = []
    for users in (5, 25):
        async with scene(ROOM) as at:
            await idle_users(at, users)
            with counted_calls() as calls:
                await at.clock.advance(60)
            costs.append(sum(calls.values()))
            assert len(at.asked(KeepAlive)) >= 6 * users
            assert all(at.owner(key).lease.left_s(at.clock.now()) > 4.0 for key in range(100, 100 + users))
    per_user_and_second = (costs[1] - costs[0]) / 20 / 60
    assert per_user_and_second < 16, "six keep-alives and twelve renewals of the lease in a minute"


async def test_a_user_who_had_nothing_new_for_long_gets_the_next_reading_at_once() -> None:
    async with scene(ROOM) as at:
        await idle_users(at, 1)
        (phone,) = at.lines
        await at.clock.advance(60)
        at.upstream.set_waiting(9)
        await at.clock.settle()
        assert phone.waiting == 9
