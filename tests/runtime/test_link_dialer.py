"""Opening a user's link: when, for which session, with which token."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from gateway.bus.memory import MemoryLeases
from gateway.core.lease import LeaseState
from gateway.core.link import Linger
from gateway.core.rate_limits import Urgency
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application, NodeId, Scope, UserId
from gateway.domain.upstream import LinkClosed, LinkReplaced
from gateway.runtime.node import NodeSettings
from gateway.runtime.ownership import LeaseKeeper
from gateway.runtime.ports import Grant, SiteParts
from tests.doubles.alone import alone
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tasks import beside, during
from tests.runtime.nodes import APPLIED, Nodes
from tests.runtime.scene import FakePhone, Scene, scene, user

QUICK = NodeSettings(NodeId("n1"), "n1-1", linger=Linger(dashboard_s=3, remote_assistant_s=6))


async def _rival(at: Scene, phone: FakePhone, token: int) -> None:
    """Let another holder open the user's link."""
    await at.upstream.open(phone.ticket.user, phone.ticket.secret, token=token, holder="rival")
    await at.clock.settle()


def _holder(at: Scene) -> str | None:
    link = at.upstream.link(user(1))
    return None if link is None else link.holder


async def test_the_token_of_the_lease_is_shown_to_oscc_e_and_is_the_epoch(at: Scene) -> None:
    phone = await at.served()
    link, lease = at.link(), await at.grant()
    assert (link.token, link.holder) == (lease.token, "n1-1")
    assert phone.stream.partition(".")[0] == str(lease.token)


async def test_a_lost_link_is_dialled_again_under_the_same_epoch(at: Scene) -> None:
    phone = await at.served()
    stream, token = phone.stream, at.owner().epoch
    at.upstream.drop(user(1))
    await at.clock.settle()
    assert phone.health == "down"
    await at.pass_time(1)
    assert at.link().token == token
    assert phone.health == "live"
    assert (phone.stream, phone.closed) == (stream, None)
    waits = [at.counted("budget_wait_seconds_count", **{"class": why}) for why in ("person", "reopening")]
    assert waits == [1, 1]


@pytest.mark.parametrize("step", ["about", "open"])
async def test_a_dial_that_was_asked_to_wait_waits(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    refusal = {
        "about": GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "wait", retry_after_s=9.0),
        "open": LinkClosed("unavailable", retry_after_s=9.0),
    }[step]
    dials: list[float] = []
    async with scene() as at:
        await at.served()

        async def refuse(*_: object, **__: object) -> None:
            dials.append(at.clock.now())
            raise refusal

        monkeypatch.setattr(at.upstream, step, refuse)
        at.upstream.drop(user(1))
        await at.pass_time(20)
        assert len(dials) == 3
        assert all(later - earlier >= 9 for earlier, later in pairwise(dials))


async def test_a_stale_token_raises_the_floor_and_phones_get_a_new_stream_in_place(at: Scene) -> None:
    phone = await at.served()
    before, shown = phone.stream, phone.shown
    highest = at.owner().epoch + 10**9
    at.upstream.drop(user(1))
    at.upstream.fences[user(1)] = (highest, "rival")
    await at.pass_time(2)
    assert at.owner().epoch > highest
    assert phone.stream.partition(".")[2] == before.partition(".")[2]
    assert phone.stream.partition(".")[0] == str(at.owner().epoch)
    assert phone.shown == shown
    assert phone.closed is None
    assert not any(frame.get("reset") for frame in phone.of_kind("changes")[1:])


async def test_after_a_kick_the_lease_is_renewed_and_then_it_waits(at: Scene) -> None:
    phone = await at.served()
    await _rival(at, phone, at.owner().epoch + 10**9)
    assert phone.health == "down"
    assert at.owner().lease.may_dial, "the renewal was sent at once, and granted"
    await at.pass_time(4)
    assert _holder(at) == "rival"
    await at.pass_time(4)
    assert _holder(at) == "n1-1"
    assert phone.closed is None
    assert at.counted("dual_owner_observed_total") == 1


async def test_an_owner_that_was_kicked_follows_the_winner(at: Scene) -> None:
    phone = await at.served()
    lease = await at.grant()
    await at.leases.release(user(1), lease.holder, lease.token)
    theirs = await at.leases.acquire(user(1), NodeId("n2"), "n2-1", floor=0)
    await _rival(at, phone, theirs.token)
    assert phone.closed is None
    follower = at.node.user_states[user(1)].follower
    assert follower is not None
    assert follower.owner == theirs
    assert await at.leases.read(user(1)) == theirs


async def test_a_link_that_says_it_is_replaced_is_left_though_the_server_keeps_it_open(at: Scene) -> None:
    await at.served()
    link = at.link()
    link.push(LinkReplaced(at.owner().epoch + 1))
    await at.clock.settle()
    assert not link.open


async def test_each_session_is_tried_and_the_lease_released_when_all_are_refused(at: Scene) -> None:
    phones = [await at.served(device=device) for device in ("d1", "d2")]
    agent = await at.served("bert", Application.REMOTE_ASSISTANT, number="1234")
    at.upstream.restart()
    await at.pass_time(2)
    codes = [None if phone.closed is None else phone.closed.code for phone in (*phones, agent)]
    assert codes == [CloseCode.SESSION_ENDED] * 3
    assert phones[0].ended.window_s is not None
    assert await at.leases.read(user(1)) is None
    assert await at.leases.read(user(7)) is None
    assert not at.node.user_states


@pytest.mark.parametrize("is_reported", [True, False])
async def test_an_assistant_logs_on_again_only_after_a_restart(at: Scene, *, is_reported: bool) -> None:
    at.upstream.instance = "first" if is_reported else None
    agent = await at.served("bert", Application.REMOTE_ASSISTANT, number="1234")
    at.upstream.restart()
    at.upstream.instance = "second" if is_reported else None
    await at.pass_time(2)
    received = (agent.ended.code, agent.ended.reason)
    assert received == ((4300, "maintenance") if is_reported else (4005, "unknown"))
    assert (agent.ended.window_s is not None) is is_reported


async def test_an_assistant_that_slept_through_a_restart_logs_on_again(at: Scene) -> None:
    agent = await at.phone("bert", Application.REMOTE_ASSISTANT, number="1234")
    at.upstream.restart()
    agent.hello()
    await at.pass_time(2)
    assert agent.code is CloseCode.SESSION_ENDED


async def test_a_session_that_is_unknown_at_the_same_server_ends_for_good(at: Scene) -> None:
    agent = await at.served("bert", Application.REMOTE_ASSISTANT, number="1234")
    del at.upstream.live[agent.ticket.secret]
    at.upstream.drop(user(7))
    await at.pass_time(2)
    assert agent.code is CloseCode.LOGGED_OFF


async def test_a_link_that_opens_for_nobody_is_closed() -> None:
    async with scene(QUICK) as at:
        phone = await at.served()
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        await at.pass_time(1)
        phone.leave()
        at.upstream.unreachable = False
        await at.clock.advance(40)
        assert at.upstream.link(user(1)) is None
        assert await at.leases.read(user(1)) is None
        assert not at.node.user_states


async def test_links_queue_for_the_budget_and_all_are_opened() -> None:
    tight = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=4.0)
    async with scene(tight) as at:
        for key in range(20, 26):
            at.upstream.add_user(key, f"user{key}", scope=Scope(agents=frozenset({7})))
        phones = []
        for key in range(20, 26):
            phones.append(await at.phone(f"user{key}"))
            await at.pass_time(0.5)
        for phone in phones:
            phone.hello()
        await at.clock.settle()
        assert [at.upstream.link(user(key)) is not None for key in range(20, 26)] == [True] * 4 + [False] * 2
        await at.pass_time(1)
        assert [at.upstream.link(user(key)) is not None for key in range(20, 26)] == [True] * 6
        assert all(phone.closed is None for phone in phones)


async def test_who_has_just_logged_on_comes_before_who_only_comes_back() -> None:
    tight = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=2.0)
    async with scene(tight) as at:
        for key in (20, 21):
            at.upstream.add_user(key, f"user{key}", scope=Scope(agents=frozenset({7})))
        old = (await at.phone("user20")).ticket
        await at.pass_time(61)
        fresh = await at.phone("user21")
        admission_queue = at.admission_queue
        assert admission_queue.enter(admission_queue.join(Urgency.PERSON, lambda: None), at.clock.now())
        back = FakePhone(at, old)
        await back.connect()
        fresh.hello()
        await at.pass_time(0.5)
        assert [at.upstream.link(user(key)) is not None for key in (20, 21)] == [False, True]
        await at.pass_time(1)
        assert at.upstream.link(user(20)) is not None


# ---- beside other nodes ----


async def granted_elsewhere(at: Nodes, node: str = "n1") -> int:
    """Let the store grant the user to a node, while node 0 has his link; returns the token."""
    leases, owner = at.trouble.store(0).leases, at.scenes[0].owner()
    grant = await leases.acquire(user(1), NodeId(node), f"{node}-0", floor=0, expected=owner.epoch)
    return grant.token


async def test_a_link_whose_lease_is_lost_is_reopened_under_another(at: Nodes) -> None:
    near = await at.served(0, settled_s=2)
    taken = await granted_elsewhere(at)
    await at.pass_time(6)
    assert len(at.openings) == 1, "it is another's, who may come"
    await at.trouble.store(0).leases.release(user(1), "n1-0", taken)
    await at.pass_time(7)
    assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (0, None)]
    assert at.openings[1].token > taken
    assert (near.closed, near.health) == (None, "live")


async def test_a_link_whose_lease_another_keeps_is_given_up_after_a_while(at: Nodes) -> None:
    near = await at.served(0, settled_s=2)
    taken = await granted_elsewhere(at)
    leases = at.trouble.store(0).leases
    for _ in range(9):
        await at.pass_time(2)
        await leases.renew(user(1), NodeId("n1"), "n1-0", taken)
    assert at.owners() == [0]
    assert await at.result(near, "1", "1", within_s=2) == APPLIED, "OSCC-E has it so"
    for _ in range(8):
        await at.pass_time(2)
        await leases.renew(user(1), NodeId("n1"), "n1-0", taken)
    assert len(at.openings) == 2, "given up, and taken again from a node that denies to have it"
    assert at.openings[1].token > taken
    assert (near.closed, near.health) == (None, "live")
    assert at.counted("dual_owner_observed_total")[0] == 1


async def test_a_link_stays_while_the_store_does_not_tell_whose_lease_it_is(at: Nodes) -> None:
    near = await at.served(0, settled_s=2)
    await granted_elsewhere(at)
    await at.pass_time(6)
    at.trouble.take_away()
    await at.pass_time(60)
    assert (at.owners(), len(at.openings)) == ([0], 1)
    assert (near.closed, near.health) == (None, "live")


async def test_without_the_bus_and_beside_nobody_a_first_phone_is_served_when_it_is_down(at: Nodes) -> None:
    at.trouble.take_away()
    phone = await at.scenes[0].phone("anna")
    phone.hello()
    await at.pass_time(3)
    assert not at.openings
    await at.pass_time(5)
    assert phone.of_kind("welcome")
    assert phone.health == "live"
    assert at.openings[0].token >= at.clock.wall_ms() * 1000 - 60_000_000
    at.trouble.give_back()
    await at.pass_time(10)
    grant = await at.grant()
    assert (grant.node, grant.token) == ("n0", at.openings[0].token), "it is registered as it is"
    assert len(at.openings) == 1
    assert phone.closed is None


# ---- requests to the lease store ----


class Store(MemoryLeases):
    """Leases that may be slow."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.slow_s = 0.0
        self.asked: list[str] = []
        self._time = clock

    async def _reach(self, what: str) -> None:
        self.asked.append(what)
        await self._time.sleep(self.slow_s)

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        await self._reach("acquire")
        return await super().acquire(user, node, holder, floor=floor, expected=expected)

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        await self._reach("renew")
        return await super().renew(user, node, holder, token)


class Place:
    """One node's lease keeper of one user, at a store of its own."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store, upstream = Store(self.clock), FakeUpstream(self.clock)
        outside = (self.clock, upstream, SiteParts(upstream, upstream))
        at = Scene(NodeSettings(NodeId("n1"), "n1-1"), outside, alone(self.clock, self.store))
        self.lease_keeper = LeaseKeeper(user(1), at.services)


async def test_one_question_at_a_time_and_one_that_is_cancelled_counts_as_unanswered() -> None:
    at = Place()
    at.store.slow_s = 1
    async with asyncio.TaskGroup() as tasks:
        first, second = tasks.create_task(at.lease_keeper.ask()), tasks.create_task(at.lease_keeper.ask())
        await at.clock.advance(0.5)
        assert at.store.asked == ["acquire"]
        await at.clock.advance(2)
    assert (first.result(), second.result()) == ("ours", "ours")
    assert at.store.asked == ["acquire", "renew"]
    at = Place()
    await at.lease_keeper.ask()
    at.store.slow_s = 1
    async with during(at.lease_keeper.ask()):
        await at.clock.settle()
    at.store.slow_s = 0
    assert at.lease_keeper.lease.state is LeaseState.HELD
    await at.lease_keeper.release()
    assert await at.store.read(user(1)) is None


@pytest.mark.parametrize("renewing", [False, True])
async def test_a_lease_given_up_meanwhile_is_released_when_the_answer_comes(renewing: bool) -> None:
    at = Place()
    if renewing:
        await at.lease_keeper.ask()
    at.store.slow_s = 1
    async with beside(at.lease_keeper.ask()) as asking:
        await at.clock.settle()
        await at.lease_keeper.release()
        await at.clock.advance(5)
    assert asking.result() == "unanswered"
    assert await at.store.read(user(1)) is None
