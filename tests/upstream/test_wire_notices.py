"""What is told of the messages that an OSCC-E Server has for people?"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from gateway.domain.upstream import Announced
from tests.upstream.samples import TIME_MS, message
from tests.upstream.test_wire import read


def announced(**fields: object) -> Announced:
    """Return what a notice with *fields* tells."""
    (told,) = read(message("Notice", **fields))
    assert isinstance(told, Announced)
    return told


def test_a_notice_is_told_as_far_as_it_says_something() -> None:
    told = message(
        "Notice",
        ID="n7",
        Version=2,
        Category="Security",
        Title="Change your password",
        Summary="Today.",
        Link="https://intranet.example/n7",
        EffectiveAt=TIME_MS,
    )
    link = "https://intranet.example/n7"
    assert read(told) == (Announced("n7", 2, "security", "Change your password", "Today.", link, TIME_MS),)


def test_a_notice_may_say_no_more_than_its_title() -> None:
    told = announced(Title="Maintenance at night")
    assert (told.title, told.summary) == ("OSCC-E", "Maintenance at night"), "neither is ever empty"


def test_a_notice_may_say_no_more_than_its_text() -> None:
    told = announced(Text="Maintenance at night")
    assert replace(told, id="x") == Announced(
        "x", 1, "maintenance", "OSCC-E", "Maintenance at night", None, None
    )
    assert announced(Text="At night", Category="Other", Link="javascript:x").link is None


def test_notices_without_an_id_are_told_apart_by_what_they_say() -> None:
    night = announced(Text="Maintenance at night")
    assert re.fullmatch(r"OSCC-E-[0-9a-f]{12}", night.id)
    assert announced(Text="Maintenance at night", Category="Security").id == night.id
    others = [
        announced(Text="Maintenance at noon"),
        announced(Text="Maintenance at night", Title="Today"),
        announced(Title="Maintenance at night"),
        announced(Title="Maintenance", Text="at night"),
        announced(Text="\ud83d\ude00"),
    ]
    assert len({night.id, *(other.id for other in others)}) == len(others) + 1


def test_long_ids_stay_apart() -> None:
    one, other = (announced(ID="i" * 99 + end, Text="x").id for end in "ab")
    assert one != other
    assert len(one) == len(other) == 32
    assert announced(ID="i" * 32, Text="x").id == "i" * 32


@pytest.mark.parametrize("fields", [{}, {"Text": ""}, {"Text": {"de": "nachts"}}, {"Title": 5}])
def test_a_notice_that_says_nothing_readable_costs_nothing(fields: dict[str, Any]) -> None:
    assert read(message("Notice", **fields)) == ()


def test_a_notice_is_bounded() -> None:
    told = announced(ID="i" * 99, Title="t" * 999, Text="x" * 9_999)
    assert [len(text) for text in (told.id, told.title, told.summary)] == [32, 200, 4_000]
