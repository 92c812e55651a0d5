"""Map the server's elements of queues, groups and aggregates."""

from __future__ import annotations

from typing import Final, Literal

from gateway.domain.model import Kind
from gateway.domain.resources import Aggregate, Group, Queue
from gateway.domain.texts import VALUE_CHARS, readable_or_none
from gateway.domain.upstream import Part, Source
from gateway.upstream.wire_figures import count, duration, percentage, since
from gateway.upstream.wire_names import Count, Element, Key, Millis, Seconds

_LEVELS: Final[dict[str, Literal["ok", "attention", "action"]]] = {
    "Ok": "ok",
    "Attention": "attention",
    "Action": "action",
}


class QueueRealtime(Element):
    """A queue as it is now."""

    queue_key: Key
    contacts: Count | None = None
    oldest_contact_wait_time: Seconds | None = None
    service_level: float | None = None
    service_level_threshold: Seconds | None = None
    service_level_formula: str | None = None
    abandoned_rate: float | None = None
    estimated_wait_time: Seconds | None = None
    logged_on_users: Count | None = None
    available_users: Count | None = None
    handling_users: Count | None = None
    post_processing_users: Count | None = None
    unavailable_users: Count | None = None
    work_users: Count | None = None
    level: str | None = None


def queue_realtime(told: QueueRealtime, time_ms: int) -> Part:
    """Map a queue; the oldest contact's waiting time becomes an instant in the server's clock."""
    contacts, logged_on, available, handling, post_processing, unavailable, work = [
        None if figure is None or figure < 0 else figure  # as :func:`count`, in one call
        for figure in (
            told.contacts,
            told.logged_on_users,
            told.available_users,
            told.handling_users,
            told.post_processing_users,
            told.unavailable_users,
            told.work_users,
        )
    ]
    queue = Queue(
        contacts_waiting=contacts,
        oldest_since_ms=since(time_ms, told.oldest_contact_wait_time),
        service_level_pct=percentage(told.service_level),
        service_level_threshold_s=duration(told.service_level_threshold),
        service_level_formula=readable_or_none(told.service_level_formula, VALUE_CHARS),
        abandoned_rate_pct=percentage(told.abandoned_rate),
        estimated_wait_s=duration(told.estimated_wait_time),
        agents_logged_on=logged_on,
        agents_available=available,
        agents_handling=handling,
        agents_post_processing=post_processing,
        agents_unavailable=unavailable,
        agents_work=work,
        level=None if told.level is None else _LEVELS.get(told.level, "unknown"),
    )
    return Part(Kind.QUEUE, told.queue_key, Source.REALTIME, queue)


class QueueCumulative(Element):
    """A queue's figures since the window began."""

    queue_key: Key
    window_start: Millis | None = None
    received: Count | None = None
    answered: Count | None = None
    abandoned: Count | None = None
    average_wait_time: Seconds | None = None
    maximum_wait_time: Seconds | None = None


def queue_cumulative(told: QueueCumulative, _: int) -> Part:
    """Map a queue's figures."""
    queue = Queue(
        window_start_ms=told.window_start,
        received=count(told.received),
        answered=count(told.answered),
        abandoned=count(told.abandoned),
        average_wait_s=duration(told.average_wait_time),
        maximum_wait_s=duration(told.maximum_wait_time),
    )
    return Part(Kind.QUEUE, told.queue_key, Source.CUMULATIVE, queue)


class GroupRealtime(Element):
    """A group as it is now."""

    group_key: Key
    logged_on_users: Count | None = None
    idle_users: Count | None = None
    busy_users: Count | None = None
    away_users: Count | None = None
    handling_routed_users: Count | None = None
    handling_direct_users: Count | None = None
    calls_waiting: Count | None = None


def group_realtime(told: GroupRealtime, _: int) -> Part:
    """Map a group."""
    group = Group(
        users_logged_on=count(told.logged_on_users),
        users_idle=count(told.idle_users),
        users_busy=count(told.busy_users),
        users_away=count(told.away_users),
        users_handling_routed=count(told.handling_routed_users),
        users_handling_direct=count(told.handling_direct_users),
        calls_waiting=count(told.calls_waiting),
    )
    return Part(Kind.GROUP, told.group_key, Source.REALTIME, group)


class AggregateRealtime(Element):
    """Figures over several queues as they are now."""

    aggregate_key: Key
    contacts: Count | None = None
    service_level: float | None = None
    oldest_contact_wait_time: Seconds | None = None


def aggregate_realtime(told: AggregateRealtime, time_ms: int) -> Part:
    """Map an aggregate."""
    aggregate = Aggregate(
        contacts_waiting=count(told.contacts),
        service_level_pct=percentage(told.service_level),
        oldest_since_ms=since(time_ms, told.oldest_contact_wait_time),
    )
    return Part(Kind.AGGREGATE, told.aggregate_key, Source.REALTIME, aggregate)
