"""How does a follower have its sessions accepted by a user's owner, and by the next one?"""

from __future__ import annotations

from gateway.domain.errors import CloseCode
from gateway.protocol.envelopes import (
    Attach,
    AttachAnswer,
    Inbox,
    Publication,
    Publications,
    Refusal,
)
from gateway.runtime.follower import Follower
from gateway.runtime.remote_owner import AGAIN_S, ANSWER_S, RemoteAttach
from tests.runtime.followed import followed
from tests.runtime.street import Street, street


def follower(at: Street) -> Follower:
    found = at.home(1).follower
    assert found is not None
    return found


def remote_attach(at: Street) -> RemoteAttach:
    return follower(at)._remote_attach


def presented(at: Street) -> int:
    return len(at.heard(Attach))


async def test_a_session_is_presented_once_while_its_owner_knows_it() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=2)
        assert remote_attach(at).is_accepted(far.ticket.handle)
        at.said.clear()
        await at.pass_time(60)
        assert presented(at) == 0


async def test_a_session_that_the_replica_has_lost_sight_of_is_presented_again() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=2)
        at.said.clear()
        at.scenes[0].owner().let_go(far.ticket.handle)
        await at.pass_time(3)
        assert presented(at) >= 1
        assert far.closed is None
        assert at.scenes[0].owner().user_sessions.get(far.ticket.handle) is not None


async def test_without_an_answer_a_session_is_presented_again_after_a_while() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=2)
        at.said.clear()
        at.trouble.lose = lambda *told: isinstance(told[-1], AttachAnswer)
        at.scenes[0].owner().let_go(far.ticket.handle)
        await at.pass_time(ANSWER_S + AGAIN_S)
        assert presented(at) == 1
        at.trouble.lose = None
        await at.pass_time(3)
        assert presented(at) >= 2
        assert remote_attach(at).is_accepted(far.ticket.handle)


async def test_a_session_that_is_refused_in_passing_closes_its_phone() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=2)
        at.upstream.live.pop(far.ticket.secret)
        at.scenes[0].owner().let_go(far.ticket.handle)
        await at.pass_time(3)
        assert far.code is CloseCode.SESSION_ENDED
        assert near.closed is None


async def test_an_owner_who_cannot_tell_closes_nobody() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=2)
        at.trouble.lose = lambda *told: isinstance(told[-1], Attach)
        remote_attach(at).follow(at.home(1).local[far.ticket.handle], follower(at)._tasks)
        await at.clock.settle()
        number = at.heard(Attach)[-1].request  # type: ignore[union-attr]  # an Attach has one
        refused = AttachAnswer(number, Refusal(CloseCode.INTERNAL, "upstream_unavailable", None, (1.0, 10.0)))
        await at.trouble.publish(0, Inbox(at.scenes[1].node.exchange.node), refused)
        await at.clock.settle()
        assert far.closed is None
        assert not remote_attach(at).is_accepted(far.ticket.handle)


async def test_a_refusal_for_a_reason_of_a_later_version_closes_nobody_and_harms_nobody() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=2)
        at.trouble.lose = lambda *told: isinstance(told[-1], AttachAnswer)
        fresh = await at.scenes[1].phone("anna", device="d3")
        fresh.hello()
        remote_attach(at).follow(at.home(1).local[far.ticket.handle], follower(at)._tasks)
        await at.clock.settle()
        at.trouble.lose = None
        for asked in at.heard(Attach)[-2:]:
            newer = AttachAnswer(asked.request, Refusal(4299, "of_tomorrow", None, None))  # type: ignore[union-attr]  # an Attach has one
            await at.trouble.publish(0, Inbox(at.scenes[1].node.exchange.node), newer)
        await at.pass_time(1)
        assert (fresh.ended.code, fresh.ended.reason) == (CloseCode.INTERNAL, "of_tomorrow")
        assert (near.closed, far.closed) == (None, None)


async def test_nor_of_one_that_left_while_its_owner_was_asked() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=2)
        at.trouble.lose = lambda *told: isinstance(told[-1], AttachAnswer)
        at.scenes[0].owner().let_go(far.ticket.handle)
        await at.pass_time(2)
        assert far.ticket.handle in remote_attach(at)._again_at
        far.leave()
        await at.pass_time(ANSWER_S + 1)
        assert remote_attach(at)._accepted == remote_attach(at)._again_at == {}


async def test_who_is_accepted_in_a_later_epoch_is_not_served_from_a_replica_of_an_earlier_one() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=2)
        before = at.scenes[0].owner().epoch
        at.trouble.lose = lambda *told: isinstance(told[-1], Publication | Publications)
        await at.upstream.open(near.ticket.user, near.ticket.secret, token=before + 1, holder="rival")
        await at.pass_time(12)
        assert at.scenes[0].owner().epoch > before
        again = await at.scenes[1].again(far, position=far.position)
        await at.pass_time(2)
        assert not again.of_kind("welcome"), "the replica is of the epoch before"
        at.trouble.lose = None
        await at.pass_time(4)
        assert again.of_kind("welcome")
        assert int(again.stream.partition(".")[0]) > before
