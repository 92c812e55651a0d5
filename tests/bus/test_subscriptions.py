"""Subscriptions: messages arrive, and possible gaps are reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.connect import KeyNames
from gateway.bus.pubsub import SUBSCRIBE_MAX, Subscriber
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Control, Events, Inbox
from tests.bus.peer import Peer, Words, connector, usual
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import beside, during


def confirming(words: Words) -> bytes | None:
    """Confirm each channel of a command, as a server in subscribed mode does."""
    if words[0] not in {b"SUBSCRIBE", b"UNSUBSCRIBE"}:
        return usual(words)
    verb = words[0].lower()
    return b"".join(
        b"*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:1\r\n" % (len(verb), verb, len(name), name) for name in words[1:]
    )


def message(name: bytes, payload: bytes) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(name), name, len(payload), payload)


class Scene:
    """What a node received, and how often it doubted."""

    def __init__(self, peer: Peer, clock: ManualClock) -> None:
        self.clock = clock
        self.peer = peer
        self.subscriber = Subscriber(connector(peer, clock), clock, lambda: 0.5)
        self.received: list[bytes] = []
        self.doubts = 0
        self.subscriber.watch(self._doubt)

    def _doubt(self) -> None:
        self.doubts += 1

    async def listen(self, *names: bytes) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self.subscriber.subscribe(name, self.received.append))

    async def say(self, data: bytes) -> None:
        self.peer.say(data)
        await self.clock.settle()


@asynccontextmanager
async def running(peer: Peer | None = None) -> AsyncIterator[Scene]:
    clock = ManualClock()
    scene = Scene(peer or Peer(confirming), clock)
    async with during(scene.subscriber.client.run()):
        await clock.settle()
        yield scene


async def test_channels_of_one_turn_are_subscribed_together_in_commands_of_a_bounded_size() -> None:
    async with running() as scene:
        names = [b"c%d" % number for number in range(SUBSCRIBE_MAX + 10)]
        await scene.listen(*names)
        asked = scene.peer.asked(b"SUBSCRIBE")
        assert [len(words) - 1 for words in asked] == [SUBSCRIBE_MAX, 10]
        assert [name for words in asked for name in words[1:]] == names
        assert scene.subscriber.channels == len(names)
        assert scene.doubts == 0


async def test_listening_returns_when_it_is_confirmed_and_not_before() -> None:
    async with running(Peer()) as scene, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.subscriber.subscribe(b"c", scene.received.append))
        await scene.clock.advance(0.5)
        assert not task.done()
        await scene.say(confirming((b"SUBSCRIBE", b"c")) or b"")
        assert task.done()


async def test_nothing_is_sent_after_stopping_and_changes_keep_their_order() -> None:
    async with running() as scene:
        await scene.listen(b"c")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scene.subscriber.unsubscribe(b"c"))
            tasks.create_task(scene.subscriber.unsubscribe(b"unknown"))
            tasks.create_task(scene.subscriber.subscribe(b"d", scene.received.append))
            tasks.create_task(scene.subscriber.subscribe(b"c", scene.received.append))
        assert [words[0] for words in scene.peer.received[-3:]] == [
            b"SUBSCRIBE",
            b"UNSUBSCRIBE",
            b"SUBSCRIBE",
        ]
        await scene.subscriber.unsubscribe(b"c")
        await scene.say(message(b"c", b"1") + message(b"d", b"2"))
        assert scene.received == [b"2"]


async def test_after_a_loss_every_channel_is_subscribed_again_before_watchers_are_called() -> None:
    async with running() as scene:
        await scene.listen(b"c", b"d")
        scene.peer.answer = usual
        scene.peer.transport.abort()
        await scene.clock.advance(0.06)
        assert scene.peer.asked(b"SUBSCRIBE") == [(b"SUBSCRIBE", b"c", b"d")]
        await scene.say(confirming((b"SUBSCRIBE", b"c")) or b"")
        assert scene.doubts == 0
        await scene.say(confirming((b"SUBSCRIBE", b"d")) or b"")
        assert scene.doubts == 1
        assert scene.subscriber.possible_losses == {"renewed": 1}


async def test_a_loss_in_the_middle_of_subscribing_again_is_reported_once_at_the_end() -> None:
    async with running() as scene:
        await scene.listen(b"c")
        scene.peer.answer = usual
        scene.peer.transport.abort()
        await scene.clock.advance(0.06)
        scene.peer.answer = confirming
        scene.peer.transport.abort()
        await scene.clock.advance(0.2)
        assert scene.doubts == 1


async def test_a_node_that_listened_to_nothing_missed_nothing() -> None:
    async with running() as scene:
        scene.peer.transport.abort()
        await scene.clock.advance(0.06)
        assert scene.subscriber.client.is_up
        assert scene.doubts == 0


@pytest.mark.parametrize("known_to_be_down", [True, False])
async def test_without_a_server_listening_returns_and_comes_into_force_with_it(
    known_to_be_down: bool,
) -> None:
    peer = Peer(confirming)
    peer.is_silent = not known_to_be_down
    peer.fault = ConnectionRefusedError() if known_to_be_down else None
    async with running(peer) as scene, beside(scene.listen(b"c")) as task:
        await scene.clock.advance(0.0 if known_to_be_down else 1.3)
        assert task.done()
        peer.is_silent, peer.fault = False, None
        await scene.clock.advance(5.0)
        assert scene.doubts == 1
        await scene.say(message(b"c", b"1"))
        assert scene.received == [b"1"]


async def test_what_was_in_force_before_a_loss_is_waited_for_again() -> None:
    async with running() as scene, asyncio.TaskGroup() as tasks:
        await scene.listen(b"c")
        scene.peer.is_silent = True
        scene.peer.transport.abort()
        await scene.clock.settle()
        task = tasks.create_task(scene.listen(b"c"))
        await scene.clock.advance(0.5)
        assert not task.done()
        await scene.clock.advance(1.0)
        assert task.done()


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_stopping_without_a_server_is_remembered(is_noticed: bool) -> None:
    async with running() as scene, asyncio.TaskGroup() as tasks:
        await scene.listen(b"c", b"d")
        scene.peer.is_silent = is_noticed
        scene.peer.transport.abort()
        if is_noticed:
            await scene.clock.settle()
        task = tasks.create_task(scene.subscriber.unsubscribe(b"c"))
        await scene.clock.advance(0.0 if is_noticed else 0.06)
        assert task.done()
        scene.peer.is_silent = False
        await scene.clock.advance(3.0)
        assert scene.peer.asked(b"SUBSCRIBE") == [(b"SUBSCRIBE", b"d")]


async def test_a_confirmation_that_nobody_asked_for_is_a_doubt() -> None:
    async with running() as scene:
        await scene.listen(b"c")
        await scene.say(confirming((b"SUBSCRIBE", b"c")) or b"")
        assert scene.doubts == 1
        assert scene.subscriber.possible_losses == {"unrequested": 1}
        assert scene.subscriber.client.is_up


async def test_a_peer_that_froze_is_left_within_four_seconds() -> None:
    async with running() as scene:
        await scene.listen(b"c")
        scene.peer.answer = lambda _: None
        await scene.clock.advance(3.9)
        assert len(scene.peer.transports) == 1
        scene.peer.answer = confirming
        await scene.clock.advance(0.2)
        assert len(scene.peer.transports) == 2
        assert scene.doubts == 1


async def test_pings_are_answered_in_subscribed_mode_too() -> None:
    async with running(
        Peer(lambda w: b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" if w == (b"PING",) else confirming(w))
    ) as scene:
        await scene.listen(b"c")
        await scene.clock.advance(10.0)
        assert len(scene.peer.asked(b"PING")) == 4
        assert scene.subscriber.client.losses == {}


async def test_who_may_not_listen_learns_why() -> None:
    async with running(Peer(lambda w: b"-NOPERM c\r\n" if w[0] == b"SUBSCRIBE" else usual(w))) as scene:
        async with beside(scene.listen(b"c", b"d")):
            await scene.clock.advance(2.0)
        assert scene.subscriber.client.losses["it refused to let this node listen: NOPERM"] > 1
        assert scene.doubts == 0


# ---- names of keys and channels ----


NAMES = KeyNames(b"p" * 32)
ANN = UserId("main", 4711)


def test_names_are_the_same_in_every_version() -> None:
    own, tok, events = NAMES.user(ANN)
    uid = own.decode().removeprefix("og:{u:main:").removesuffix("}:own")
    assert uid == "d35758bd57d90d9b3656cd0d8421f5e4"
    assert (own, tok, events) == tuple(f"og:{{u:main:{uid}}}:{end}".encode() for end in ("own", "tok", "ev"))
    assert NAMES.channel(Events(ANN)) == events
    assert NAMES.channel(Inbox(NodeId("n1"))) == b"og:n:n1:in"
    assert NAMES.channel(Control()) == b"og:ctl"
    assert NAMES.node("h1") == b"og:node:h1"
    assert NAMES.denied("a1") == b"og:deny:bd7f77cff75740591e68d7a781555de1"
    assert NAMES.throttled("a1") == b"og:thr:0ebaf5d7b3e3c0feeedb18c31fc27b20"


@given(
    users=st.sets(st.builds(UserId, st.sampled_from(["main", "other"]), st.integers(1, 10**12)), max_size=20)
)
def test_users_have_names_of_their_own(users: set[UserId]) -> None:
    assert len({NAMES.user(user) for user in users}) == len(users)
    for user in users:
        assert str(user.key).encode() not in NAMES.user(user).own or user.key < 10**6


def test_the_memory_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.bus.connect._USERS_MAX", 3)
    names = KeyNames(b"p" * 32)
    for _ in range(2):
        for key in range(10):
            assert names.user(UserId("main", key)) == NAMES.user(UserId("main", key))
    assert repr(names) in {f"KeyNames({count} users)" for count in (1, 2, 3)}


def test_names_of_other_clusters_sites_and_purposes_are_others() -> None:
    other = KeyNames(b"q" * 32)
    assert other.user(ANN) != NAMES.user(ANN)
    assert other.denied("a") != NAMES.denied("a")
    one, two = (NAMES.user(UserId(site, 1)).own.decode().split(":")[3] for site in "ab")
    assert one != two
    assert NAMES.denied("x").removeprefix(b"og:deny:") != NAMES.throttled("x").removeprefix(b"og:thr:")


def test_a_key_of_another_length_is_none() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyNames(b"secret")
