"""Is no figure told that cannot be true?"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.resources import Agent, AutoPostProcessing, QueueFigures
from gateway.domain.upstream import Part
from gateway.upstream.oscce.decode import bound, count, duration, percentage, since
from gateway.upstream.oscce.resources import (
    AggregateRealtime,
    GroupRealtime,
    QueueCumulative,
    QueueRealtime,
    UserCumulative,
    UserRealtime,
    aggregate_realtime,
    group_realtime,
    queue_cumulative,
    queue_realtime,
    user_cumulative,
    user_realtime,
)
from tests.upstream import samples
from tests.upstream.samples import TIME_MS

_INSTANTS = {"oldest_since_ms", "window_start_ms"}
_SHARES = ("ServiceLevel", "AbandonedRate", "ServiceLevelThreshold")
_TIMES = ("OldestContactWaitTime", "EstimatedWaitTime", "AverageWaitTime", "MaximumWaitTime")
_COUNTS = (samples.QUEUE_REALTIME | samples.QUEUE_CUMULATIVE | samples.GROUP_REALTIME).keys() - {
    *(*_SHARES, *_TIMES, "QueueKey", "GroupKey", "WindowStart", "ServiceLevelFormula", "Level")
}
_FIGURES = st.fixed_dictionaries(
    {name: st.integers(-(2**53) + 1, 2**53 - 1) for name in sorted(_COUNTS)}
    | {name: st.sampled_from([-0.0, -1.0, 250.0]) | st.floats(-1e12, 1e12) for name in (*_SHARES, *_TIMES)}
)


@pytest.mark.parametrize(("told", "known"), [(None, None), (0, 0), (7, 7), (-1, None)])
def test_counts_are_never_negative(told: int | None, known: int | None) -> None:
    assert count(told) == known


@pytest.mark.parametrize(
    ("told", "known"),
    [(None, "None"), (0.0, "0.0"), (-0.0, "0.0"), (100.0, "100.0"), (87.5, "87.5")]
    + [(told, "None") for told in (250.0, -3.0, 1e308, 100.1, -0.1)],
)
def test_a_percentage_is_a_share_of_a_hundred(told: float | None, known: str) -> None:
    assert str(percentage(told)) == known


@pytest.mark.parametrize(("told", "known"), [(None, "None"), (-0.0, "0.0"), (33.0, "33.0"), (-1.0, "None")])
def test_nothing_takes_less_than_no_time(told: float | None, known: str) -> None:
    assert str(duration(told)) == known


@pytest.mark.parametrize(
    ("seconds", "instant_ms"), [(12.3456, 1_000_000 - 12_346), (0.0, 1_000_000), (None, None), (-1.0, None)]
)
def test_an_instant_is_the_time_minus_the_seconds(seconds: float | None, instant_ms: int | None) -> None:
    assert since(1_000_000, seconds) == instant_ms


def test_a_bound_is_one_that_frames_can_carry() -> None:
    assert [bound(told) for told in (None, 5, 0.5, 2**53 - 1, 2**53)] == [None, 5, 0.5, 2**53 - 1, None]


def _queues(fields: dict[str, Any]) -> list[Part]:
    """Read *fields* as whatever has figures of queues, groups and aggregates."""
    return [
        queue_realtime(_told(samples.QUEUE_REALTIME, fields, QueueRealtime), TIME_MS),
        queue_cumulative(_told(samples.QUEUE_CUMULATIVE, fields, QueueCumulative), 0),
        group_realtime(_told(samples.GROUP_REALTIME, fields, GroupRealtime), TIME_MS),
        aggregate_realtime(_told(samples.AGGREGATE_REALTIME, fields, AggregateRealtime), TIME_MS),
    ]


def _told(sample: dict[str, Any], fields: dict[str, Any], of: type[Any]) -> Any:  # noqa: ANN401 - any element
    return msgspec.convert(sample | fields, of)


@given(_FIGURES)
def test_every_figure_is_one_that_can_be(figures: dict[str, Any]) -> None:
    for part in _queues(figures):
        for name in (field.name for field in fields(part.value)):
            value = getattr(part.value, name)
            if isinstance(value, int | float) and name not in _INSTANTS:
                assert value >= 0, name
                assert str(value) != "-0.0", name
                assert value <= 100 or not name.endswith("_pct"), name


def test_figures_of_a_queue_that_cannot_be_are_unknown() -> None:
    wrong = {
        "Contacts": -1,
        "ServiceLevel": 250,
        "AbandonedRate": -3,
        "EstimatedWaitTime": -1,
        "WorkUsers": -2,
    }
    value = queue_realtime(_told(samples.QUEUE_REALTIME, wrong, QueueRealtime), TIME_MS).value
    assert isinstance(value, QueueFigures)
    assert (value.contacts_waiting, value.service_level_pct, value.abandoned_rate_pct) == (None, None, None)
    assert (value.estimated_wait_s, value.agents_work, value.agents_available) == (None, None, 2)


def test_figures_of_a_day_that_cannot_be_are_unknown() -> None:
    wrong = {"Handled": -1, "TotalTalkTime": -0.5}
    assert user_cumulative(_told(samples.USER_CUMULATIVE, wrong, UserCumulative), 0).value == Agent(
        day_start_ms=samples.USER_CUMULATIVE["WindowStart"]
    )


def test_nothing_that_is_there_began_later() -> None:
    told = {
        "TimeInRoutingState": -5,
        "AutoPostProcessing": {"On": True, "Duration": -30},
        "Remote": {"AppAbsentSince": TIME_MS + 9_000},
    }
    value = user_realtime(_told(samples.USER_REALTIME, told, UserRealtime), TIME_MS).value
    assert isinstance(value, Agent)
    assert value.routing_state_since_ms is None
    assert value.auto_post_processing == AutoPostProcessing(on=True)
    assert value.app_absent_since_ms == TIME_MS
