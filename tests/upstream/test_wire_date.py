"""Does the `Date` of an answer tell how far the server's clock is off, and nothing else?"""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.oscce.decode import MOST, NONE_BELOW_MS, in_gateway_time, offset_ms, retry_after_s

# Sun, 06 Nov 1994 08:49:37 GMT
TOLD_MS = 784_111_777_000
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "date", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"], ids=["fixed", "850", "c"]
)
def test_each_form_of_a_date_is_read(date: str) -> None:
    assert offset_ms(date, TOLD_MS + 60_500) == 60_000


@pytest.mark.parametrize(
    ("ahead_ms", "offset"),
    [
        (500, 0),
        (2_499, 0),
        (2_500, 2_000),
        (-1_499, 0),
        (-1_500, -2_000),
        (300_500, 300_000),
        (-299_500, -300_000),
    ],
)
def test_only_clocks_that_are_two_seconds_apart_are_off(ahead_ms: int, offset: int) -> None:
    assert offset_ms(DATE, TOLD_MS + ahead_ms) == offset


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "soon",
        "0",
        "784111777",
        "Sun, 06 Nov 1994",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +9999999999",
        "\x00",
    ],
)
def test_a_date_that_is_missing_or_cannot_be_read_tells_nothing(date: str | None) -> None:
    assert offset_ms(date, TOLD_MS + 3_600_000) == 0


@given(server_ms=st.integers(0, 2**42), late_ms=st.integers(0, 400), off_ms=st.integers(-(10**9), 10**9))
def test_the_offset_is_true_to_a_second(server_ms: int, late_ms: int, off_ms: int) -> None:
    date = formatdate(server_ms // 1000, usegmt=True)
    seen = offset_ms(date, server_ms + off_ms + late_ms)
    assert abs(seen - off_ms) <= 1_000 or (seen == 0 and abs(off_ms) < NONE_BELOW_MS + 1_000)


@given(st.text(max_size=40) | st.text("SunMoOctGMT :,+-0123456789", max_size=40))
def test_whatever_is_told_is_harmless(date: str) -> None:
    assert isinstance(offset_ms(date, TOLD_MS), int)


@pytest.mark.parametrize(
    ("told", "offset", "shown"), [(5, 0, 5), (5, 7, 12), (5, -7, 0), (MOST, 1, MOST), (MOST, -1, MOST - 1)]
)
def test_instants_move_within_what_frames_carry(told: int, offset: int, shown: int) -> None:
    assert in_gateway_time(told, offset) == shown


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        ("33", 33.0),
        ("0", 1.0),
        ("007", 7.0),
        ("301", 300.0),
        ("9" * 15, 300.0),
        ("9" * 5_000, 300.0),
        (DATE, 20.0),
        ("Sun Nov  6 08:49:37 1994", 20.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 1.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 300.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661\u0662", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_how_long_to_wait_is_told_in_seconds_or_as_a_date(told: str | None, wait_s: float | None) -> None:
    assert retry_after_s(told, 0, TOLD_MS - 20_000) == wait_s


def test_a_date_to_wait_for_is_one_of_the_servers_clock() -> None:
    assert retry_after_s(DATE, 60_000, TOLD_MS + 40_000) == 20.0


@given(st.text(max_size=40))
def test_whatever_is_told_the_wait_is_bounded(told: str) -> None:
    wait_s = retry_after_s(told, 0, TOLD_MS)
    assert wait_s is None or 1 <= wait_s <= 300
