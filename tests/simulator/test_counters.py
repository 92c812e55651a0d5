"""Are a day's statistics counted rightly?"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import model
from gateway.simulator.model import Counters, UserCounters

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000


def ms(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type] # fields of a date


def test_midnight_is_local_also_when_the_clocks_change() -> None:
    assert model.midnight_before(ms(2025, 7, 1, 12), BERLIN) == ms(2025, 6, 30, 22)
    assert model.midnight_after(ms(2025, 10, 26, 12), BERLIN) == ms(2025, 10, 26, 23)
    spring = model.midnight_before(ms(2025, 3, 30, 12), BERLIN)
    assert model.midnight_after(ms(2025, 3, 30, 12), BERLIN) - spring == 23 * HOUR_MS


@given(st.integers(ms(2020, 1, 1), ms(2040, 1, 1)))
def test_an_instant_lies_between_its_midnights(now_ms: int) -> None:
    assert model.midnight_before(now_ms, BERLIN) <= now_ms < model.midnight_after(now_ms, BERLIN)


def test_what_nobody_has_counted_is_unknown() -> None:
    empty = Counters(0)
    assert model.service_level(0, 0, 0) is None
    assert model.abandoned_rate(empty) is None
    assert model.average_wait_s(empty) is None


def test_counting() -> None:
    count = model.answered(model.received(model.received(Counters(0))), 20_000, 20)
    count = model.abandoned(model.answered(count, 40_000, 20), 50_000)
    assert count == Counters(0, 2, 2, 1, 1, 60_000, 50_000)
    assert model.service_level(1, 2, 1) == 33.3
    assert model.abandoned_rate(count) == 33.3
    assert model.average_wait_s(count) == 30.0
    assert model.handled(UserCounters(0), 500) == UserCounters(0, 1, 500)
