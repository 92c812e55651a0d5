"""Notices in the reader's language; a binding one stops the log-on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outbox import CONTROL_MAX
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.policies import (
    ID_CHARS_MAX,
    MUST_ACKNOWLEDGE_MAX,
    NOTICES_MAX,
    NoticeBroadcast,
    NoticesInForce,
    NoticeText,
    OperatorNotice,
    best_language,
    languages,
    unread_notices,
)
from gateway.edge.scheduler import PHONES_PER_TURN
from gateway.protocol.bodies import LOG_ON, NoticeReference
from tests.doubles.clock import ManualClock
from tests.doubles.refusals import refused_with
from tests.doubles.tasks import beside

TEXTS = {"en": NoticeText("Hello", "Read this"), "de": NoticeText("Hallo", "Lies das", "https://x.example")}


THEN = 1_700_000_000_000
"""When all notices of this page take effect."""


def notice(name: str = "privacy", version: int = 1, *, binding: bool = True) -> OperatorNotice:
    return OperatorNotice(name, version, "privacy", THEN, binding, TEXTS)


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("", ()), ("de", ("de",)), ("de-AT, en;q=0.5", ("de-at", "en")),
        ("en;q=0.5, de-AT", ("de-at", "en")), ("en;q=0, de;q=0.1", ("de",)), ("en;q=nonsense, de", ("de",)),
        ("en;level=1", ("en",)), (" , ;q=1, de ; q=0.3 ", ("de",)), ("en;q=nan", ()),
        (f"{'x' * 35}, {'y' * 36}", ("x" * 35,)),
    ],
)  # fmt: skip
def test_ranges_are_ordered_by_their_weight(header: str, ranges: tuple[str, ...]) -> None:
    assert languages(header) == ranges


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ((), "en"), (("de",), "de"), (("de-at-1996",), "de"), (("fr", "de"), "de"), (("fr",), "en"),
        (("*",), "en"), (("pt",), "pt-BR"), (("PT-br".lower(),), "pt-BR"), (("pt-pt", "de"), "de"),
    ],
)  # fmt: skip
def test_the_best_language_is_chosen(accepted: tuple[str, ...], tag: str) -> None:
    assert best_language(accepted, ("en", "de", "pt-BR")) == tag


@given(st.text(max_size=200))
def test_any_header_chooses_a_text(header: str) -> None:
    assert NoticesInForce([notice()]).views(header)[0].title in {"Hello", "Hallo"}


def test_what_binds_must_be_accepted_in_its_version_and_nothing_else_is_kept() -> None:
    notices = NoticesInForce([notice("a", 2), notice("b"), notice("c", binding=False)])
    with refused_with(ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED) as refused:
        notices.acknowledged([NoticeReference("a", 1), NoticeReference("b", 1)], "de", THEN)
    received = refused.value.details["notices"]
    assert isinstance(received, list)
    assert [(each["id"], each["version"], each["title"]) for each in received] == [("a", 2, "Hallo")]
    notices = NoticesInForce([notice("a", 2), notice("c", binding=False)])
    accepted = [NoticeReference(name, version) for name, version in [("c", 1), ("a", 2), ("invented", 9)]]
    assert notices.acknowledged(accepted * 2, "", THEN) == (("a", 2), ("c", 1))
    notices = NoticesInForce([notice("a", 2), notice("b"), notice("c")])
    assert notices.kept([("gone", 1), ("c", 1), ("a", 1), ("b", 1), ("c", 1)]) == (("b", 1), ("c", 1))


@pytest.mark.parametrize("accepted", [(), (("privacy", 2),)])
def test_what_takes_effect_later_may_be_accepted_before(accepted: tuple[tuple[str, int], ...]) -> None:
    notices = NoticesInForce([notice(version=2)])
    said = [NoticeReference(*each) for each in accepted]
    assert notices.acknowledged(said, "", THEN - 1) == accepted
    if accepted:
        assert notices.acknowledged(said, "", THEN) == accepted
        return
    with pytest.raises(GatewayError):
        notices.acknowledged(said, "", THEN)


@pytest.mark.parametrize(
    "wrong",
    [
        [notice("a"), notice("a", 2)],
        [notice("x" * (ID_CHARS_MAX + 1))],
        [notice("")],
        [notice("häh")],
        [OperatorNotice("a", 1, "security", 0, False, {})],
        [notice(f"n{number}") for number in range(MUST_ACKNOWLEDGE_MAX + 1)],
        [notice(f"n{number}", binding=False) for number in range(NOTICES_MAX + 1)],
    ],
)
def test_wrong_notices_are_refused(wrong: list[OperatorNotice]) -> None:
    with pytest.raises(ValueError, match="notice"):
        NoticesInForce(wrong)


def test_all_notices_and_their_acknowledgements_fit_where_they_wait() -> None:
    assert NOTICES_MAX + 2 < CONTROL_MAX, "a welcome, all notices and a fresh token"
    accepted, _ = LOG_ON.json_schema()["properties"]["accepted_notices"]["anyOf"]
    assert accepted["maxItems"] == NOTICES_MAX, "a log-on may acknowledge all of them"


# ---- unread notices ----


NOW = ManualClock().wall_ms()

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
    phones = [Phone() for _ in range(2 * PHONES_PER_TURN + 1)]
    received = []
    async with beside(NoticeBroadcast(NoticesInForce([UPKEEP]), phones, clock).send()):
        for _ in range(3):
            await asyncio.sleep(0)
            received.append(sum(phone.received for phone in phones))
    assert received == [PHONES_PER_TURN, 2 * PHONES_PER_TURN, 2 * PHONES_PER_TURN + 1]


async def test_a_phone_that_leaves_meanwhile_disturbs_nobody(clock: ManualClock) -> None:
    phones = {Phone() for _ in range(PHONES_PER_TURN + 1)}
    everybody = list(phones)
    async with beside(NoticeBroadcast(NoticesInForce([UPKEEP]), phones, clock).send()):
        await asyncio.sleep(0)
        phones.clear()
    assert [phone.received for phone in everybody] == [1] * len(everybody)
