"""Is everything that the server tells of queues, groups and aggregates mapped?"""

from __future__ import annotations

import msgspec
import pytest

from gateway.domain.model import Kind
from gateway.domain.resources import Aggregate, Group, Queue, QueueFigures
from gateway.domain.upstream import Source
from gateway.upstream.oscce.resources import (
    AggregateRealtime,
    GroupRealtime,
    QueueCumulative,
    QueueRealtime,
    aggregate_realtime,
    group_realtime,
    queue_cumulative,
    queue_realtime,
)
from tests.upstream.samples import (
    AGGREGATE_REALTIME,
    GROUP_REALTIME,
    QUEUE_CUMULATIVE,
    QUEUE_REALTIME,
    TIME_MS,
)


def test_a_queue_is_mapped_whole() -> None:
    part = queue_realtime(msgspec.convert(QUEUE_REALTIME, QueueRealtime), TIME_MS)
    assert (part.kind, part.number, part.source) == (Kind.QUEUE, 3, Source.REALTIME)
    assert part.value == QueueFigures(
        contacts_waiting=5,
        oldest_since_ms=TIME_MS - 61_250,
        service_level_pct=87.5,
        service_level_threshold_s=20,
        service_level_formula="answered in time / all",
        abandoned_rate_pct=2.5,
        estimated_wait_s=33,
        agents_logged_on=10,
        agents_available=2,
        agents_handling=4,
        agents_post_processing=1,
        agents_unavailable=2,
        agents_work=1,
        level="attention",
    )


def test_null_figures_are_none_and_an_empty_queue_has_no_oldest() -> None:
    told = {"QueueKey": 3, "ServiceLevel": None, "OldestContactWaitTime": None, "AbandonedRate": None}
    assert queue_realtime(msgspec.convert(told, QueueRealtime), TIME_MS).value == QueueFigures()


@pytest.mark.parametrize(("name", "level"), [("Ok", "ok"), ("Action", "action"), ("Purple", "unknown")])
def test_levels(name: str, level: str) -> None:
    value = queue_realtime(QueueRealtime(queue_key=3, level=name), TIME_MS).value
    assert isinstance(value, QueueFigures)
    assert value.level == level


def test_figures_since_the_window_began_are_mapped() -> None:
    part = queue_cumulative(msgspec.convert(QUEUE_CUMULATIVE, QueueCumulative), TIME_MS)
    assert (part.kind, part.number, part.source) == (Kind.QUEUE, 3, Source.CUMULATIVE)
    assert part.value == Queue(
        window_start_ms=1_699_999_000_000,
        received=100,
        answered=90,
        abandoned=6,
        average_wait_s=14.5,
        maximum_wait_s=120,
    )


def test_a_group_is_mapped_whole() -> None:
    part = group_realtime(msgspec.convert(GROUP_REALTIME, GroupRealtime), TIME_MS)
    assert (part.kind, part.number, part.source) == (Kind.GROUP, 4, Source.REALTIME)
    assert part.value == Group(
        users_logged_on=8,
        users_idle=1,
        users_busy=5,
        users_away=2,
        users_handling_routed=4,
        users_handling_direct=1,
        calls_waiting=3,
    )


def test_an_aggregate_is_mapped_whole() -> None:
    part = aggregate_realtime(msgspec.convert(AGGREGATE_REALTIME, AggregateRealtime), TIME_MS)
    assert (part.kind, part.number, part.source) == (Kind.AGGREGATE, 5, Source.REALTIME)
    assert part.value == Aggregate(contacts_waiting=9, oldest_since_ms=TIME_MS - 10_000)
