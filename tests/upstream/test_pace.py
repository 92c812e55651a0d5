"""Data of a user waits unprocessed while the only phone may not be sent changes."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.profiles.path import ProfiledNode

PACE_S = 60.0
ONE = {"users": 1, "queues": 5, "phones": 1, "elements": 1, "lags": 1}
PLAIN = {"shared": False, "every": 0.0}
WITHIN_S = 10.0


class Way:
    """The link of one user, with a phone that was just sent a frame."""

    def __init__(self, node: ProfiledNode) -> None:
        self.link = node.servers[0].link
        self.feed = node.users[0].feed
        self._house = node

    def frame_sent(self, ago_s: float = 0.0) -> None:
        """Let all phones have been sent their last frame *ago_s* before now."""
        sent_at = self._house.clock.now() - ago_s
        for reader in self.feed.ledger.readers:
            if reader.pace is not None:
                reader.pace.sent_at = sent_at

    def come(self) -> None:
        """Let one change come."""
        ((link, data),) = self._house.round()
        link.data_received(data)

    @property
    def changes(self) -> int:
        """Number of changes that were processed."""
        return self.feed.ledger.seq

    async def processed(self, changes: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.changes < changes:  # noqa: ASYNC110 - the ledger has no event for it
                await asyncio.sleep(0.001)


@asynccontextmanager
async def way(*, pace_s: float = PACE_S, phones: int = 1, have_own: bool = False) -> AsyncIterator[Way]:
    node = ProfiledNode(Namespace(**{**ONE, **PLAIN, "phones": phones, "pace": pace_s, "own": have_own}))
    async with asyncio.TaskGroup() as tasks:
        running = await node.open(tasks)
        at = Way(node)
        before = at.changes
        if not have_own:
            at.frame_sent(ago_s=pace_s)  # phones that may be sent a frame at the same time form a group
        at.come()
        await at.processed(before + 1)  # after this the link knows the pace
        at.frame_sent()
        yield at
        for task in running:
            task.cancel()


@pytest.mark.parametrize("phones", [1, 2], ids=["one phone", "one fan-out group"])
async def test_what_comes_waits_together_and_counts_from_its_arrival(phones: int) -> None:
    async with way(phones=phones) as at:
        before = at.changes
        at.come()
        came_at = at.link.held_at
        at.come()
        assert (at.changes, at.link.is_due) == (before, False)
        await at.processed(before + 2)
        assert at.feed.ledger.came_at == came_at
        assert at.link.held_at is None


async def test_an_answer_has_what_came_before_it_processed_at_once() -> None:
    async with way() as at:
        before = at.changes
        at.come()
        assert at.link.held_at is not None
        at.link.data_received(b"\x81\x30" + b'{"Type":"Response","RequestID":999999,"Error":0}')
        assert at.changes == before + 1


@pytest.mark.parametrize(("pace_s", "phones"), [(0.0, 1), (PACE_S, 2)])
async def test_nothing_waits_without_a_pace_or_for_several_readers(pace_s: float, phones: int) -> None:
    async with way(pace_s=pace_s, phones=phones, have_own=True) as at:
        assert len(at.feed.ledger.readers) == phones
        before = at.changes
        at.come()
        assert at.link.is_due
        await at.processed(before + 1)


async def test_what_comes_after_data_that_waited_is_processed_too() -> None:
    async with way() as at:
        for _ in range(3):
            before = at.changes
            at.come()
            assert at.link.held_at is not None
            await at.processed(before + 1)
            at.frame_sent()


@pytest.mark.parametrize("phones", [1, 2], ids=["one phone", "one fan-out group"])
async def test_nothing_waits_while_processed_data_waits_for_its_frame(phones: int) -> None:
    async with way(phones=phones) as at:
        before = at.changes
        at.come()
        await at.processed(before + 1)
        at.come()  # held, it could come too late for the frame that the phone gets when its pace allows
        assert (at.link.held_at, at.link.is_due) == (None, True)
        await at.processed(before + 2)
