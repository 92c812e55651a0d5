"""Daily statistics, and the start of a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.simulator.model import Counters, UserCounters

SERVICE_LEVEL_FORMULA = "AnsweredWithinThreshold/(Answered+Abandoned)"


def received(counters: Counters) -> Counters:
    """Count a contact that came to the queue."""
    return replace(counters, received=counters.received + 1)


def answered(counters: Counters, wait_ms: int, threshold_s: float) -> Counters:
    """Count a contact that was answered after *wait_ms*."""
    return replace(
        counters,
        answered=counters.answered + 1,
        within_threshold=counters.within_threshold + (wait_ms <= threshold_s * 1000),
        wait_total_ms=counters.wait_total_ms + wait_ms,
        wait_max_ms=max(counters.wait_max_ms, wait_ms),
    )


def abandoned(counters: Counters, wait_ms: int) -> Counters:
    """Count a contact that gave up after *wait_ms*."""
    return replace(
        counters,
        abandoned=counters.abandoned + 1,
        wait_max_ms=max(counters.wait_max_ms, wait_ms),
    )


def handled(counters: UserCounters, talk_ms: int) -> UserCounters:
    """Count a contact that an agent handled."""
    return replace(counters, handled=counters.handled + 1, talk_ms=counters.talk_ms + talk_ms)


def service_level(within: int, answered_: int, abandoned_: int) -> float | None:
    """Return per cent answered in time; None while there was nothing to answer."""
    finished = answered_ + abandoned_
    return round(100 * within / finished, 1) if finished else None


def abandoned_rate(counters: Counters) -> float | None:
    """Return per cent of finished contacts that gave up; None while none is finished."""
    finished = counters.answered + counters.abandoned
    return round(100 * counters.abandoned / finished, 1) if finished else None


def average_wait_s(counters: Counters) -> float | None:
    """Return the mean wait of answered contacts in seconds; None while none was answered."""
    return round(counters.wait_total_ms / counters.answered / 1000, 1) if counters.answered else None


def midnight_before(now_ms: int, zone: str) -> int:
    """Return the local midnight at or before *now_ms*."""
    return _ms(_midnight(now_ms, zone))


def midnight_after(now_ms: int, zone: str) -> int:
    """Return the local midnight after *now_ms*."""
    return _ms(_midnight(now_ms, zone) + timedelta(days=1))


def _midnight(now_ms: int, zone: str) -> datetime:
    local = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _ms(instant: datetime) -> int:
    return round(instant.astimezone(UTC).timestamp() * 1000)
