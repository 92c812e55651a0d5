"""Unread notices: each phone gets new ones in its language, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.edge.policies import (
    NOTICES_PER_TURN,
    NoticeBroadcast,
    NoticesInForce,
    NoticeText,
    OperatorNotice,
    unread_notices,
)
from tests.doubles.clock import ManualClock

NOW = ManualClock().wall_ms()
TEXTS = {"en": NoticeText("Hello", "Read this"), "de": NoticeText("Hallo", "Lies das", "https://x.example")}
LATER = OperatorNotice("privacy", 1, "privacy", NOW + 60_000, True, TEXTS)
UPKEEP = OperatorNotice("upkeep", 1, "maintenance", NOW, False, TEXTS)


def test_another_text_of_the_same_version_is_shown_to_newcomers_only() -> None:
    notices = NoticesInForce([UPKEEP])
    before = notices.edition(NOW)
    notices.replace(NoticesInForce([replace(UPKEEP, texts={"en": NoticeText("Hi", "there")})]))
    assert unread_notices(notices.edition(NOW), before, (), ()) == []
    assert [frame.title for frame in unread_notices(notices.edition(NOW), {}, (), ())] == ["Hi"]


# ---- all phones ----


class Phone:
    """Counts how often it is asked to look."""

    def __init__(self) -> None:
        self.received = 0

    def notify(self) -> None:
        self.received += 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_phones_are_notified_when_there_is_news_and_only_then(clock: ManualClock) -> None:
    notices, phone = NoticesInForce([LATER]), Phone()
    broadcast = NoticeBroadcast(notices, {phone}, clock)
    received = []
    for _ in range(2):
        await broadcast.send()
        received.append(phone.received)
    clock.jump_wall(60_000)
    for _ in range(2):
        await broadcast.send()
        received.append(phone.received)
    notices.replace(NoticesInForce([]))
    await broadcast.send()
    assert (*received, phone.received) == (1, 1, 2, 2, 3)


async def test_others_have_their_turn_while_many_are_notified(clock: ManualClock) -> None:
    phones = [Phone() for _ in range(2 * NOTICES_PER_TURN + 1)]
    received = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(NoticeBroadcast(NoticesInForce([UPKEEP]), phones, clock).send())
        for _ in range(3):
            await asyncio.sleep(0)
            received.append(sum(phone.received for phone in phones))
    assert received == [NOTICES_PER_TURN, 2 * NOTICES_PER_TURN, 2 * NOTICES_PER_TURN + 1]


async def test_a_phone_that_leaves_meanwhile_disturbs_nobody(clock: ManualClock) -> None:
    phones = {Phone() for _ in range(NOTICES_PER_TURN + 1)}
    everybody = list(phones)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(NoticeBroadcast(NoticesInForce([UPKEEP]), phones, clock).send())
        await asyncio.sleep(0)
        phones.clear()
    assert [phone.received for phone in everybody] == [1] * len(everybody)
