"""How does what changed for many users reach each node that follows them in one message?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.domain.resources import Queue
from gateway.protocol.envelopes import (
    CallAnswer,
    Channel,
    Envelope,
    Events,
    Inbox,
    Publication,
    Publications,
    PublishedValue,
)
from gateway.runtime.cluster import UPDATES_MAX, Bundles, Share
from tests.doubles.clock import ManualClock
from tests.runtime.street import street

A, B = NodeId("a"), NodeId("b")


class Owner:
    """A user with so many changes at a time, for those nodes."""

    def __init__(self, key: int, *nodes: NodeId, updates: int = 1, apart: bool = False) -> None:
        self.user = UserId("main", key)
        self.nodes = None if apart else nodes
        self.updates = updates
        self.news = 0

    def take(self) -> Share | None:
        if not self.news:
            return None
        updates = tuple(PublishedValue(f"queue:{n}", n, Queue()) for n in range(self.updates))
        told = Publication(self.user, 1, 0, self.news, False, updates, "live", None)
        self.news = 0
        return Share(told, self.nodes)


class Place:
    """A bus that takes what it is given when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.taken: list[tuple[Channel, Envelope]] = []
        self.waiting: list[asyncio.Future[int]] = []
        self.bundles = Bundles(self.deliver)

    async def deliver(self, channel: Channel, envelope: Envelope) -> int:
        self.taken.append((channel, envelope))
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]

    async def change(self, *owners: Owner) -> None:
        for owner in owners:
            owner.news += 1
            self.bundles.add(owner)
        await self.clock.settle()

    async def answer(self, number: int = 0, error: GatewayError | None = None) -> None:
        waiting = self.waiting.pop(number)
        if error is None:
            waiting.set_result(1)
        else:
            waiting.set_exception(error)
        await self.clock.settle()

    def told(self) -> list[tuple[Channel, list[tuple[int, int]]]]:
        """Return who was told how much of whom, and forget it."""
        taken, self.taken = self.taken, []
        return [
            (channel, [(one.user.key, one.upto) for one in envelope.told])
            for channel, envelope in taken
            if isinstance(envelope, Publications)
        ]


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    made = Place()
    async with asyncio.TaskGroup() as tasks:
        made.bundles.run_in(tasks)
        yield made
        for waiting in made.waiting:
            waiting.cancel()


async def test_what_changes_in_one_turn_reaches_each_node_in_one_message() -> None:
    async with place() as at:
        await at.change(Owner(1, A), Owner(2, A, B), Owner(3, B), Owner(4))
        assert at.told() == [(Inbox(A), [(1, 1), (2, 1)]), (Inbox(B), [(2, 1), (3, 1)])]


async def test_what_changes_meanwhile_goes_with_the_next_when_every_node_was_told() -> None:
    async with place() as at:
        first, second = Owner(1, A, B), Owner(2, A)
        await at.change(first)
        await at.change(second)
        await at.change(first, second)
        at.told()
        await at.answer()
        assert at.told() == []
        assert len(at.bundles) == 2
        await at.answer()
        assert at.told() == [(Inbox(A), [(2, 2), (1, 1)]), (Inbox(B), [(1, 1)])]
        assert len(at.bundles) == 0


async def test_what_must_not_be_overtaken_does_not_wait_for_a_round() -> None:
    async with place() as at:
        one, other = Owner(1, A), Owner(2, A)
        await at.change(one)
        await at.change(other)
        assert len(at.taken) == 1
        at.bundles.hurry(other)
        await at.clock.settle()
        assert [bundle.told[0].user.key for _, bundle in at.taken if isinstance(bundle, Publications)] == [
            1,
            2,
        ]
        await at.answer()
        await at.answer()
        assert len(at.taken) == 2, "nothing is told twice"


async def test_what_is_lost_keeps_nothing_else_from_being_told() -> None:
    async with place() as at:
        owner = Owner(1, A)
        await at.change(owner)
        await at.change(owner)
        await at.answer(error=GatewayError(ErrorCode.BUS_DOWN, "away"))
        assert at.told() == [(Inbox(A), [(1, 1)]), (Inbox(A), [(1, 1)])]


async def test_whose_news_were_taken_back_is_not_told_and_holds_nobody_up() -> None:
    async with place() as at:
        nobody, somebody = Owner(1, A), Owner(2, A)
        at.bundles.add(nobody)
        await at.clock.settle()
        await at.change(somebody)
        assert at.told() == [(Inbox(A), [(2, 1)])]


async def test_who_reads_his_own_channel_alone_is_told_there() -> None:
    async with place() as at:
        await at.change(Owner(1, A), Owner(2, apart=True))
        assert [channel for channel, _ in at.taken] == [Events(UserId("main", 2)), Inbox(A)]
        assert isinstance(at.taken[0][1], Publication)


async def test_messages_are_bounded_and_a_larger_change_travels_alone() -> None:
    async with place() as at:
        half, whole = UPDATES_MAX // 2 - 1, UPDATES_MAX + 1
        sizes = [half, half, 0, whole, 0]
        await at.change(*(Owner(key, A, updates=size) for key, size in enumerate(sizes)))
        users = [[key for key, _ in told] for _, told in at.told()]
        assert users == [[0, 1], [2], [3], [4]]


async def test_after_the_end_nothing_is_told() -> None:
    async with place() as at:
        owner = Owner(1, A)
        await at.change(owner)
        await at.change(owner)
        at.bundles.run_in(None)
        assert len(at.bundles) == 0
        await at.answer()
        await at.change(owner)
        assert at.told() == [(Inbox(A), [(1, 1)])]


async def test_the_state_that_a_command_caused_is_published_before_its_result() -> None:
    async with street() as at:
        await at.scenes[0].served()
        far = await at.scenes[1].served(device="d2")
        await at.pass_time(2)
        bundles = at.scenes[0].node.exchange.bundles
        bundles._under_way += 1  # as while a message waits to be taken
        at.said.clear()
        far.command("1", "1")
        await at.clock.settle()
        told = [type(said) for node, _, said in at.said if node == 0]
        assert [kind for kind in told if kind in {Publications, CallAnswer}] == [Publications, CallAnswer]
        bundles._done()
