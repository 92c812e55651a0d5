"""Every command runs once where offers of a user are late or lost."""

from __future__ import annotations

import pytest

from gateway.core.rate_limits import Budget, Urgency
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.envelopes import Asks, Attach, Envelope, Given, Here, Leaving, Offer
from gateway.runtime.handover import REQUEST_S, REQUESTS_MAX, REST_S, TURN_PAUSE_S, TURN_S, UNLINKED_S
from gateway.runtime.ports import Grant, Start
from tests.runtime.followed import executed, followed, follower
from tests.runtime.nodes import APPLIED, UNCHANGED, Nodes
from tests.runtime.scene import FakePhone, Scene, user

TAKEN_S = 10.0
"""After how long nobody can take a user any more for a wish."""


def lose_offers(at: Nodes, most: int | None = None) -> None:
    lost: list[Envelope] = []

    def lose(_from: int, _to: int, _channel: object, said: Envelope) -> bool:
        if not isinstance(said, Offer) or (most is not None and len(lost) >= most):
            return False
        lost.append(said)
        return True

    at.trouble.lose = lose


async def unanswered(*_: object, **__: object) -> Grant:
    raise GatewayError(ErrorCode.BUS_DOWN, "The bus does not answer.")


async def sent_again(at: Nodes, phone: FakePhone, stream: str) -> FakePhone:
    """Let the phone come back to node 1, and ask what became of its command."""
    again = await at.scenes[1].again(phone)
    await at.pass_time(1)
    again.command("1", "1", retry=True, stream=stream)
    await at.pass_time(1)
    return again


async def test_an_offer_that_comes_when_its_giver_went_on_is_not_taken(at: Nodes) -> None:
    near, _ = await followed(at)
    stream = near.stream
    lose_offers(at)
    at.scenes[0].node.drain()
    for number in range(60):
        if not executed(at):
            await at.pass_time(1)
            await near.send_command(f"before {number}", "1", stream=stream)
    at.trouble.lose = None
    for late in at.received(Offer):
        at.scenes[1].node._cluster_receiver.received(late)
    await at.pass_time(1)
    assert at.owners() == [0]
    again = await sent_again(at, near, stream)
    assert len(executed(at)) == 1
    assert again.result("1") == APPLIED


def owe(at: Nodes, seconds: float) -> None:
    """Let node 1 open no link for a while."""
    at.scenes[1].admission_queue.budget._bucket.owe(at.clock.now(), seconds)


async def test_a_giver_goes_on_only_when_a_renewal_is_granted(at: Nodes) -> None:
    near, _ = await followed(at)
    at.ways[1].shut()
    await at.drain(0, settled_s=TAKEN_S + 2)
    assert at.holder() == 0, "the taker has the lease, and no link yet"
    near.command("1", "1", expires_at_ms=at.clock.wall_ms() + 60_000)
    await at.pass_time(5)
    assert len(executed(at)) == 0
    at.ways[1].reopen()
    await at.pass_time(40)
    assert (at.owners(), at.holder()) == ([1], 1)
    assert at.openings[-1].instead_of is None, "the giver has closed its link, and proves nothing"
    assert near.outcome() == ("rejected", "upstream_unavailable")
    assert len(executed(at)) == 0


async def test_a_taker_with_a_late_answer_of_the_store_gets_nothing_of_the_giver(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, _ = await followed(at)
    leases = at.scenes[1].cluster.leases

    with monkeypatch.context() as patch:
        patch.setattr(leases, "acquire", unanswered)
        await at.drain(0, settled_s=TAKEN_S + 1)
        assert await at.result(near, "1", "1", within_s=0.5) == APPLIED
    at.scenes[0].node.is_draining = False
    await at.pass_time(5)
    assert (at.owners(), len(at.openings)) == ([0], 1)


async def test_a_store_that_forgets_while_a_user_is_given_lets_no_command_run_twice(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, _ = await followed(at)
    stream = near.stream
    at.ways[1].shut()
    await at.drain(0, settled_s=0.5)
    assert at.owners() == [0, 1], "the taker has the lease, and no link yet"
    for way in ("renew", "renew_many"):
        monkeypatch.setattr(at.scenes[1].cluster.leases, way, unanswered)
    at.trouble.flush()
    at.scenes[0].node.is_draining = False
    for number in range(40):
        if not executed(at):
            await at.pass_time(0.5)
            await near.send_command(f"before {number}", "1", stream=stream)
    assert len(executed(at)) == 1, "the giver made its lease again, and went on"
    at.ways[1].reopen()
    for _ in range(30):
        if at.holder() == 0:
            await at.pass_time(1)
    assert at.openings[-1].instead_of == "n0-1"
    await sent_again(at, near, stream)
    await at.pass_time(3)
    assert len(executed(at)) == 1


async def test_the_history_of_who_gave_comes_with_the_word_whose_link_took_its_place(at: Nodes) -> None:
    near, _ = await followed(at)
    stream = near.stream
    near.command("1", "1")
    await at.pass_time(0.5)
    await at.drain(0, settled_s=5)
    assert at.holder() == 1
    word, *more = at.received(Given)
    assert not more
    assert word.token == at.openings[-1].token
    again = await sent_again(at, near, stream)
    assert again.result("1") == APPLIED
    assert len(executed(at)) == 1


async def test_without_that_word_what_was_sent_before_is_not_executed_again(at: Nodes) -> None:
    near, _ = await followed(at)
    stream = near.stream
    near.command("1", "1")
    await at.pass_time(0.5)
    at.trouble.lose = lambda _from, _to, _channel, said: isinstance(said, Given)
    await at.drain(0, settled_s=5)
    again = await sent_again(at, near, stream)
    await at.pass_time(2)
    assert again.outcome() == ("unknown", "other_epoch")
    assert len(executed(at)) == 1


async def test_an_offer_that_was_lost_is_sent_again_at_once(at: Nodes) -> None:
    near, _ = await followed(at)
    lose_offers(at, 1)
    await at.drain(0, settled_s=0.5)
    near.command("1", "1", expires_at_ms=at.clock.wall_ms() + 3_000)
    await at.pass_time(3)
    assert at.owners() == [1]
    assert near.result("1") == APPLIED
    assert len(executed(at)) == 1


async def test_the_offer_of_an_island_is_sent_once_for_a_wish(at: Nodes) -> None:
    await followed(at)
    for way in at.ways:
        way.shut()
    await at.pass_time(UNLINKED_S + 40)
    received = [one.adopt for one in at.received(Offer)]
    assert received
    assert len(received) == len(set(received)), "each of them is tried at the site"
    assert at.owners() == [0]


async def test_a_user_whom_no_offer_leaves_is_served_on_while_others_ask_for_him(at: Nodes) -> None:
    near, far = await followed(at)
    lose_offers(at)
    at.scenes[0].node.drain()
    await at.pass_time((1 + REQUESTS_MAX) * TAKEN_S)
    wishes = {one.adopt for one in at.received(Offer)}
    assert 1 < len(wishes) <= 1 + REQUESTS_MAX
    for second in range(30):
        if not executed(at):
            near.command(f"near {second}", "9", expires_at_ms=at.clock.wall_ms() + 900)
            await at.pass_time(1)
    at.said.clear()
    await at.pass_time(REST_S - 4)
    for number, phone in enumerate((near, far)):
        assert await at.result(phone, "1", str(number), within_s=1) == UNCHANGED, (
            "the first one had come through"
        )
    assert not at.received(Offer), "nobody is offered the user for a while"
    at.trouble.lose = None
    await at.pass_time(REST_S + TAKEN_S)
    assert at.owners() == [1]
    assert at.received(Offer)


async def test_endless_requests_do_not_delay_the_givers_return(at: Nodes) -> None:
    near, far = await followed(at)
    lose_offers(at)
    at.scenes[0].node.drain()
    closed_s = 0
    for second in range(60):
        # a follower's commands are refused, so that it searches for the owner and asks again
        far.command(f"far {second}", f"{2 * second}", expires_at_ms=at.clock.wall_ms() + 900)
        near.command(f"near {second}", f"{2 * second + 1}", expires_at_ms=at.clock.wall_ms() + 900)
        await at.pass_time(1)
        received = near.result(f"near {second}")
        closed_s += received is None or received["status"] == "rejected"
    assert closed_s < 2 * ((1 + REQUESTS_MAX) * REQUEST_S + TAKEN_S)


async def test_a_command_has_its_outcome_in_time_though_nobody_answers_for_its_session(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(Attach)
    follower(at)._remote_attach.accepted.clear()
    far.command("1", "1", expires_at_ms=at.clock.wall_ms() + 500)
    await at.pass_time(0.75)
    assert far.outcome() == ("rejected", "upstream_unavailable")
    assert len(executed(at)) == 0


# ---- users of a node that leaves ----


USERS = range(101, 109)


def limit(scene: Scene, per_s: float, burst: float, links: int) -> Budget:
    """Let a node open its half of so many links."""
    budget = scene.admission_queue.budget
    budget._whole = (per_s, burst, links)
    budget.share(2, scene.clock.now())
    return budget


def slow(at: Nodes, per_s: float) -> None:
    """Let each node open so many links a second, one after the other."""
    for scene in at.scenes:
        limit(scene, 2 * per_s, 2.0, 32)


def in_flight(at: Nodes) -> int:
    budget = at.scenes[1].admission_queue.budget
    return budget.in_flight + budget.hand_overs


def waiting(at: Nodes) -> int:
    return len(at.scenes[1].admission_queue)


async def many(at: Nodes) -> list[FakePhone]:
    """Let node 0 own users who have a phone on each node; returns those of node 1."""
    far = []
    for key in USERS:
        at.upstream.add_user(key, f"user{key}")
        await at.served(0, f"user{key}", device="d1")
        far.append(await at.served(1, f"user{key}", device="d2"))
    await at.pass_time(1)
    assert all(at.owners(key) == [0] for key in USERS)
    return far


async def leave_unmet(at: Nodes, *, is_queued: bool) -> None:
    """Let node 0 leave, and node 1 wait for its turn, or have it and be offered nobody."""
    if is_queued:
        slow(at, 0.001)
        owe(at, 60.0)
    at.trouble.lose_all(Offer)
    await at.drain(0, settled_s=1)
    assert (waiting(at), in_flight(at)) == ((1, 0) if is_queued else (0, 1))


def moved(at: Nodes) -> list[int]:
    return [key for key in USERS if at.owners(key) == [1]]


async def test_users_move_one_after_the_other_and_none_is_without_an_owner_until_then(at: Nodes) -> None:
    far = await many(at)
    slow(at, 0.5)
    at.scenes[0].node.drain()
    counts = []
    for _ in range(8):
        counts.append(len(moved(at)))
        for key, phone in zip(USERS, far, strict=True):
            assert at.holder(key) == (1 if key in moved(at) else 0)
            assert phone.health == "live"
        await at.pass_time(2)
    assert counts == sorted(counts)
    assert 0 < counts[2] <= 3, "not all at once"
    await at.pass_time(4)
    assert moved(at) == list(USERS)
    assert all(phone.closed is None and phone.health == "live" for phone in far)
    assert in_flight(at) == waiting(at) == 0
    count = at.scenes[1].counted("budget_wait_seconds_count", **{"class": Urgency.GIVING.name.lower()})
    assert count == len(USERS)


async def test_users_who_are_not_handed_over_yet_hold_no_place_at_the_site(at: Nodes) -> None:
    await many(at)
    budget = limit(at.scenes[1], 200.0, 200.0, 8)
    at.trouble.lose_all(Offer)
    await at.drain(0, settled_s=1)
    assert (budget.hand_overs, budget.in_flight) == (4, 0)
    at.trouble.lose = None
    await at.pass_time(3)
    assert moved(at) == list(USERS)
    assert in_flight(at) == 0


async def test_an_overloaded_node_takes_users_at_its_usual_rate_despite_newcomers(at: Nodes) -> None:
    far = await many(at)
    slow(at, 0.5)
    budget = at.scenes[1].admission_queue
    at.scenes[1].node.is_overloaded = lambda: True
    await at.pass_time(1)
    newcomers = [budget.join(Urgency.PERSON, lambda: None) for _ in range(5)]
    await at.drain(0, settled_s=20)
    assert moved(at) == list(USERS), "8 users in 16 s, not in 160 s"
    assert all(phone.closed is None and phone.health == "live" for phone in far)
    assert len(budget) == len(newcomers)


async def test_a_user_that_waits_for_its_turn_is_requested_by_no_node(at: Nodes) -> None:
    await many(at)
    slow(at, 0.01)
    await at.drain(0, settled_s=1)
    at.said.clear()
    await at.pass_time(20)
    wishes = [since.adopt for asks in at.received(Asks) for since in asks.asks]
    assert wishes
    assert not any(wishes)
    assert not at.received(Offer)
    assert waiting(at) == len(USERS) - len(moved(at))


async def test_a_turn_that_came_to_nothing_is_given_back_for_others(at: Nodes) -> None:
    await followed(at)
    at.trouble.lose_all(Offer)
    await at.drain(0, settled_s=1)
    assert in_flight(at) == 1
    await at.pass_time(TURN_S)
    assert in_flight(at) == 0
    assert at.owners() == [0]
    await at.pass_time(TURN_PAUSE_S)
    assert in_flight(at) == 1
    at.trouble.lose = None
    await at.pass_time(2)
    assert at.owners() == [1]
    assert in_flight(at) == 0


@pytest.mark.parametrize("is_queued", [True, False])
async def test_a_user_without_phones_holds_no_turn(at: Nodes, *, is_queued: bool) -> None:
    _, far = await followed(at)
    await leave_unmet(at, is_queued=is_queued)
    far.bye()
    await at.pass_time(TURN_S)
    assert (waiting(at), in_flight(at)) == (0, 0)


async def test_without_a_lease_a_turn_is_given_back(at: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    await followed(at)
    monkeypatch.setattr(at.scenes[1].cluster.leases, "acquire", unanswered)
    await at.drain(0, settled_s=1)
    assert at.owners() == [0, 1]
    assert in_flight(at) == 1
    at.home(1).stop()
    await at.pass_time(2)
    assert in_flight(at) == 0


async def test_that_a_node_leaves_is_known_also_when_its_word_was_lost(at: Nodes) -> None:
    await followed(at)
    at.trouble.lose_all(Leaving)
    await at.drain(0, settled_s=0.5)
    at.said.clear()
    while not any(isinstance(said, Here) and said.node.draining for _, _, said in at.said):
        await at.pass_time(0.25)
    await at.pass_time(2)
    assert at.owners() == [1]


@pytest.mark.parametrize("is_queued", [True, False])
async def test_a_failed_follower_holds_no_turn(
    at: Nodes, monkeypatch: pytest.MonkeyPatch, *, is_queued: bool
) -> None:
    await followed(at)
    follows = follower(at)
    await leave_unmet(at, is_queued=is_queued)

    def fail(_now: float) -> bool:
        raise RuntimeError("a fault of one user")

    monkeypatch.setattr(follows.machine, "need", fail)
    follows.run_soon()
    await at.pass_time(1)
    assert user(1) not in at.scenes[1].node.user_states
    assert (waiting(at), in_flight(at)) == (0, 0)


async def test_nobody_has_a_turn_for_a_user_whose_owner_has_only_given_notice(at: Nodes) -> None:
    await followed(at)
    await at.scenes[0].node.membership.give_notice()
    for _ in range(40):
        await at.pass_time(0.25)
        assert (waiting(at), in_flight(at), at.owners()) == (0, 0, [0])
    await at.drain(0, settled_s=1)
    assert at.owners() == [1]


async def test_a_turn_that_goes_on_to_an_owner_who_does_not_begin_is_given_back(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await followed(at)
    home, follows = at.home(1), follower(at)
    end = follows.end

    def end_all(start: Start | None) -> None:
        end(start)
        if start is not None:
            assert (start.entered, in_flight(at)) == (True, 1)
            home.stop()

    monkeypatch.setattr(follows, "end", end_all)
    await at.drain(0, settled_s=2)
    assert home.over.is_set()
    assert in_flight(at) == 0
