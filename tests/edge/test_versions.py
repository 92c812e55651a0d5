"""Minimum versions of apps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.handshake import check_version, parse_version

NUMBERS = st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=5)


def dotted(numbers: list[int]) -> str:
    return ".".join(str(number) for number in numbers)


@given(NUMBERS, NUMBERS)
def test_versions_order_by_their_numbers(one: list[int], other: list[int]) -> None:
    width = max(len(one), len(other))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (one, other)]
    assert (parse_version(dotted(one)) < parse_version(dotted(other))) == (padded[0] < padded[1])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.2.0", (1, 2)), ("v3", (3,)), ("2.4.1-beta+7", (2, 4, 1)), ("dev", ()), ("", ()), ("\u0661.2", ())],
)
def test_only_the_numbers_count(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


def test_an_old_app_is_refused_with_the_minimum() -> None:
    with pytest.raises(GatewayError) as refused:
        check_version("iOS", "2.3.9", {"ios": "2.4"})
    assert refused.value.code is ErrorCode.VERSION_UNSUPPORTED
    assert refused.value.details == {"minimum": "2.4"}


@pytest.mark.parametrize(("platform", "version"), [("ios", "2.4"), ("ios", "2.10"), ("web", "dev")])
def test_others_pass(platform: str, version: str) -> None:
    check_version(platform, version, {"ios": "2.4"})


def test_a_version_without_numbers_is_older_than_any() -> None:
    with pytest.raises(GatewayError):
        check_version("ios", "dev", {"ios": "0.0.1"})
