"""Are notices shown in the reader's language, and is no log-on possible past one that binds?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.notices import (
    ID_CHARS_MAX,
    MUST_ACKNOWLEDGE_MAX,
    NOTICES_MAX,
    Notice,
    Notices,
    NoticeText,
    best_language,
    languages,
)
from gateway.protocol.bodies import NoticeReference

TEXTS = {"en": NoticeText("Hello", "Read this"), "de": NoticeText("Hallo", "Lies das", "https://x.example")}


def notice(name: str = "privacy", version: int = 1, *, binding: bool = True) -> Notice:
    return Notice(name, version, "privacy", 1_700_000_000_000, binding, TEXTS)


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("", ()),
        ("de", ("de",)),
        ("de-AT, en;q=0.5", ("de-at", "en")),
        ("en;q=0.5, de-AT", ("de-at", "en")),
        ("en;q=0, de;q=0.1", ("de",)),
        ("en;q=nonsense, de", ("de",)),
        ("en;level=1", ("en",)),
        (" , ;q=1, de ; q=0.3 ", ("de",)),
        ("en;q=nan", ()),
    ],
)
def test_ranges_are_ordered_by_their_weight(header: str, ranges: tuple[str, ...]) -> None:
    assert languages(header) == ranges


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ((), "en"),
        (("de",), "de"),
        (("de-at-1996",), "de"),
        (("fr", "de"), "de"),
        (("fr",), "en"),
        (("*",), "en"),
        (("pt",), "pt-BR"),
        (("PT-br".lower(),), "pt-BR"),
        (("pt-pt", "de"), "de"),
    ],
)
def test_the_best_language_is_chosen(accepted: tuple[str, ...], tag: str) -> None:
    assert best_language(accepted, ("en", "de", "pt-BR")) == tag


@given(st.text(max_size=200))
def test_any_header_chooses_a_text(header: str) -> None:
    assert Notices([notice()]).views(header)[0].title in {"Hello", "Hallo"}


def test_a_notice_is_shown_whole() -> None:
    (shown,) = Notices([notice()]).views("de")
    assert (shown.id, shown.version, shown.title, shown.link) == ("privacy", 1, "Hallo", "https://x.example")
    assert (shown.must_acknowledge, shown.effective_at_ms) == (True, 1_700_000_000_000)


def test_what_binds_must_be_accepted_in_its_version() -> None:
    notices = Notices([notice("a", 2), notice("b"), notice("c", binding=False)])
    with pytest.raises(GatewayError) as refused:
        notices.acknowledged([NoticeReference("a", 1), NoticeReference("b", 1)], "de")
    assert refused.value.code is ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED
    told = refused.value.details["notices"]
    assert isinstance(told, list)
    assert [(each["id"], each["version"], each["title"]) for each in told] == [("a", 2, "Hallo")]


def test_what_was_accepted_is_kept_and_nothing_else() -> None:
    notices = Notices([notice("a", 2), notice("c", binding=False)])
    accepted = [NoticeReference("a", 2), NoticeReference("c", 1), NoticeReference("invented", 9)]
    assert notices.acknowledged(accepted, "") == (("a", 2),)


@pytest.mark.parametrize(
    "wrong",
    [
        [notice("a"), notice("a", 2)],
        [notice("x" * (ID_CHARS_MAX + 1))],
        [Notice("a", 1, "security", 0, False, {})],
        [notice(f"n{number}") for number in range(MUST_ACKNOWLEDGE_MAX + 1)],
        [notice(f"n{number}", binding=False) for number in range(NOTICES_MAX + 1)],
    ],
)
def test_wrong_notices_are_refused_and_the_old_ones_stay(wrong: list[Notice]) -> None:
    notices = Notices([notice("old")])
    with pytest.raises(ValueError, match="notice"):
        notices.replace(wrong)
    assert [each.id for each in notices.views("")] == ["old"]


def test_others_come_into_force() -> None:
    notices = Notices([notice("old")])
    notices.replace([notice("new", 3)])
    assert [(each.id, each.version) for each in notices.views("")] == [("new", 3)]
