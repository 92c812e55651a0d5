"""Ended sessions, how all nodes learn of them at once, and how their phones are refused."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest

from gateway.core.registry import Denylist, refusal
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, NodeId, User, UserId
from gateway.domain.upstream import LoggedOn
from gateway.protocol.envelopes import SessionOver
from gateway.runtime.accounts import DENIED_BEYOND_MS
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import SiteParts
from tests.core.samples import ticket_of
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.runtime.followed import followed
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.rivals import Gate
from tests.runtime.scene import FakePhone, Scene


async def refused(at: Nodes, phone: FakePhone, scene: Scene) -> tuple[int, str] | None:
    """Return how the session is refused at a node, at once; None when it is served."""
    return (await scene.again(phone)).ending


async def test_a_session_that_is_logged_off_anywhere_is_over_everywhere_at_once() -> None:
    async with open_nodes(3) as at:
        near, far = await followed(at)
        await at.scenes[2].node.account.log_off(far.ticket)
        await at.clock.settle()
        assert (far.ended.code, far.ended.reason, far.ended.by) == (
            CloseCode.LOGGED_OFF,
            EndReason.LOGGED_OFF,
            "self",
        )
        for scene in at.scenes:
            assert await refused(at, far, scene) == (CloseCode.LOGGED_OFF, EndReason.LOGGED_OFF)
        assert near.closed is None


@pytest.mark.parametrize("other", [UserId("main", 2), UserId("other", 1)])
async def test_a_log_off_denies_nobody_elses_session_of_the_same_public_id(at: Nodes, other: UserId) -> None:
    near, _ = await followed(at)
    await at.scenes[0].node.account.log_off(near.ticket)
    await at.clock.settle()
    elses = replace(near.ticket, user=other)
    for scene in at.scenes:
        assert scene.node.denied(near.ticket) is not None
        assert scene.node.denied(elses) is None
        assert await scene.node.session_revocations.known_elsewhere(near.ticket) is not None
        assert await scene.node.session_revocations.known_elsewhere(elses) is None


async def test_a_session_that_oscc_e_ended_is_over_everywhere_at_once(at: Nodes) -> None:
    near, far = await followed(at)
    at.upstream.end_session(at.upstream.session(far.ticket.secret), EndReason.TAKEN_OVER)
    await at.clock.settle()
    assert (far.ended.code, far.ended.reason) == (CloseCode.LOGGED_OFF, EndReason.TAKEN_OVER)
    received = at.received(SessionOver)
    assert [(one.ticket.handle, one.reason) for one in received] == [
        (far.ticket.handle, EndReason.TAKEN_OVER)
    ], "only who knew it first says it"
    for scene in at.scenes:
        assert await refused(at, far, scene) == (CloseCode.LOGGED_OFF, EndReason.TAKEN_OVER)
    assert near.closed is None


async def test_a_node_that_missed_it_looks_at_the_shelf() -> None:
    async with open_nodes(3) as at:
        _, far = await followed(at)
        at.trouble.lose_all(SessionOver)
        await at.scenes[0].node.account.log_off(far.ticket)
        await at.clock.settle()
        assert at.scenes[2].node.denied(far.ticket) is None
        assert await refused(at, far, at.scenes[2]) == (CloseCode.LOGGED_OFF, EndReason.LOGGED_OFF)
        assert not at.scenes[2].node.user_states


@pytest.mark.parametrize("of", [0, 1])
async def test_a_session_that_logs_off_during_the_look_up_is_not_served(
    at: Nodes, monkeypatch: pytest.MonkeyPatch, of: int
) -> None:
    phone, shared, gate = await at.scenes[0].phone("anna"), at.trouble.store(0).shared, Gate()
    denied = shared.denied

    async def slowly(handle: str) -> EndReason | None:
        answer = await denied(handle)
        await gate.passed()  # the answer is on its way
        return answer

    monkeypatch.setattr(shared, "denied", slowly)
    gate.shut()
    await phone.connect()
    assert gate.waiting == 1
    at.upstream.unreachable = True  # OSCC-E does not know yet that the session is over
    await at.scenes[of].node.account.log_off(phone.ticket)
    await at.clock.settle()
    at.upstream.unreachable = False
    gate.open()
    await at.clock.settle()
    assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, "self")
    assert not at.scenes[0].node.user_states


async def test_a_shelf_that_does_not_answer_denies_nobody() -> None:
    async with open_nodes(3) as at:
        near, far = await followed(at)
        at.trouble.lose_all(SessionOver)
        at.trouble.unanswered = lambda node: node >= 0
        await at.scenes[0].node.account.log_off(far.ticket)
        line = await at.scenes[2].again(near)
        await at.clock.settle()
        assert line.closed is None


async def test_the_shelf_keeps_an_end_as_long_as_its_token_may_be_shown(at: Nodes) -> None:
    _, far = await followed(at)
    await at.scenes[0].node.account.log_off(far.ticket)
    await at.clock.settle()
    shared = at.trouble.store(0).shared
    life_s = (far.ticket.expires_at_ms + DENIED_BEYOND_MS - at.clock.wall_ms()) / 1000
    for running in at.running:
        running.cancel()
    await at.clock.advance(life_s - 1)
    assert await shared.denied(far.ticket.handle) is EndReason.LOGGED_OFF
    await at.clock.advance(1)
    assert await shared.denied(far.ticket.handle) is None


async def test_of_a_token_that_nobody_can_show_any_more_nothing_is_kept(at: Nodes) -> None:
    _, far = await followed(at)
    shared, kept = at.trouble.store(0).shared, list[float]()

    async def keep(handle: str, reason: EndReason, ttl_s: float) -> None:
        kept.append(ttl_s)

    shared.deny = keep  # type: ignore[method-assign]  # only to be called
    at.clock.jump_wall(far.ticket.expires_at_ms + DENIED_BEYOND_MS - at.clock.wall_ms() - 1_000)
    at.scenes[0].node.session_ended(far.ticket, EndReason.EXPIRED, None)
    await at.clock.settle()
    assert kept == [1.0]
    at.clock.jump_wall(1_000)
    at.scenes[0].node.session_ended(far.ticket, EndReason.EXPIRED, None)
    await at.clock.settle()
    assert kept == [1.0]


async def test_a_log_on_clears_what_was_said_of_the_user_before(at: Nodes) -> None:
    near, _ = await followed(at)
    at.scenes[0].node.session_ended(near.ticket, EndReason.EXPIRED, None)
    assert at.scenes[0].node.denied(near.ticket) is not None
    await at.pass_time(1)
    await at.scenes[0].phone("anna", device="d3")
    assert at.scenes[0].node.denied(near.ticket) is None
    assert at.scenes[1].node.denied(near.ticket) is not None, "the other one keeps it: it may be true"


@pytest.mark.parametrize("reason", [EndReason.EXPIRED, EndReason.LOGGED_OFF])
async def test_a_new_session_with_an_old_id_is_served_where_it_opened(at: Nodes, reason: EndReason) -> None:
    near, _ = await followed(at)
    ticket, node = near.ticket, at.scenes[0].node
    node.session_ended(ticket, reason, None)
    await at.pass_time(1)
    assert await refused(at, near, at.scenes[0]) is not None
    again = LoggedOn(
        ticket.secret, ticket.session, ticket.expires_at_ms, 0, User(ticket.user, "anna", "Anna"), None
    )
    node.logged_on(again, at.clock.wall_ms())
    await at.pass_time(1)
    assert await refused(at, near, at.scenes[0]) is None


async def test_what_is_remembered_of_an_end_names_neither_user_nor_session(at: Nodes) -> None:
    phone = await at.scenes[0].phone("anna")
    await at.scenes[0].node.account.log_off(phone.ticket)
    await at.clock.settle()
    ticket = phone.ticket
    for scene in at.scenes:
        assert scene.node.denied(ticket) is not None
        ((session, end),) = scene.node.session_revocations.of(ticket.user)
        kept = held_in(scene.node.session_revocations._denied)
        assert {session, end.by} <= kept
        assert kept.isdisjoint({ticket.user, ticket.user.key, ticket.session, ticket.handle})


def held_in(thing: object) -> set[object]:
    """Return every value that *thing* holds, however deep."""
    found: set[object] = set()
    rest = [thing]
    while rest:
        one = rest.pop()
        if isinstance(one, Denylist | dict | tuple):
            rest += gc.get_referents(one)
        if not isinstance(one, dict | type):
            found.add(one)
    return found


async def test_an_unforeseen_fault_over_one_end_does_not_end_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with open_nodes() as at:
        near, far = await followed(at)
        shared = at.trouble.store(0).shared
        with monkeypatch.context() as broken:
            broken.setattr(shared, "deny", fail)
            await at.scenes[0].node.account.log_off(far.ticket)
            await at.clock.settle()
        assert "end_not_noted" in [one.getMessage() for one in caplog.records]
        assert at.scenes[0].counted("faults_total", part="endings") == 1
        await at.pass_time(2)
        assert near.closed is None
        await at.scenes[0].node.account.log_off(near.ticket)
        await at.clock.settle()
        assert await shared.denied(near.ticket.handle) is EndReason.LOGGED_OFF


async def test_a_log_off_that_another_node_retries_is_never_served_again_at_a_log_on(at: Nodes) -> None:
    near, far = await followed(at)
    at.upstream.unreachable = True
    await at.scenes[0].node.account.log_off(near.ticket)
    at.upstream.unreachable = False
    await at.clock.settle()
    await at.served(1, device="d3")
    for scene in at.scenes:
        await at.pass_time(65)
        assert await refused(at, near, scene) == (CloseCode.LOGGED_OFF, EndReason.LOGGED_OFF)
    assert far.closed is None


# ---- dependencies of an owner, and the notice of a session's end ----


DASHBOARD, REMOTE = Application.DASHBOARD, Application.REMOTE_ASSISTANT


@pytest.mark.parametrize(
    ("application", "reason", "code"),
    [
        (DASHBOARD, EndReason.LOGGED_OFF, CloseCode.LOGGED_OFF),
        (REMOTE, EndReason.LOGGED_OFF_BY_SUPERVISOR, CloseCode.LOGGED_OFF),
        (DASHBOARD, EndReason.TAKEN_OVER, CloseCode.LOGGED_OFF),
        (DASHBOARD, EndReason.BLOCKED, CloseCode.ACCOUNT_BLOCKED),
        (REMOTE, EndReason.EXPIRED, CloseCode.SESSION_ENDED),
        (DASHBOARD, EndReason.MAINTENANCE, CloseCode.SESSION_ENDED),
        (DASHBOARD, EndReason.UNKNOWN, CloseCode.SESSION_ENDED),
        (REMOTE, EndReason.UNKNOWN, CloseCode.LOGGED_OFF),
    ],
)
def test_a_reason_decides_on_a_refusal(application: Application, reason: EndReason, code: CloseCode) -> None:
    refused = refusal(ticket_of(application), reason, "Cleo")
    assert (refused.code, refused.reason, refused.by) == (code, reason, "Cleo")


def test_who_logs_on_again_is_given_a_window_and_nobody_else() -> None:
    expired = refusal(ticket_of(DASHBOARD), EndReason.EXPIRED, None)
    assert expired.window_s is not None
    assert 0 <= expired.window_s[0] < expired.window_s[1]
    assert refusal(ticket_of(DASHBOARD), EndReason.BLOCKED, None).window_s is None


# ---- Of what is a node made, and how much does it take? ----


SITE = SiteParts(FakeUpstream(ManualClock()), FakeUpstream(ManualClock()))


def test_a_site_is_asked_for_as_many_log_ons_as_is_said_at_a_rate_of_its_own() -> None:
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=5.0, log_ons_in_flight=3)
    budget = settings.budget(SITE)
    assert [budget.admit(0.0) for _ in range(4)] == [True, True, True, False]
    for _ in range(3):
        budget.done()
    assert [budget.admit(0.0) for _ in range(3)] == [True, True, False]
    assert [budget.admit(at / 10) for at in (1, 2)] == [False, True]
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=5.0)
    assert settings.links_per_s(SITE._replace(log_ons_per_s=2.0)) == 2.0
    assert settings.links_per_s(SITE._replace(links_per_s=500.0, log_ons_per_s=2.0)) == 500.0
    budget = settings.budget(SITE._replace(log_ons_per_s=2.0))
    assert [budget.admit(0.0) for _ in range(3)] == [True, True, False]
