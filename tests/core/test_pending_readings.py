"""Readings that arrive before their query is known."""

from __future__ import annotations

from gateway.core.link import MOST, Early
from tests.core.assemblies import ALL_AGENTS, CUMULATIVE, available, reading


def test_what_was_read_of_a_query_is_reported_when_the_query_is_known() -> None:
    early = Early()
    early.expect(True)
    early.keep(first := reading(10, available(), whole=True))
    early.keep(reading(11, available(), query=2))
    early.keep(second := reading(12, available()))
    assert early.take(1, ALL_AGENTS) == [first, second]


def test_data_of_another_source_is_not_of_the_query() -> None:
    early = Early()
    early.expect(True)
    early.keep(reading(10, available(), source=CUMULATIVE))
    assert early.take(1, ALL_AGENTS) == []


def test_nothing_is_kept_when_every_query_is_known() -> None:
    early = Early()
    early.expect(True)
    early.keep(reading(10, available()))
    early.expect(False)
    assert not early.is_expecting
    assert early.take(1, ALL_AGENTS) == []


def test_the_newest_are_kept_and_no_more() -> None:
    early = Early()
    early.expect(True)
    for time_ms in range(MOST + 1):
        early.keep(reading(time_ms, available()))
    assert [each.time_ms for each in early.take(1, ALL_AGENTS)] == list(range(1, MOST + 1))
