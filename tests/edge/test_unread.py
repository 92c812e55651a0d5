"""Is each phone shown what is new to it, in its language, and nothing twice?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from gateway.edge.notices import (
    NOTICES_PER_TURN,
    NoticeBroadcast,
    NoticeSet,
    NoticesInForce,
    NoticeText,
    OperatorNotice,
    unread_notices,
)
from gateway.protocol.frames import NoticeFrame
from tests.doubles.clock import ManualClock

NOW = ManualClock().wall_ms()
TEXTS = {"en": NoticeText("Hello", "Read this"), "de": NoticeText("Hallo", "Lies das", "https://x.example")}
LATER = OperatorNotice("privacy", 1, "privacy", NOW + 60_000, True, TEXTS)
UPKEEP = OperatorNotice("upkeep", 1, "maintenance", NOW, False, TEXTS)


class Screen:
    """One phone, and what it was shown last."""

    def __init__(self, notices: NoticesInForce, languages: Sequence[str] = ()) -> None:
        self._notices = notices
        self._languages = languages
        self._shown: NoticeSet = {}

    def take(self, acknowledged: Collection[tuple[str, int]], wall_ms: int) -> list[NoticeFrame]:
        shown, self._shown = self._shown, self._notices.edition(wall_ms)
        return unread_notices(self._shown, shown, acknowledged, self._languages)


def shown(frames: list[NoticeFrame]) -> list[tuple[str, int]]:
    return [(frame.id, frame.version) for frame in frames]


def test_a_notice_is_shown_whole_in_the_phones_language() -> None:
    assert Screen(NoticesInForce([LATER]), ("de-at",)).take((), NOW) == [
        NoticeFrame("privacy", 1, "privacy", "Hallo", "Lies das", "https://x.example", NOW + 60_000, True)
    ]


def test_a_phone_is_shown_all_once_first_what_must_be_acknowledged() -> None:
    screen = Screen(NoticesInForce([UPKEEP, LATER]))
    assert shown(screen.take((), NOW)) == [("privacy", 1), ("upkeep", 1)]
    assert screen.take((), NOW) == []


def test_what_was_acknowledged_is_not_shown_even_when_it_comes_to_bind() -> None:
    screen = Screen(NoticesInForce([UPKEEP, LATER]))
    assert shown(screen.take([("privacy", 1)], NOW)) == [("upkeep", 1)]
    assert screen.take([("privacy", 1)], NOW + 60_000) == []


def test_what_comes_to_bind_is_shown_again_and_nothing_else() -> None:
    screen = Screen(NoticesInForce([UPKEEP, LATER]))
    screen.take((), NOW)
    assert screen.take((), NOW + 59_999) == []
    assert shown(screen.take((), NOW + 60_000)) == [("privacy", 1)]
    assert screen.take((), NOW + 60_000) == []


def test_of_others_that_are_put_in_force_the_new_and_the_changed_are_shown() -> None:
    notices = NoticesInForce([LATER, UPKEEP])
    screen = Screen(notices)
    screen.take((), NOW)
    notices.replace(NoticesInForce([replace(LATER, version=2), UPKEEP, replace(UPKEEP, id="more")]))
    assert shown(screen.take([("privacy", 1)], NOW)) == [("privacy", 2), ("more", 1)]


def test_another_text_of_the_same_version_is_not_shown_again() -> None:
    notices = NoticesInForce([UPKEEP])
    screen, newcomer = Screen(notices), Screen(notices)
    screen.take((), NOW)
    notices.replace(NoticesInForce([replace(UPKEEP, texts={"en": NoticeText("Hi", "there")})]))
    assert screen.take((), NOW) == []
    assert [frame.title for frame in newcomer.take((), NOW)] == ["Hi"]


# ---- all phones ----


class Phone:
    """Counts how often it is told to look."""

    def __init__(self) -> None:
        self.told = 0

    def notify(self) -> None:
        self.told += 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_phones_are_told_when_there_is_news_and_only_then(clock: ManualClock) -> None:
    notices, phone = NoticesInForce([LATER]), Phone()
    broadcast = NoticeBroadcast(notices, {phone}, clock)
    told = []
    for _ in range(2):
        await broadcast.send()
        told.append(phone.told)
    clock.jump_wall(60_000)
    for _ in range(2):
        await broadcast.send()
        told.append(phone.told)
    notices.replace(NoticesInForce([]))
    await broadcast.send()
    assert (*told, phone.told) == (1, 1, 2, 2, 3)


async def test_others_have_their_turn_while_many_are_told(clock: ManualClock) -> None:
    phones = [Phone() for _ in range(2 * NOTICES_PER_TURN + 1)]
    told = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(NoticeBroadcast(NoticesInForce([UPKEEP]), phones, clock).send())
        for _ in range(3):
            await asyncio.sleep(0)
            told.append(sum(phone.told for phone in phones))
    assert told == [NOTICES_PER_TURN, 2 * NOTICES_PER_TURN, 2 * NOTICES_PER_TURN + 1]


async def test_a_phone_that_leaves_meanwhile_disturbs_nobody(clock: ManualClock) -> None:
    phones = {Phone() for _ in range(NOTICES_PER_TURN + 1)}
    everybody = list(phones)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(NoticeBroadcast(NoticesInForce([UPKEEP]), phones, clock).send())
        await asyncio.sleep(0)
        phones.clear()
    assert [phone.told for phone in everybody] == [1] * len(everybody)
