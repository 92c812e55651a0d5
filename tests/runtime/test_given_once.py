"""Is every command carried out once, and by somebody, when offers of a user are late or lost?"""

from __future__ import annotations

import pytest

from gateway.domain.commands import Execute
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.envelopes import Attach, Envelope, Given, Offer
from gateway.runtime.handover import REST_S, UNLINKED_S, WISH_S, WISHES
from gateway.runtime.ports import Grant
from tests.runtime.followed import TRUSTED_S, followed
from tests.runtime.scene import PhoneLine
from tests.runtime.street import Street, street

APPLIED = {"status": "applied"}
TAKEN_S = 10.0
"""After how long nobody can take a user any more for a wish."""


def executed(at: Street) -> int:
    return len([request for _, request in at.upstream.requests if isinstance(request, Execute)])


def lose_offers(at: Street, most: int | None = None) -> None:
    lost: list[Envelope] = []

    def lose(_from: int, _to: int, _channel: object, said: Envelope) -> bool:
        if not isinstance(said, Offer) or (most is not None and len(lost) >= most):
            return False
        lost.append(said)
        return True

    at.trouble.lose = lose


async def unanswered(*_: object, **__: object) -> Grant:
    raise GatewayError(ErrorCode.BUS_DOWN, "The bus does not answer.")


async def sent_again(at: Street, phone: PhoneLine, stream: str) -> PhoneLine:
    """Let the phone come back to node 1, and ask what became of its command."""
    again = await at.scenes[1].again(phone)
    await at.pass_time(1)
    again.command("1", "1", retry=True, stream=stream)
    await at.pass_time(1)
    return again


async def test_an_offer_that_comes_when_its_giver_went_on_is_not_taken() -> None:
    async with street() as at:
        near, _ = await followed(at)
        stream = near.stream
        lose_offers(at)
        at.scenes[0].node.drain()
        for number in range(60):
            if not executed(at):
                await at.pass_time(1)
                near.command(f"before {number}", "1", stream=stream)
                await at.clock.settle()
        at.trouble.lose = None
        for late in [one for one in at.heard(Offer) if isinstance(one, Offer)]:
            at.scenes[1].node._cluster_receiver.heard(late)
        await at.pass_time(1)
        assert at.owners() == [0]
        again = await sent_again(at, near, stream)
        assert executed(at) == 1
        assert again.result("1") == APPLIED


@pytest.mark.parametrize("queued_s", [12.6, 16.0])
async def test_whoever_queues_at_the_turnstile_takes_no_user_whose_commands_went_on(queued_s: float) -> None:
    async with street() as at:
        near, _ = await followed(at)
        stream = near.stream
        at.scenes[1].node._queues["main"]._budget._bucket.owe(at.clock.now(), queued_s)
        at.scenes[0].node.drain()
        await at.pass_time(queued_s - 2)
        assert not at.heard(Offer), "who cannot dial does not wish"
        near.command("1", "1")
        await at.pass_time(0.5)
        assert near.result("1") == APPLIED
        await at.pass_time(12)
        assert at.owners() == [1]
        again = await sent_again(at, near, stream)
        assert executed(at) == 1
        assert again.result("1") == APPLIED


async def test_a_giver_goes_on_only_when_a_renewal_is_granted() -> None:
    async with street() as at:
        near, _ = await followed(at)
        at.ways[1].shut()
        at.scenes[0].node.drain()
        await at.pass_time(TAKEN_S + 2)
        assert at.holder() == 0, "the taker has the lease, and no link yet"
        near.command("1", "1", expires_at_ms=at.clock.wall_ms() + 60_000)
        await at.pass_time(5)
        assert executed(at) == 0
        at.ways[1].reopen()
        await at.pass_time(40)
        assert (at.owners(), at.holder()) == ([1], 1)
        assert at.openings[-1].instead_of is None, "the giver has closed its link, and proves nothing"
        assert near.outcome() == ("rejected", "upstream_unavailable")
        assert executed(at) == 0


async def test_whoever_is_answered_too_late_by_the_store_has_nothing_of_the_giver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as at:
        near, _ = await followed(at)
        leases = at.scenes[1].node._cluster.leases

        with monkeypatch.context() as patch:
            patch.setattr(leases, "acquire", unanswered)
            at.scenes[0].node.drain()
            await at.pass_time(TAKEN_S + 1)
            near.command("1", "1")
            await at.pass_time(0.5)
            assert near.result("1") == APPLIED
        at.scenes[0].node.is_draining = False
        await at.pass_time(5)
        assert at.owners() == [0]
        assert len(at.openings) == 1


async def test_whoever_takes_an_offered_user_without_the_store_has_nothing_of_the_giver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as at:
        near, _ = await followed(at)
        stream = near.stream
        await at.pass_time(TRUSTED_S)
        monkeypatch.setattr(at.scenes[1].node._cluster.leases, "acquire", unanswered)
        at.scenes[0].node.drain()
        await at.pass_time(0.5)
        assert at.heard(Offer)
        at.ways[1].shut()
        at.trouble.take_away(1)
        await at.pass_time(TAKEN_S)
        assert at.scenes[1].owner().epoch > at.scenes[0].owner().epoch, "the store is away for this one alone"
        near.command("1", "1")
        await at.pass_time(1)
        assert near.result("1") == APPLIED
        at.ways[1].reopen()
        for _ in range(30):
            if at.holder() == 0:
                await at.pass_time(1)
        assert at.openings[-1].token == at.scenes[1].owner().epoch
        again = await sent_again(at, near, stream)
        assert again.outcome() == ("unknown", "other_epoch")
        assert executed(at) == 1


async def test_a_store_that_forgets_while_a_user_is_given_lets_no_command_run_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as at:
        near, _ = await followed(at)
        stream = near.stream
        at.ways[1].shut()
        at.scenes[0].node.drain()
        await at.pass_time(0.5)
        assert at.owners() == [0, 1], "the taker has the lease, and no link yet"
        for way in ("renew", "renew_many"):
            monkeypatch.setattr(at.scenes[1].node._cluster.leases, way, unanswered)
        at.trouble.flush()
        at.scenes[0].node.is_draining = False
        for number in range(40):
            if not executed(at):
                await at.pass_time(0.5)
                near.command(f"before {number}", "1", stream=stream)
                await at.clock.settle()
        assert executed(at) == 1, "the giver made its lease again, and went on"
        at.ways[1].reopen()
        for _ in range(30):
            if at.holder() == 0:
                await at.pass_time(1)
        assert at.openings[-1].instead_of == "n0-1"
        await sent_again(at, near, stream)
        await at.pass_time(3)
        assert executed(at) == 1


async def test_the_history_of_who_gave_comes_with_the_word_whose_link_took_its_place() -> None:
    async with street() as at:
        near, _ = await followed(at)
        stream = near.stream
        near.command("1", "1")
        await at.pass_time(0.5)
        at.scenes[0].node.drain()
        await at.pass_time(5)
        assert at.holder() == 1
        word, *more = [one for one in at.heard(Given) if isinstance(one, Given)]
        assert not more
        assert word.token == at.openings[-1].token
        again = await sent_again(at, near, stream)
        assert again.result("1") == APPLIED
        assert executed(at) == 1


async def test_without_that_word_what_was_sent_before_is_not_executed_again() -> None:
    async with street() as at:
        near, _ = await followed(at)
        stream = near.stream
        near.command("1", "1")
        await at.pass_time(0.5)
        at.trouble.lose = lambda _from, _to, _channel, said: isinstance(said, Given)
        at.scenes[0].node.drain()
        await at.pass_time(5)
        again = await sent_again(at, near, stream)
        await at.pass_time(2)
        assert again.outcome() == ("unknown", "other_epoch")
        assert executed(at) == 1


async def test_an_offer_that_was_lost_is_told_again_at_once() -> None:
    async with street() as at:
        near, _ = await followed(at)
        lose_offers(at, 1)
        at.scenes[0].node.drain()
        await at.pass_time(0.5)
        near.command("1", "1", expires_at_ms=at.clock.wall_ms() + 3_000)
        await at.pass_time(3)
        assert at.owners() == [1]
        assert near.result("1") == APPLIED
        assert executed(at) == 1


async def test_the_offer_of_an_island_is_told_once_for_a_wish() -> None:
    async with street() as at:
        await followed(at)
        for way in at.ways:
            way.shut()
        await at.pass_time(UNLINKED_S + 40)
        told = [one.adopt for one in at.heard(Offer) if isinstance(one, Offer)]
        assert told
        assert len(told) == len(set(told)), "whoever hears one tries the site"
        assert at.owners() == [0]


async def test_a_user_whom_no_offer_leaves_is_served_on_while_others_ask_for_him() -> None:
    async with street() as at:
        near, far = await followed(at)
        lose_offers(at)
        at.scenes[0].node.drain()
        await at.pass_time((1 + WISHES) * TAKEN_S)
        wishes = {one.adopt for one in at.heard(Offer) if isinstance(one, Offer)}
        assert 1 < len(wishes) <= 1 + WISHES
        for second in range(30):
            if not executed(at):
                near.command(f"near {second}", "9", expires_at_ms=at.clock.wall_ms() + 900)
                await at.pass_time(1)
        at.said.clear()
        await at.pass_time(REST_S - 4)
        for number, phone in enumerate((near, far)):
            phone.command("1", str(number))
            await at.pass_time(1)
            assert phone.result("1") == {"status": "unchanged"}, "the first one had come through"
        assert not at.heard(Offer), "nobody is offered the user for a while"
        at.trouble.lose = None
        await at.pass_time(REST_S + TAKEN_S)
        assert at.owners() == [1]
        assert at.heard(Offer)


async def test_whoever_asks_for_ever_does_not_put_off_the_time_at_which_the_giver_goes_on() -> None:
    async with street() as at:
        near, far = await followed(at)
        lose_offers(at)
        at.scenes[0].node.drain()
        closed_s = 0
        for second in range(60):
            # what a follower's phone asks is refused, so that it looks for the owner and wishes anew
            far.command(f"far {second}", f"{2 * second}", expires_at_ms=at.clock.wall_ms() + 900)
            near.command(f"near {second}", f"{2 * second + 1}", expires_at_ms=at.clock.wall_ms() + 900)
            await at.pass_time(1)
            told = near.result(f"near {second}")
            closed_s += told is None or told["status"] == "rejected"
        assert closed_s < 2 * ((1 + WISHES) * WISH_S + TAKEN_S)


async def test_a_command_is_told_its_end_by_its_deadline_though_nobody_answers_for_its_session() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.lose = lambda *told: isinstance(told[-1], Attach)
        follower = at.home(1).follower
        assert follower is not None
        follower._remote_attach._accepted.clear()
        far.command("1", "1", expires_at_ms=at.clock.wall_ms() + 500)
        await at.pass_time(0.75)
        assert far.outcome() == ("rejected", "upstream_unavailable")
        assert executed(at) == 0
