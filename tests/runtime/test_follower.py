"""Followers: a node serves a user whom another node owns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.commands import Execute, Listen
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Kind, NodeId, Scope
from gateway.domain.upstream import Announced, Part, Source
from gateway.protocol.envelopes import (
    Asks,
    Attach,
    AttachAnswer,
    BusChannel,
    CallAnswer,
    CallRequest,
    Detach,
    Envelope,
    Given,
    Inbox,
    Offer,
    Publication,
    Publications,
    Refusal,
    SessionOver,
    Since,
)
from gateway.runtime.follower import ATTACH_AGAIN_S, ATTACH_ANSWER_S, RemoteAttach
from gateway.runtime.ports import Grant, Start
from gateway.runtime.sessions import ATTACH_S, TURN_SHOWN_S, TURNS
from tests.runtime.followed import (
    TRUSTED_S,
    followed,
    follower,
    publication,
    receive,
    resets,
)
from tests.runtime.nodes import APPLIED, UNCHANGED, Nodes
from tests.runtime.scene import FakePhone, replace_method, user

# ---- served through the owner ----


async def test_a_phone_at_another_node_is_served_through_the_one_link(at: Nodes) -> None:
    near, far = await followed(at)
    assert len(at.openings) == 1
    assert far.shown.keys() == near.shown.keys()
    assert far.health == "live"
    at.upstream.set_waiting(9)
    await at.pass_time(1)
    assert (near.waiting, far.waiting) == (9, 9)
    assert await at.result(far, "1", "1", within_s=0.5) == APPLIED
    assert near.shown["agent:7"]["routing_state"] == far.shown["agent:7"]["routing_state"] == "unavailable"
    assert await at.result(near, "2", "1", retry=True, within_s=0.5) == APPLIED
    assert len(at.scenes[0].asked(Execute)) == 1
    at.link().push(Announced("n", 1, "maintenance", "Tonight", "An update", None, None))
    await at.clock.settle()
    assert [len(phone.of_kind("notice")) for phone in (near, far)] == [1, 1]


async def test_a_phone_of_an_owned_user_is_served_without_a_request_for_the_lease(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def refuse(*args: object, **_: object) -> Grant:
        asked.append(args)
        return await at.grant()

    replace_method(monkeypatch, at.scenes[1].cluster.leases, "acquire", refuse)
    _, far = await followed(at)
    assert far.health == "live"
    assert asked == []


async def test_a_phone_is_served_before_the_subscription_of_its_user_is_confirmed(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed, bus = asyncio.Event(), at.scenes[1].cluster.bus
    usual = bus.subscribe

    async def subscribe(channel: BusChannel, receive: Callable[[Envelope], None]) -> None:
        await confirmed.wait()
        await usual(channel, receive)

    near = await at.served(0)
    replace_method(monkeypatch, bus, "subscribe", subscribe)
    far = await at.served(1, device="d2", settled_s=1)
    assert far.shown.keys() == near.shown.keys()
    confirmed.set()
    await at.pass_time(1)
    requests = since_requests(at)
    assert [one.seq for one in requests] == [0, far.position["seq"]], "what came on the channel is requested"


def since_requests(at: Nodes) -> list[Since]:
    """Return all requests for changes, also those that came with a session."""
    found: list[Since] = []
    for _, _, envelope in at.said:
        match envelope:
            case Asks(asks=asks):
                found += asks
            case Attach(since=Since() as since):
                found.append(since)
    return found


async def test_requests_at_intervals_for_many_users_leave_in_one_message_a_second(at: Nodes) -> None:
    keys = range(20, 30)
    for key in keys:
        at.upstream.add_user(key, f"anna{key}", scope=Scope(queues=frozenset({5})))
        for number, scene in enumerate(at.scenes):
            await scene.served(f"anna{key}", device=f"d{number}")
        await at.pass_time(0.35)
    await at.pass_time(TRUSTED_S)
    at.said.clear()
    await at.pass_time(30)
    by_user = Counter(since.user for since in since_requests(at))
    assert by_user.keys() == {user(key) for key in keys}
    assert set(by_user.values()) <= {3, 4}, "every 7.5 to 10 s, up to a second late"
    assert len(at.received(Asks)) <= 31, "none beside the probe of each second"
    assert {scene.lines[-1].health for scene in at.scenes} == {"live"}


async def test_requests_at_intervals_wake_no_phone(at: Nodes) -> None:
    _, far = await followed(at, settled_s=TRUSTED_S)
    at.said.clear()
    woken = far.woken
    await at.pass_time(40)
    assert len(since_requests(at)) >= 4
    assert far.woken == woken
    assert far.facts == []


@pytest.mark.parametrize("late_s", [0.0, 0.4])
async def test_a_phone_that_moves_costs_seven_messages_and_one_state(at: Nodes, late_s: float) -> None:
    phone = await at.served(0, settled_s=5)
    await at.drain(0, settled_s=1)
    at.said.clear()
    at.trouble.delays, at.trouble.delay_s = float(late_s > 0), late_s
    at.trouble.chance = lambda: 0.999
    phone.bye()
    moved = await at.scenes[1].again(phone)
    await at.pass_time(8)
    assert at.owners() == [1]
    assert (moved.health, moved.shown) == ("live", phone.shown)
    kinds = (Attach, AttachAnswer, Asks, Publication, Publications, Offer, Given)
    said = [one for _, _, one in at.said if not (isinstance(one, Asks) and not one.asks)]
    sent = Counter(type(one).__name__ for one in said if isinstance(one, kinds))
    assert sent == {"Attach": 1, "Publication": 3, "AttachAnswer": 1, "Offer": 1, "Given": 1}
    states = [one for one in at.received(Publication) if one.updates]
    assert len(states) == 1


async def test_an_owner_of_an_older_version_is_asked_for_changes_separately(at: Nodes) -> None:
    await at.served(0)
    owner = at.scenes[0].node

    def received(envelope: Envelope) -> None:  # it reads no field of later versions
        owner._cluster_receiver.received(
            replace(envelope, since=None) if isinstance(envelope, Attach) else envelope
        )

    owner.exchange._received = received
    far = await at.served(1, device="d2")
    assert far.health == "live"
    assert [one.seq for one in since_requests(at)][:2] == [0, 0]


async def test_a_session_that_the_owner_published_in_vain_is_shown_after_one_more_request(at: Nodes) -> None:
    await followed(at)
    lost: list[Envelope] = []

    def lose(_: int, to: int, __: BusChannel, envelope: Envelope) -> bool:
        if to == 1 and isinstance(envelope, Publication | Publications) and not lost:
            lost.append(envelope)
            return True
        return False

    at.trouble.lose = lose
    far = await at.served(1, device="d3", settled_s=1)
    assert lost
    assert far.health == "live"


async def test_changes_are_not_answered_for_a_session_that_is_refused(at: Nodes) -> None:
    near = await at.served(0)
    at.scenes[0].node.session_revocations.note(near.ticket, EndReason.BLOCKED, "somebody")
    near.bye()
    await at.scenes[1].again(near)
    await at.pass_time(1)
    assert not any(one.read for one in at.received(AttachAnswer))


@pytest.mark.parametrize("turns", [0, 3, 6])
async def test_commands_that_wait_for_their_session_are_not_overtaken(at: Nodes, turns: int) -> None:
    _, far = await followed(at)
    far.send(kind="follow", id="9", topics=["queue:5"])  # the owner is to accept it again
    for _ in range(2):
        await asyncio.sleep(0)
    far.command("1", "1")
    for _ in range(turns):
        await asyncio.sleep(0)
    far.command("2", "2")
    await at.pass_time(1)
    assert [far.result("1"), far.result("2")] == [APPLIED, UNCHANGED]


async def test_what_no_node_has_begun_is_not_sent_to_the_same_one_again_at_once(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.kill(0)
    at.said.clear()
    await far.send_command("1", "1")
    assert len(at.received(CallRequest)) == 1
    await at.pass_time(0.5)
    assert len(at.received(CallRequest)) == 2


async def test_what_a_phone_elsewhere_follows_is_listened_to_at_the_owner(at: Nodes) -> None:
    far = await at.scenes[1].phone("anna", device="d2")
    near = await at.served(0, topics=["agents"])
    far.hello(topics=["agents"])
    await at.pass_time(1)
    assert "queue:5" not in far.shown
    far.send(kind="follow", id="1", topics=["queue:5"])
    await at.pass_time(1)
    assert far.waiting == 3
    assert "queue:5" not in near.shown
    listened = {(one.kind, one.numbers) for one in at.scenes[0].asked(Listen)}
    assert (Kind.QUEUE, frozenset({5})) in listened


async def test_a_phone_in_sync_resumes_at_a_node_that_begins_to_follow(at: Nodes) -> None:
    near = await at.served(0)
    await at.served(0, device="d2")  # what is another session's own has a later number
    await at.pass_time(1)
    near.bye()
    far = await at.scenes[1].again(near, position=near.position)
    await at.pass_time(1)
    assert at.owners() == [0]
    assert far.of_kind("welcome")[0]["resumed"]
    seq = near.position["seq"]
    assert far.of_kind("changes") == [{"kind": "changes", "after": seq, "upto": seq}]


async def test_a_phone_elsewhere_has_its_rights_and_is_missed_when_it_leaves(at: Nodes) -> None:
    _, far = await followed(at)
    received = len(far.facts)
    person = at.upstream.people[user(1)]
    application = far.ticket.application
    scope = Scope(frozenset({7}), person.scopes[application].queues)
    at.upstream.set_scope(user(1), application, scope)
    await at.pass_time(1)
    assert far.facts[-1].scope.agents == {7}
    assert len(far.facts) > received
    assert "agent:8" not in far.shown
    owner = at.scenes[0].owner()
    assert [member.handle for member in owner.user_sessions.at(at.scenes[1].node.exchange.node)] == [
        far.ticket.handle
    ]
    far.bye()
    await at.clock.settle()
    assert not at.scenes[0].member(far).present


# ---- the end of a session ----


@pytest.mark.parametrize("is_last", [False, True])
async def test_a_phone_elsewhere_whose_session_ends_keeps_its_data(at: Nodes, is_last: bool) -> None:
    near, far = await followed(at)
    if is_last:
        at.upstream.end_session(at.upstream.session(near.ticket.secret), EndReason.LOGGED_OFF)
        await at.pass_time(1)
    shown = far.shown
    at.trouble.lose_all(SessionOver)
    at.upstream.end_session(at.upstream.session(far.ticket.secret), EndReason.BLOCKED, "Cleo")
    await at.pass_time(0.2)
    assert (far.ended.code, far.ended.by) == (CloseCode.ACCOUNT_BLOCKED, "Cleo")
    assert far.shown == shown


# ---- repair ----


async def test_what_was_lost_is_asked_for_and_comes(at: Nodes) -> None:
    near, far = await followed(at)
    at.trouble.lose_all(Publication, Publications, to=1)
    at.upstream.set_waiting(8)
    await at.pass_time(0.5)
    assert (near.waiting, far.waiting) == (8, 3)
    at.trouble.lose = None
    at.upstream.put(
        Part(Kind.AGENT, 7, Source.REALTIME, at.upstream.parts[Source.REALTIME, Kind.AGENT, 7].value)
    )
    at.upstream.set_waiting(9)
    await at.pass_time(0.5)
    assert far.waiting == 9
    assert far.shown == near.shown | {"me": far.shown["me"]}
    assert at.counted("bus_gaps_total", detector="sequence") == [0, 1]
    assert at.counted("resyncs_total", reason="gap") == [0, 1]


async def test_a_gap_makes_nothing_look_newer_and_what_answers_it_may_be_lost_too(at: Nodes) -> None:
    near, far = await followed(at)
    await at.pass_time(TRUSTED_S)
    at.trouble.lose_all(Publication, Publications, to=1)
    at.upstream.set_waiting(8)
    await at.clock.settle()
    held_at = follower(at).feed.ledger.health.as_of
    await at.pass_time(1)
    # what is published comes again and shows the gap, the answers to questions about it do not come
    at.trouble.lose_all(Publication, to=1)
    at.upstream.set_waiting(9)
    await at.clock.settle()
    assert (near.waiting, far.waiting) == (9, 3)
    assert (far.health, follower(at).feed.ledger.health.as_of) == ("live", held_at)
    await at.pass_time(4.5)
    assert far.health == "stale"
    at.trouble.lose = None
    await at.pass_time(2)
    assert (far.waiting, far.health) == (9, "live")


async def test_what_was_lost_last_comes_within_ten_seconds(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(Publication, Publications, to=1)
    at.upstream.set_waiting(8)
    await at.pass_time(0.5)
    at.trouble.lose = None
    await at.pass_time(10)
    assert far.waiting == 8
    assert resets(far) == 1


# ---- small things ----


async def test_a_follower_asks_to_speak_for_the_user_only_while_a_phone_is_here(at: Nodes) -> None:
    _, far = await followed(at)
    at.said.clear()
    await at.pass_time(12)
    adopts = [
        since.adopt
        for _, _, received in at.said
        for since in getattr(received, "asks", ())
        if isinstance(since, Since)
    ]
    assert adopts
    assert all(adopts)
    far.bye()
    at.said.clear()
    await at.pass_time(12)
    adopts = [since.adopt for _, _, received in at.said for since in getattr(received, "asks", ())]
    assert adopts
    assert not any(adopts)


# ---- sessions that a follower presents to the owner ----


def remote_attach(at: Nodes) -> RemoteAttach:
    return follower(at)._remote_attach


def presented(at: Nodes) -> int:
    return len(at.received(Attach))


async def test_a_session_is_presented_once_until_the_replica_loses_sight_of_it(at: Nodes) -> None:
    _, far = await followed(at, settled_s=2)
    assert remote_attach(at).is_accepted(far.ticket.handle)
    at.said.clear()
    await at.pass_time(60)
    assert presented(at) == 0
    at.said.clear()
    at.scenes[0].owner().drop_session(far.ticket.handle)
    await at.pass_time(3)
    assert presented(at) >= 1
    assert far.closed is None
    assert far.ticket.handle in at.scenes[0].owner().user_sessions.by_handle


async def test_without_an_answer_a_session_is_presented_again_after_a_while(at: Nodes) -> None:
    _, far = await followed(at, settled_s=2)
    at.said.clear()
    at.trouble.lose_all(AttachAnswer)
    at.scenes[0].owner().drop_session(far.ticket.handle)
    await at.pass_time(ATTACH_ANSWER_S + ATTACH_AGAIN_S)
    assert presented(at) == 1
    at.trouble.lose = None
    await at.pass_time(3)
    assert presented(at) >= 2
    assert remote_attach(at).is_accepted(far.ticket.handle)


async def test_a_session_that_is_refused_in_passing_closes_its_phone(at: Nodes) -> None:
    near, far = await followed(at, settled_s=2)
    at.upstream.live.pop(far.ticket.secret)
    at.scenes[0].owner().drop_session(far.ticket.handle)
    await at.pass_time(3)
    assert far.code is CloseCode.SESSION_ENDED
    assert near.closed is None


@pytest.mark.parametrize("makes_sense", [True, False])
async def test_an_owner_who_cannot_tell_closes_nobody(at: Nodes, *, makes_sense: bool) -> None:
    _, far = await followed(at, settled_s=2)
    at.trouble.lose_all(Attach)
    remote_attach(at).follow(far.ticket.handle)
    await at.clock.settle()
    number = at.received(Attach)[-1].request
    refused = AttachAnswer(number, Refusal(CloseCode.INTERNAL, "upstream_unavailable", None, (1.0, 10.0)))
    answer = refused if makes_sense else CallAnswer(number, None)
    await at.trouble.publish(0, Inbox(at.scenes[1].node.exchange.node), answer)
    await at.clock.settle()
    assert far.closed is None
    assert not remote_attach(at).is_accepted(far.ticket.handle)


async def test_a_refusal_of_a_connection_that_its_phone_has_left_closes_not_the_next_one(at: Nodes) -> None:
    _, far = await followed(at, settled_s=2)
    at.trouble.lose_all(AttachAnswer)
    remote_attach(at).follow(far.ticket.handle)
    await at.clock.settle()
    number = at.received(Attach)[-1].request
    far.leave()
    await at.pass_time(0.5)
    at.trouble.lose = None
    again = await at.scenes[1].again(far)
    await at.pass_time(0.5)
    refused = AttachAnswer(number, Refusal(CloseCode.REPLACED, "replaced", None, None))
    await at.trouble.publish(0, Inbox(at.scenes[1].node.exchange.node), refused)
    await at.clock.settle()
    assert again.closed is None


async def test_a_refusal_for_a_reason_of_a_later_version_closes_nobody_and_harms_nobody(at: Nodes) -> None:
    near, far = await followed(at, settled_s=2)
    at.trouble.lose_all(AttachAnswer)
    fresh = await at.scenes[1].phone("anna", device="d3")
    fresh.hello()
    remote_attach(at).follow(far.ticket.handle)
    await at.clock.settle()
    at.trouble.lose = None
    for asked in at.received(Attach)[-2:]:
        newer = AttachAnswer(asked.request, Refusal(4299, "of_tomorrow", None, None))
        await at.trouble.publish(0, Inbox(at.scenes[1].node.exchange.node), newer)
    await at.pass_time(1)
    assert (fresh.ended.code, fresh.ended.reason) == (CloseCode.INTERNAL, "of_tomorrow")
    assert (near.closed, far.closed) == (None, None)


async def test_nor_of_one_that_left_while_its_owner_was_asked(at: Nodes) -> None:
    _, far = await followed(at, settled_s=2)
    at.trouble.lose_all(AttachAnswer)
    at.scenes[0].owner().drop_session(far.ticket.handle)
    await at.pass_time(2)
    assert far.ticket.handle in remote_attach(at)._again_at
    far.leave()
    await at.pass_time(ATTACH_ANSWER_S + 1)
    assert remote_attach(at).accepted == remote_attach(at)._again_at == {}


async def test_an_owner_that_answers_after_its_user_moved_here_keeps_no_phone_waiting(at: Nodes) -> None:
    near, _ = await followed(at, settled_s=2)
    at.trouble.lose_all(AttachAnswer)
    fresh = await at.scenes[1].phone("anna", device="d3")
    fresh.hello()
    await at.clock.settle()
    token = at.scenes[0].owner().epoch
    answer = AttachAnswer(at.received(Attach)[-1].request, epoch=token)
    at.trouble.lose = None
    near.leave()
    follower(at).end(Start(expected=token, floor=token))
    await at.trouble.publish(0, Inbox(at.scenes[1].node.exchange.node), answer)
    await at.pass_time(0.3)
    assert 1 in at.owners()
    assert fresh.of_kind("welcome")


async def test_who_is_accepted_in_a_later_epoch_is_not_served_from_an_earlier_one(at: Nodes) -> None:
    near, far = await followed(at, settled_s=2)
    before = at.scenes[0].owner().epoch
    at.trouble.lose_all(Publication, Publications)
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


async def test_what_concerns_nobody_who_follows_and_what_comes_after_its_end_is_ignored(at: Nodes) -> None:
    _, far = await followed(at)
    gone, frames = follower(at), len(far.frames)
    receive(at, Detach(user(1), far.ticket.handle, at.scenes[0].node.exchange.node))
    position = gone.feed.ledger.position
    gone.stop()
    receive(at, publication(at, gone.machine.floor + 1, 99))
    assert (gone.feed.ledger.position, len(far.frames), gone.is_over) == (position, frames, True)


# ---- phones that wait for their turn at the owner ----


async def _begin_behind(at: Nodes) -> tuple[FakePhone, FakePhone]:
    """Give a phone at the owner and one at its follower whose link does not answer yet, at a late owner."""
    at.upstream.mute_links = True
    near, far = [await scene.phone("anna", device=f"d{place}") for place, scene in enumerate(at.scenes)]
    near.hello()
    await at.pass_time(1)
    far.hello()
    await at.pass_time(1)
    assert at.owners() == [0]
    return near, far


async def test_phones_wait_for_another_node_without_a_task(at: Nodes) -> None:
    await _begin_behind(at)
    tasks = len(asyncio.all_tasks())
    more = [await at.scenes[1].phone("anna", device=f"more{number}") for number in range(2)]
    for phone in more:
        phone.hello()
    await at.pass_time(TURN_SHOWN_S / 2)
    assert at.scenes[1].node.sizes["phones_waiting"] == 3
    assert len(asyncio.all_tasks()) == tasks + len(more), "those of the owner, which is asked"
    at.upstream.mute_links = False
    at.link().unmute()
    await at.pass_time(ATTACH_AGAIN_S)
    assert all(phone.of_kind("welcome") for phone in more)


def _is_late(at: Nodes, *, node: int) -> None:
    pauses = at.scenes[node].node.pauses
    for beat in range(8):
        pauses.record_beat(at.clock.now() + beat - 8.0)


async def test_a_phone_waits_for_a_busy_owner_elsewhere_as_it_would_there(at: Nodes) -> None:
    near, far = await _begin_behind(at)
    for _ in range(int(2 * ATTACH_S)):
        _is_late(at, node=0)
        await at.pass_time(1)
    assert (near.closed, far.closed) == (None, None)
    assert not far.of_kind("welcome")
    at.upstream.mute_links = False
    at.link().unmute()
    await at.pass_time(ATTACH_AGAIN_S)
    assert near.of_kind("welcome")
    assert far.of_kind("welcome")


async def test_a_phone_that_waited_in_vain_at_a_busy_owner_learns_that_it_is_busy(at: Nodes) -> None:
    _, far = await _begin_behind(at)
    for _ in range(int(TURNS * ATTACH_S) + 2):
        _is_late(at, node=0)
        await at.pass_time(1)
    assert far.code is CloseCode.OVER_CAPACITY


async def test_topics_that_changed_while_their_owner_was_asked_are_submitted_again_if_they_are_lost(
    at: Nodes,
) -> None:
    _, far = await followed(at)
    at.trouble.lose = lambda _, __, ___, envelope: (
        isinstance(envelope, Attach) and envelope.topics == ("queues",)
    )
    for number, topic in enumerate(("agents", "queues")):
        far.send(kind="follow", id=str(number), topics=[topic])
    await at.pass_time(1)
    at.trouble.lose = None
    await at.pass_time(ATTACH_ANSWER_S + ATTACH_AGAIN_S + 1)
    assert at.scenes[0].member(far).topics == ("queues",)


async def test_a_phone_that_came_again_is_submitted_as_often_as_one_that_waits(at: Nodes) -> None:
    _, far = await _begin_behind(at)
    again = far
    for _ in range(4):
        _is_late(at, node=0)
        await at.pass_time(TURN_SHOWN_S + 0.25)
        again.bye()
        again = await at.scenes[1].again(again)
    presented_before = presented(at)
    for _ in range(6):
        _is_late(at, node=0)
        await at.pass_time(1)
    assert not again.of_kind("welcome")
    assert presented(at) - presented_before <= 4


async def test_a_phone_whose_user_gets_another_owner_does_not_wait_for_phones_that_came_later(
    at: Nodes,
) -> None:
    at.upstream.mute_links = True
    phone = await at.scenes[0].phone("anna")
    phone.hello()
    await at.pass_time(ATTACH_S / 2)
    later = await at.scenes[0].phone("bert")
    later.hello()
    await at.pass_time(1)
    at.trouble.lose_all(Attach)
    at.scenes[0].owner().owned_elsewhere(Grant(NodeId("n1"), "n1-1", (await at.grant()).token + 1))
    await at.pass_time(ATTACH_S / 2 + 0.5)
    assert (phone.code, later.code) == (CloseCode.INTERNAL, None)


async def test_a_late_follower_does_not_blame_the_owner(at: Nodes) -> None:
    await at.served(0)
    at.trouble.lose_all(Attach)
    far = await at.scenes[1].phone("anna", device="d2")
    far.hello()
    for _ in range(int(2 * ATTACH_S)):
        _is_late(at, node=1)
        await at.pass_time(1)
    assert far.closed is None
    await at.pass_time(2 * ATTACH_S)
    assert far.code is CloseCode.INTERNAL


async def test_a_node_of_an_older_version_is_not_answered_that_its_phone_waits(at: Nodes) -> None:
    _, far = await _begin_behind(at)
    _is_late(at, node=0)
    at.said.clear()
    bus = at.trouble.cluster(9).bus
    asked = Attach(NodeId("n1"), 6, far.ticket, (), age_ms=100)
    for may_wait in (False, True):
        await bus.publish(Inbox(NodeId("n0")), replace(asked, may_wait=may_wait))
        await at.pass_time(1.5 * TURN_SHOWN_S)
        _is_late(at, node=0)
        answers = at.received(AttachAnswer)
        assert (AttachAnswer(6, waits=True) in answers) is may_wait
